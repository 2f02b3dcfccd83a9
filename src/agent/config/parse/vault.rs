//! Vault and OpenBao: where they are, and whom we trust.

use super::super::decode::At;
use super::super::mistake::{Mistake, Span};
use super::super::model::{ClientCert, VaultConfig};
use super::super::raw::RawStore;
use super::Context;

const ADDRESS: &str = "write `address: https://HOST:8200`, or set BAO_ADDR or VAULT_ADDR";

impl Context<'_> {
    pub(super) fn vault(&mut self, name: &At<String>, raw: &RawStore) -> Option<VaultConfig> {
        let given = |value: &Option<At<String>>, names: [&str; 2]| match value {
            Some(value) => Some(value.clone()).filter(|value| !value.value.is_empty()),
            None => self.variable(&names, &name.span),
        };
        let address = given(&raw.address, ["BAO_ADDR", "VAULT_ADDR"]);
        let namespace = given(&raw.namespace, ["BAO_NAMESPACE", "VAULT_NAMESPACE"]);
        let ca_file = given(&raw.ca_file, ["BAO_CACERT", "VAULT_CACERT"]);
        // A login by certificate shows it in the handshake, like a certificate of the store itself.
        let login_cert = raw.login.as_ref().and_then(|login| login.value.cert.as_ref());
        let cert = login_cert
            .and_then(|cert| cert.value.cert_file.clone())
            .or_else(|| given(&raw.client_cert_file, ["BAO_CLIENT_CERT", "VAULT_CLIENT_CERT"]));
        let key = login_cert
            .and_then(|cert| cert.value.key_file.clone())
            .or_else(|| given(&raw.client_key_file, ["BAO_CLIENT_KEY", "VAULT_CLIENT_KEY"]));
        if let (Some(login), None, None) = (login_cert, &cert, &key) {
            self.mistakes.push(Mistake::new(
                &login.span,
                format!("the cert login of store `{}` has no certificate", name.shown),
                "the store knows us by the certificate that we show",
                "add `cert_file` and `key_file`",
            ));
        }
        let client_cert = self.client_cert(name, cert, key);
        let ca_file = ca_file.map(|path| self.path(&path));
        let hosts = raw.redirect_hosts.iter().flat_map(|hosts| &hosts.value);
        let redirect_hosts = hosts.filter_map(|host| self.host(host)).collect();
        let address = match address {
            Some(address) => self.address(&address),
            None => {
                self.no_address(name, raw);
                None
            }
        };
        let login = match &raw.login {
            Some(login) => self.login(name, login),
            None if raw.wrong.contains(&"login") => None,
            None => self.token_of_environment(name),
        };
        Some(VaultConfig {
            address: address?,
            namespace: namespace.map(|namespace| namespace.value),
            ca_file: ca_file.flatten(),
            client_cert,
            redirect_hosts,
            login: login?,
        })
    }

    /// The first of these variables that is set to something.
    pub(super) fn variable(&self, names: &[&str], span: &Span) -> Option<At<String>> {
        names.iter().find_map(|name| {
            let value = (self.around.env)(name).filter(|value| !value.is_empty())?;
            Some(At { value, span: span.clone(), shown: format!("${name}") })
        })
    }

    fn no_address(&mut self, name: &At<String>, raw: &RawStore) {
        if raw.wrong.contains(&"address") {
            return;
        }
        self.mistakes.push(Mistake::new(
            raw.address.as_ref().map_or(&name.span, |address| &address.span),
            format!("store `{}` has no `address`", name.shown),
            "neither the config nor $BAO_ADDR nor $VAULT_ADDR says where it is",
            ADDRESS,
        ));
    }

    fn client_cert(
        &mut self,
        name: &At<String>,
        cert: Option<At<String>>,
        key: Option<At<String>>,
    ) -> Option<ClientCert> {
        let (cert, key) = match (cert, key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) => return None,
            (cert, key) => {
                self.mistakes.push(Mistake::new(
                    cert.or(key).as_ref().map_or(&name.span, |half| &half.span),
                    format!("store `{}` has half a client certificate", name.shown),
                    "a certificate is of no use without its key, and a key without its certificate",
                    "give both `client_cert_file` and `client_key_file`",
                ));
                return None;
            }
        };
        let (cert_file, key_file) = (self.path(&cert), self.path(&key));
        Some(ClientCert { cert_file: cert_file?, key_file: key_file? })
    }

    fn address(&mut self, address: &At<String>) -> Option<String> {
        let text = &address.value;
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let good = host.is_some_and(is_host) && !text.contains(['?', '#']);
        if !good || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            self.mistakes.push(Mistake::new(
                &address.span,
                format!("`{}` is not the address of a store", address.shown),
                "an address is `http://` or `https://`, a host, and perhaps a port and a path",
                ADDRESS,
            ));
            return None;
        }
        Some(text.trim_end_matches('/').to_owned())
    }

    fn host(&mut self, host: &At<String>) -> Option<String> {
        if !is_host(&host.value) {
            self.mistakes.push(Mistake::new(
                &host.span,
                format!("`{}` is not a host", host.shown),
                "it is `HOST` or `HOST:PORT`, without a scheme and a path",
                "write for example vault-2.internal:8200",
            ));
            return None;
        }
        Some(host.value.clone())
    }

    /// Both tools have this variable, and people expect it to work.
    pub(super) fn refuse_skip_verify(&mut self, span: &Span) {
        for name in ["BAO_SKIP_VERIFY", "VAULT_SKIP_VERIFY"] {
            let set = (self.around.env)(name).is_some_and(|value| {
                !matches!(value.to_ascii_lowercase().as_str(), "" | "0" | "f" | "false")
            });
            if set {
                self.mistakes.push(Mistake::new(
                    span,
                    format!("`{name}` is set"),
                    "it would switch off the verification of the store's certificate",
                    format!("unset {name}, and name the store's CA with `ca_file`"),
                ));
            }
        }
    }
}

/// `HOST` or `HOST:PORT`, also with an IPv6 address in brackets.
pub(super) fn is_host(text: &str) -> bool {
    let (host, rest) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) if host.parse::<std::net::Ipv6Addr>().is_ok() => ("ipv6", rest),
        Some(_) => return false,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = rest.strip_prefix(':');
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    !host.is_empty()
        && host.bytes().all(good)
        && (rest.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_ok_and(|p| p > 0)))
}
