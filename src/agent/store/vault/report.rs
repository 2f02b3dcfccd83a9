//! The words for every fault: what, why, and what to do about it.

use super::error::{
    Absence, Fault, Malformed, RedirectFault, TlsFault, Unreachable, VaultError, Who,
};
use crate::agent::identity::Claims;
use crate::agent::reason::Report;
use crate::agent::store::error::field_missing;

/// What, why, hint.
type Words = (String, String, String);

/// The report of one error.
pub(super) fn of(error: &VaultError) -> Report {
    if let Fault::Identity(identity) = &*error.fault {
        return identity.report();
    }
    #[cfg(feature = "aws")]
    if let Fault::Aws(error) = &*error.fault {
        return error.report();
    }
    let (what, why, hint) = words(error);
    Report::new(error.reason(), what, why).hint(hint)
}

fn words(error: &VaultError) -> Words {
    let VaultError { store, address, path, fault, .. } = error;
    let from = |status: u16| format!("{status} from {address}");
    let read = format!("store `{store}` did not give `{path}`");
    match &**fault {
        Fault::Identity(_) => (read, String::new(), String::new()),
        Fault::Address => say(
            format!("store `{store}` can't be used"),
            format!("`{address}` is not an `http` or `https` address"),
            "write it as `https://host:port`",
        ),
        Fault::File { file, kind } => say(
            format!("store `{store}` can't use `{}`", file.display()),
            kind.to_string(),
            "mount the file there, readable for this user",
        ),
        Fault::Pem { file, wanted } => say(
            format!("store `{store}` can't use `{}`", file.display()),
            format!("it holds no {wanted} in PEM form"),
            "put it there as text that begins with `-----BEGIN`",
        ),
        Fault::NoRoots => say(
            format!("store `{store}` can't be used"),
            "this system has no certificates to trust",
            "set `ca_file` to the CA that signed the store's certificate",
        ),
        Fault::Unreachable(why) => unreachable(store.as_str(), address, *why),
        Fault::Tls(why) => tls(store.as_str(), address, *why),
        Fault::Redirect(why) => redirect(store.as_str(), address, *why),
        Fault::Sealed => say(
            format!("store `{store}` is sealed"),
            format!("{address} answers, and says so"),
            "unseal it (`bao operator unseal`); until then its health is asked for now and then",
        ),
        Fault::NotActive { status } => say(
            format!("store `{store}` has no active server behind its address"),
            from(*status),
            match status {
                501 => "initialise it (`bao operator init`)",
                _ => "point `address` at the active server or at a balancer that knows it",
            },
        ),
        Fault::Throttled { status, .. } => say(
            format!("store `{store}` asks for fewer requests"),
            from(*status),
            "raise its rate limit quota, or `refresh` less often",
        ),
        Fault::Failed { status } => {
            say(read, from(*status), "the server's own log says more; it is asked again")
        }
        Fault::Lagging => say(
            read,
            format!("412 from {address}: the server is behind the one that answered before"),
            "it catches up by itself; if it does not, look at the replication",
        ),
        Fault::NotReadable { status } => say(
            read,
            format!("{}: it does not answer a request like this at that path", from(*status)),
            "check the path; what is made for parameters needs them in `with:`, and what is read has none",
        ),
        Fault::Path => say(
            format!("store `{store}` can't be asked for `{path}`"),
            "a part of the path is empty, `.`, `..` or has a control character",
            "write the API path without `v1/` and without a slash at either end",
        ),
        Fault::ParameterNotText { name } => say(
            format!("store `{store}` can't be asked for `{path}`"),
            format!("what stands in the file of `{name}_file` is not UTF-8 text"),
            "put text there; binary content is sent as base64",
        ),
        Fault::VersionNotNumber => say(
            format!("store `{store}` can't be asked for that version of `{path}`"),
            "versions of KV 2 are numbers from 1",
            "write `@2`, or leave it out for the newest",
        ),
        Fault::VersionUnknown => say(
            format!("store `{store}` can't be asked for that version of `{path}`"),
            "what is there has no versions",
            "leave the version out, or name a path of a KV 2 mount",
        ),
        fault => login_and_answer(error, fault),
    }
}

fn login_and_answer(error: &VaultError, fault: &Fault) -> Words {
    let VaultError { store, address, path, .. } = error;
    match fault {
        Fault::LoginRefused { who, status, claims, expired } => {
            login_refused(error, who, *status, claims.as_ref(), *expired)
        }
        Fault::WrappingUsed => say(
            format!("store `{store}` did not unwrap the secret id"),
            format!(
                "{address} says that the wrapping token was used already, has ended or never was"
            ),
            "SOMEBODY ELSE MAY HAVE TAKEN THE SECRET ID: unless an earlier start of this pod \
             unwrapped it or its time was over, destroy that secret id and find out who did; then \
             deliver a new wrapping token",
        ),
        Fault::WrappingForeign => say(
            format!("store `{store}` did not unwrap the secret id"),
            format!("by {address} the wrapping token was not made for a secret id of this mount"),
            "SOMEBODY MAY HAVE REPLACED IT: find out who; a secret id is wrapped where it is made \
             (`bao write -wrap-ttl=60s -f auth/approle/role/ROLE/secret-id`)",
        ),
        Fault::NotRecorded => say(
            format!("the login to store `{store}` was given up"),
            "it could not be recorded, and nobody could end what is made under it",
            "see the error about the state's volume",
        ),
        Fault::Denied { who, status, meant } => say(
            format!("store `{store}` refused to read `{path}`"),
            format!("{status} from {address} for {who}"),
            match meant {
                Some(meant) => format!("the mount is KV 2, so ask for `{meant}`"),
                None => format!(
                    "grant `read` on `{path}` to the policy of {who}{}",
                    if matches!(who, Who::Token) { "" } else { ", or change `role`" }
                ),
            },
        ),
        fault => answer(error, fault),
    }
}

fn answer(error: &VaultError, fault: &Fault) -> Words {
    let VaultError { store, address, path, .. } = error;
    let unusable = format!("what store `{store}` gave for `{path}` can't be used");
    match fault {
        Fault::Absent(absence) => absent(error, absence),
        Fault::Deleted { version } => say(
            format!("`{path}` was deleted in store `{store}`"),
            format!("version {version} is marked as deleted"),
            "undelete it or write a new version; the last good file stays",
        ),
        Fault::Malformed(why) => malformed(unusable, address, why),
        Fault::Encoded => say(
            unusable,
            format!("{address} sent it compressed, which was not asked for"),
            "look at what stands between here and the store",
        ),
        Fault::TooLarge { limit } => say(
            unusable,
            format!("it is larger than {limit} bytes"),
            "split it into several secrets",
        ),
        Fault::LeaseUnexpected { revoked } => say(
            unusable,
            match revoked {
                true => "it came with a lease that nobody would renew; it is revoked",
                false => {
                    "it came with a lease that nobody would renew and that we are not allowed to revoke"
                }
            },
            "give `state:` so that `run` can take it over, or say `allow_expiry: true` if it may end",
        ),
        Fault::FieldMissing { field, there } => {
            let (why, hint) = field_missing(field, there);
            say(unusable, why, hint)
        }
        _ => say(unusable, format!("{address} answered something else"), "try again"),
    }
}

fn say(what: String, why: impl Into<String>, hint: impl Into<String>) -> Words {
    (what, why.into(), hint.into())
}

fn unreachable(store: &str, address: &str, why: Unreachable) -> Words {
    let (why, hint) = why.words();
    say(format!("store `{store}` is unreachable"), format!("{address}: {why}"), hint)
}

fn tls(store: &str, address: &str, why: TlsFault) -> Words {
    let (why, hint) = why.words();
    say(format!("store `{store}` can't be trusted"), format!("{address}: {why}"), hint)
}

fn redirect(store: &str, address: &str, why: RedirectFault) -> Words {
    let (why, hint) = match why {
        RedirectFault::Unreadable => {
            ("to nowhere that could be followed", "look at what stands between here and the store")
        }
        RedirectFault::Downgrade => {
            ("from `https` to `http`", "let the store name its own address with `https`")
        }
        RedirectFault::Stranger => (
            "to a host that is not ours",
            "if that host is right, add it to `redirect_hosts`; the token was not sent there",
        ),
        RedirectFault::TooMany => {
            ("to another redirect", "point `address` at the active server itself")
        }
    };
    say(format!("store `{store}` sent us elsewhere"), format!("{address} redirects {why}"), hint)
}

fn login_refused(
    error: &VaultError,
    who: &Who,
    status: u16,
    claims: Option<&Claims>,
    expired: bool,
) -> Words {
    let VaultError { store, address, .. } = error;
    let what = format!("store `{store}` refused the login");
    let Who::Login { method, mount, .. } = who else {
        return say(what, format!("{status} from {address}"), "deliver another token");
    };
    let why = format!("{status} from {address} for {who}, method {method} at `{mount}`");
    let hint = match (*method, claims) {
        _ if expired => "the token in `token_file` has ended: let it be renewed there".into(),
        ("kubernetes", claims) => format!(
            "check that the method is mounted there, that the role exists and binds this service \
             account and namespace, and that its audience is the token's{}",
            audience(claims)
        ),
        ("jwt", claims) => format!(
            "check that the method is mounted there, that the role exists, and that its \
             `bound_audiences` and claims are the token's{}",
            audience(claims)
        ),
        ("aws", _) => {
            "check that the method is mounted there, that the role exists and binds this \
                       AWS identity, and that `server_id_header` is what the store expects"
                .into()
        }
        _ => "check that the method is mounted there, and the role id and the secret id: each may \
              have been replaced, have ended or be used up"
            .into(),
    };
    say(what, why, hint)
}

fn audience(claims: Option<&Claims>) -> String {
    match claims {
        Some(claims) if claims.audience.is_empty() => " (it has none)".into(),
        Some(claims) => format!(" (`{}`)", claims.audience.join("`, `")),
        None => " (the file holds no JSON web token)".into(),
    }
}

fn absent(error: &VaultError, absence: &Absence) -> Words {
    let VaultError { store, address, path, .. } = error;
    let what = format!("`{path}` is not in store `{store}`");
    let from = format!("404 from {address}");
    match absence {
        Absence::Never => say(
            what,
            format!("{from}: there is nothing, or no such version"),
            "check the path (`secret/data/name` on KV 2), and the namespace",
        ),
        Absence::NoEngine => say(
            what,
            format!("{from}: nothing is mounted there"),
            "check the first part of the path, and the namespace",
        ),
        Absence::NeedsData { meant: Some(meant) } => {
            say(what, format!("{from}: the mount is KV 2"), format!("ask for `{meant}`"))
        }
        Absence::NeedsData { meant: None } => say(
            what,
            format!("{from}: the mount is KV 2"),
            "put `data/` after the mount: `secret/data/name`",
        ),
        Absence::Destroyed { version } => say(
            what,
            format!("version {version} was destroyed for good"),
            "write a new version, or pin another one",
        ),
    }
}

fn malformed(what: String, address: &str, why: &Malformed) -> Words {
    let between = "look at what stands between here and the store";
    let (why, hint) = match why {
        Malformed::Json(error) => (error.to_string(), between),
        Malformed::ContentType => ("it is not JSON".into(), between),
        Malformed::NoData => (
            "it has no `data`".into(),
            "if the path answers without an envelope, say `engine: raw`",
        ),
        Malformed::NotKv2 => {
            ("it has not the shape of KV 2".into(), "leave `engine` out, or say `kv1` or `raw`")
        }
        Malformed::OtherVersion => ("it is another version than the one asked for".into(), between),
        Malformed::NoToken => (
            "the login brought no token".into(),
            "a second factor can't be given here; use a role without one",
        ),
        Malformed::Status(status) => (format!("its status is {status}"), between),
    };
    say(what, format!("{address}: {why}"), hint)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use crate::agent::identity::IdentityError;
    use crate::agent::reason::{Exit, Reason};
    use crate::agent::store::net::Wait;
    use crate::agent::store::{Retry, Scope};
    use crate::secret::{FieldPath, JsonError, StoreName};

    fn error(fault: Fault) -> VaultError {
        VaultError {
            store: StoreName::parse("vault").unwrap(),
            address: "https://vault.internal:8200".into(),
            path: "db/creds/orders".into(),
            fault: Box::new(fault),
            logged_in: false,
        }
    }

    fn kubernetes() -> Who {
        Who::Login { method: "kubernetes", mount: "k8s".into(), role: Some("orders-ro".into()) }
    }

    fn refused(expired: bool, claims: Option<Claims>) -> Fault {
        Fault::LoginRefused { who: kubernetes(), status: 403, claims, expired }
    }

    /// Every fault, and words that its report must have.
    fn faults() -> Vec<(Fault, &'static str)> {
        let claims = Claims { audience: vec!["aud-x".into()], expires: None };
        let file = || PathBuf::from("/tls/ca.pem");
        let approle = Who::Login { method: "approle", mount: "ar".into(), role: None };
        vec![
            (Fault::Address, "https://vault.internal:8200"),
            (Fault::File { file: file(), kind: ErrorKind::NotFound }, "/tls/ca.pem"),
            (Fault::Pem { file: file(), wanted: "certificate" }, "certificate"),
            (Fault::NoRoots, "ca_file"),
            (Fault::Identity(IdentityError::NoVariable { variable: "V".into() }), "`V`"),
            (Fault::Unreachable(Unreachable::Name), "no address"),
            (Fault::Unreachable(Unreachable::Refused), "was refused"),
            (Fault::Unreachable(Unreachable::NoRoute), "no route"),
            (Fault::Unreachable(Unreachable::Slow(Wait::Connect)), "no connection"),
            (Fault::Unreachable(Unreachable::Slow(Wait::FirstByte)), "no answer"),
            (Fault::Unreachable(Unreachable::Slow(Wait::Total)), "not complete"),
            (Fault::Unreachable(Unreachable::Cut), "before the answer"),
            (Fault::Unreachable(Unreachable::CutInBody), "within the answer"),
            (Fault::Unreachable(Unreachable::NotHttp), "HTTP"),
            (Fault::Unreachable(Unreachable::Other), "failed"),
            (Fault::Tls(TlsFault::Expired), "past its end"),
            (Fault::Tls(TlsFault::NotYet), "clocks"),
            (Fault::Tls(TlsFault::WrongName), "another name"),
            (Fault::Tls(TlsFault::UnknownIssuer), "ca_file"),
            (Fault::Tls(TlsFault::ClientCert), "client_cert"),
            (Fault::Tls(TlsFault::NotTls), "write `http`"),
            (Fault::Tls(TlsFault::Plain), "write `https`"),
            (Fault::Tls(TlsFault::Other), "TLS 1.2"),
            (Fault::Redirect(RedirectFault::Unreadable), "nowhere"),
            (Fault::Redirect(RedirectFault::Downgrade), "from `https` to `http`"),
            (Fault::Redirect(RedirectFault::Stranger), "redirect_hosts"),
            (Fault::Redirect(RedirectFault::TooMany), "another redirect"),
            (Fault::Sealed, "sealed"),
            (Fault::NotActive { status: 473 }, "473"),
            (Fault::NotActive { status: 501 }, "init"),
            (Fault::Throttled { status: 429, after: None }, "429"),
            (Fault::Failed { status: 500 }, "500"),
            (Fault::Lagging, "412"),
            (refused(false, Some(claims)), "aud-x"),
            (refused(true, None), "has ended"),
            (refused(false, None), "method kubernetes at `k8s`"),
            (
                Fault::LoginRefused { who: approle, status: 400, claims: None, expired: false },
                "secret id",
            ),
            (Fault::WrappingUsed, "SOMEBODY ELSE"),
            (Fault::WrappingForeign, "REPLACED"),
            (Fault::NotRecorded, "recorded"),
            (Fault::Denied { who: kubernetes(), status: 403, meant: None }, "role `orders-ro`"),
            (Fault::Denied { who: Who::Token, status: 403, meant: None }, "given token"),
            (
                Fault::Denied { who: Who::Token, status: 403, meant: Some("s/data/x".into()) },
                "`s/data/x`",
            ),
            (Fault::NotReadable { status: 405 }, "405"),
            (Fault::Absent(Absence::Never), "404"),
            (Fault::Absent(Absence::NoEngine), "mounted"),
            (Fault::Absent(Absence::NeedsData { meant: None }), "`data/`"),
            (Fault::Absent(Absence::NeedsData { meant: Some("s/data/x".into()) }), "`s/data/x`"),
            (Fault::Absent(Absence::Destroyed { version: 3 }), "version 3"),
            (Fault::Deleted { version: 3 }, "version 3"),
            (Fault::Malformed(Malformed::Json(JsonError::DuplicateKey)), "twice"),
            (Fault::Malformed(Malformed::ContentType), "JSON"),
            (Fault::Malformed(Malformed::NoData), "engine: raw"),
            (Fault::Malformed(Malformed::NotKv2), "KV 2"),
            (Fault::Malformed(Malformed::OtherVersion), "another version"),
            (Fault::Malformed(Malformed::NoToken), "no token"),
            (Fault::Malformed(Malformed::Status(303)), "303"),
            (Fault::Encoded, "compressed"),
            (Fault::TooLarge { limit: 17 }, "17 bytes"),
            (Fault::LeaseUnexpected { revoked: true }, "it is revoked"),
            (Fault::LeaseUnexpected { revoked: false }, "not allowed"),
            (Fault::ParameterNotText { name: "csr".into() }, "csr_file"),
            (Fault::Path, "db/creds/orders"),
            (Fault::VersionNotNumber, "numbers"),
            (Fault::VersionUnknown, "no versions"),
            (
                Fault::FieldMissing {
                    field: FieldPath::Field("key".into()),
                    there: vec!["token".into()],
                },
                "it has: token",
            ),
            (Fault::FieldMissing { field: FieldPath::Whole, there: vec![] }, "no fields"),
        ]
    }

    #[test]
    fn every_error_says_what_why_and_how_to_mend_it() {
        for (fault, words) in faults() {
            let error = error(fault);
            let report = error.report();
            let text = report.to_string();
            assert!(text.contains(words), "{words:?} is not in: {text}");
            assert!(report.hint.as_ref().is_some_and(|hint| !hint.is_empty()), "{text}");
            for part in [&report.what, &report.why, report.hint.as_ref().unwrap()] {
                assert!(!part.is_empty() && !part.ends_with('.'), "{text}");
            }
            assert_eq!(report.reason, error.reason());
            let named = text.contains("`vault`") || matches!(*error.fault, Fault::Identity(_));
            assert!(named, "the store's name is not in: {text}");
        }
    }

    #[test]
    fn a_refused_read_is_the_example_of_the_manual() {
        let report = error(Fault::Denied { who: kubernetes(), status: 403, meant: None }).report();
        assert_eq!(
            report.to_string(),
            "error: store `vault` refused to read `db/creds/orders`\n  \
             why: 403 from https://vault.internal:8200 for role `orders-ro`\n \
             hint: grant `read` on `db/creds/orders` to the policy of role `orders-ro`, or change \
             `role`"
        );
    }

    #[test]
    fn what_may_pass_by_itself_is_told_from_what_somebody_must_mend() {
        let after = Some(Duration::from_secs(7));
        for (fault, retry, scope, exit) in [
            (Fault::Unreachable(Unreachable::Cut), Retry::Transient, Scope::Store, Exit::TryAgain),
            (Fault::Sealed, Retry::Sealed, Scope::Store, Exit::TryAgain),
            (
                Fault::Throttled { status: 429, after },
                Retry::Overload { after },
                Scope::Store,
                Exit::TryAgain,
            ),
            (Fault::Failed { status: 500 }, Retry::Transient, Scope::Secret, Exit::TryAgain),
            (Fault::Failed { status: 502 }, Retry::Transient, Scope::Store, Exit::TryAgain),
            (refused(false, None), Retry::Permanent, Scope::Store, Exit::Refused),
            (
                Fault::Denied { who: Who::Token, status: 403, meant: None },
                Retry::Permanent,
                Scope::Secret,
                Exit::Refused,
            ),
            (Fault::Absent(Absence::Never), Retry::Permanent, Scope::Secret, Exit::NotThere),
            (Fault::Deleted { version: 1 }, Retry::Permanent, Scope::Secret, Exit::NotThere),
            (
                Fault::LeaseUnexpected { revoked: true },
                Retry::Permanent,
                Scope::Secret,
                Exit::Unusable,
            ),
            (Fault::TooLarge { limit: 1 }, Retry::Permanent, Scope::Secret, Exit::Unusable),
            (Fault::Tls(TlsFault::Expired), Retry::Permanent, Scope::Store, Exit::Refused),
        ] {
            let error = error(fault);
            assert_eq!((error.retry(), error.scope()), (retry, scope), "{error:?}");
            assert_eq!(error.reason().exit(), exit, "{error:?}");
        }
        assert_eq!(error(Fault::NotRecorded).reason(), Reason::VolumeRefused);
    }
}
