//! An HTTP server that answers as a test says, for what no real server can be brought to do.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::certs::Issued;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// A header, by its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// What is answered.
pub(crate) enum Response {
    /// A whole answer.
    Whole(Vec<u8>),
    /// Whatever this writes; then the connection is closed.
    Stream(Stream),
}

impl Response {
    /// A JSON answer with further header lines (each without its line end).
    pub(crate) fn json(status: u16, headers: &[&str], body: &Value) -> Response {
        Response::text(status, headers, &body.to_string())
    }

    /// As `json`, for a body that is not quite JSON.
    pub(crate) fn text(status: u16, headers: &[&str], body: &str) -> Response {
        Response::bytes(status, headers, body.as_bytes())
    }

    pub(crate) fn bytes(status: u16, headers: &[&str], body: &[u8]) -> Response {
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n");
        for header in headers {
            head += &format!("{header}\r\n");
        }
        head += &format!("Content-Length: {}\r\n\r\n", body.len());
        Response::Whole([head.as_bytes(), body].concat())
    }

    /// A secret without versions, in its envelope.
    pub(crate) fn secret(data: &Value) -> Response {
        let body = serde_json::json!({ "request_id": "r", "lease_id": "", "data": data });
        Response::json(200, &[], &body)
    }
}

type Stream = Box<dyn FnOnce(&mut dyn Write) -> std::io::Result<()>>;
type Handler = Arc<dyn Fn(&Request) -> Response + Send + Sync>;

/// A running server. Its threads end with the test's process.
pub(crate) struct Script {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Script {
    pub(crate) fn start(handler: impl Fn(&Request) -> Response + Send + Sync + 'static) -> Script {
        Script::start_with(None, handler)
    }

    /// The same over TLS.
    pub(crate) fn start_tls(
        certificate: &Issued,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Script {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key);
        Script::start_with(Some(Arc::new(config.unwrap())), handler)
    }

    /// The same on a Unix socket. There is no port.
    pub(crate) fn start_unix(
        socket: &Path,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Script {
        let listener = UnixListener::bind(socket).unwrap();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (handler, log): (Handler, _) = (Arc::new(handler), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &handler, &log);
            }
        });
        Script { port: 0, seen }
    }

    fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        handler: impl Fn(&Request) -> Response + Send + Sync + 'static,
    ) -> Script {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Request>>>::default();
        let (handler, log): (Handler, _) = (Arc::new(handler), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, log, tls) = (Arc::clone(&handler), Arc::clone(&log), tls.clone());
                std::thread::spawn(move || match tls {
                    None => serve(stream, &handler, &log),
                    Some(tls) => {
                        let connection = rustls::ServerConnection::new(tls).unwrap();
                        serve(rustls::StreamOwned::new(connection, stream), &handler, &log);
                    }
                });
            }
        });
        Script { port, seen }
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Everything that was asked so far.
    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }

    /// How often a path that ends so was asked for.
    pub(crate) fn count(&self, end: &str) -> usize {
        self.seen().iter().filter(|request| request.path.ends_with(end)).count()
    }
}

fn serve(stream: impl Read + Write, handler: &Handler, log: &Mutex<Vec<Request>>) {
    // A client sends its next request after our answer, so nothing is read ahead and lost.
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        log.lock().unwrap().push(request.clone());
        let stream = reader.get_mut();
        let written = match handler(&request) {
            Response::Whole(bytes) => stream.write_all(&bytes).and_then(|()| stream.flush()),
            Response::Stream(write) => {
                let _ = write(stream);
                return;
            }
        };
        if written.is_err() {
            return;
        }
    }
}

fn read_request(from: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    from.read_line(&mut line).ok().filter(|&len| len > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request { method, path, headers, body: Vec::new() };
    let length = request.header("content-length").and_then(|length| length.parse().ok());
    request.body = vec![0; length.unwrap_or(0)];
    from.read_exact(&mut request.body).ok()?;
    Some(request)
}
