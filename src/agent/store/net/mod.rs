//! The way to a store over HTTP, as every kind has it: names, what a failed connection says about
//! the reason, and the words for it.

pub mod dns;
#[cfg(feature = "aws")]
pub mod trust;

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// Why a connection brought no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// No complete answer came.
    Unreachable(Unreachable),
    /// TLS could not be set up.
    Tls(TlsFault),
}

/// Why no complete answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The name has no address.
    Name,
    /// Nobody listens.
    Refused,
    /// No way there.
    NoRoute,
    /// Too slow.
    Slow(Wait),
    /// The connection ended before the answer.
    Cut,
    /// The connection ended within the answer.
    CutInBody,
    /// What answers does not speak HTTP.
    NotHttp,
    /// Anything else.
    Other,
}

/// What was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The connection.
    Connect,
    /// The head of the answer.
    FirstByte,
    /// The whole answer.
    Total,
}

/// Why TLS could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The server's certificate is past its end.
    Expired,
    /// The server's certificate is not valid yet.
    NotYet,
    /// The server's certificate is for another name.
    WrongName,
    /// We don't trust who signed the server's certificate.
    UnknownIssuer,
    /// The server does not take our client certificate, or wants one.
    ClientCert,
    /// What answers does not speak TLS.
    NotTls,
    /// What answers speaks TLS where we spoke plainly.
    Plain,
    /// Anything else.
    Other,
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Trouble::Unreachable(why) => why.words().0,
            Trouble::Tls(why) => why.words().0,
        })
    }
}

impl Error for Trouble {}

impl Unreachable {
    /// Why, and what to do about it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Unreachable::Name => ("its name has no address", "check the name and the pod's DNS"),
            Unreachable::Refused => {
                ("the connection was refused", "check the port, and whether the store runs")
            }
            Unreachable::NoRoute => {
                ("there is no route to it", "check the network and its policies (egress)")
            }
            Unreachable::Slow(Wait::Connect) => (
                "no connection within the time for it",
                "check the network and its policies (egress); a proxy is not used",
            ),
            Unreachable::Slow(Wait::FirstByte) => {
                ("no answer within the time for it", "look at the store's load and its log")
            }
            Unreachable::Slow(Wait::Total) => (
                "the answer was not complete within the time for it",
                "look at the network between",
            ),
            Unreachable::Cut => (
                "the connection ended before the answer",
                "look at the store and what stands between",
            ),
            Unreachable::CutInBody => (
                "the connection ended within the answer",
                "look at the store and what stands between",
            ),
            Unreachable::NotHttp => {
                ("what answers does not speak HTTP", "check the port in `address`")
            }
            Unreachable::Other => {
                ("the connection failed", "look at the store and what stands between")
            }
        }
    }
}

impl TlsFault {
    /// Why, and what to do about it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            TlsFault::Expired => {
                ("its certificate is past its end", "renew the store's certificate")
            }
            TlsFault::NotYet => {
                ("its certificate is not valid yet", "check the clocks, here and there")
            }
            TlsFault::WrongName => (
                "its certificate is for another name",
                "use a name in `address` that the certificate has, or add this one to it",
            ),
            TlsFault::UnknownIssuer => (
                "its certificate is signed by nobody we trust",
                "set `ca_file` to the CA that signed it",
            ),
            TlsFault::ClientCert => (
                "it does not take our client certificate, or wants one",
                "set `client_cert` to a certificate that the store's listener trusts",
            ),
            TlsFault::NotTls => {
                ("what answers does not speak TLS", "check the port, or write `http`")
            }
            TlsFault::Plain => ("what answers speaks TLS only", "write `https` in `address`"),
            TlsFault::Other => (
                "TLS could not be agreed on",
                "check what the store's listener accepts (TLS 1.2 or 1.3)",
            ),
        }
    }
}

/// What a failed request says: the innermost cause that we know decides.
pub fn classify(error: &reqwest::Error) -> Trouble {
    let mut fault = if error.is_dns() {
        Trouble::Unreachable(Unreachable::Name)
    } else if error.is_timeout() {
        Trouble::Unreachable(Unreachable::Slow(Wait::Connect))
    } else {
        Trouble::Unreachable(Unreachable::Other)
    };
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(known) = known(error) {
            fault = match fault {
                // The reason for a name without an address is an I/O error of no further meaning.
                Trouble::Unreachable(Unreachable::Name) => fault,
                _ => known,
            };
        }
        cause = error.source();
    }
    fault
}

fn known(error: &(dyn Error + 'static)) -> Option<Trouble> {
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return match error {
            error if error.is_incomplete_message() || error.is_closed() => {
                Some(Trouble::Unreachable(Unreachable::Cut))
            }
            error if error.is_parse() => Some(Trouble::Unreachable(Unreachable::NotHttp)),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(Trouble::Tls(tls_fault(error)));
    }
    let mut io = error.downcast_ref::<io::Error>()?;
    // An I/O error may hold another one, and its `source` passes over both.
    while let Some(inner) = io.get_ref() {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return Some(Trouble::Tls(tls_fault(error)));
        }
        match inner.downcast_ref::<io::Error>() {
            Some(inner) => io = inner,
            None => break,
        }
    }
    let why = match io.kind() {
        io::ErrorKind::ConnectionRefused => Unreachable::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreachable::NoRoute,
        io::ErrorKind::TimedOut => Unreachable::Slow(Wait::Connect),
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Unreachable::Cut,
        _ => return None,
    };
    Some(Trouble::Unreachable(why))
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::AlertDescription as Alert;
    match error {
        rustls::Error::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                TlsFault::UnknownIssuer
            }
            _ => TlsFault::Other,
        },
        rustls::Error::AlertReceived(
            Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnsupportedCertificate,
        ) => TlsFault::ClientCert,
        rustls::Error::InvalidMessage(_) => TlsFault::NotTls,
        _ => TlsFault::Other,
    }
}
