//! `stores:`: how each is reached, and how we log in.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::decode::{At, Named};
use super::super::mistake::{Mistake, Span};
use super::super::model::{ClientCert, LocalConfig, Login, StoreKind, TokenSource, VaultConfig};
use super::super::raw::{RawLogin, RawRoleLogin, RawStore};
use super::{Context, choice};
use crate::secret::StoreName;

/// Where a projected token is mounted unless the config says otherwise.
const TOKEN_FILE: &str = "/var/run/secrets/tokens/vault";

impl Context<'_> {
    pub(super) fn stores(
        &mut self,
        raw: Option<&Named<RawStore>>,
    ) -> BTreeMap<StoreName, StoreKind> {
        let mut stores = BTreeMap::new();
        for (name, store) in raw.into_iter().flatten() {
            let parsed = self.named("a store", name, StoreName::parse);
            let kind = self.store(&name.value, store);
            if let (Some(name), Some(kind)) = (parsed, kind) {
                stores.insert(name, kind);
            }
        }
        stores
    }

    /// Reads a name, or says why it is none.
    pub(super) fn named<T>(
        &mut self,
        noun: &str,
        name: &At<String>,
        parse: impl Fn(&str) -> Result<T, crate::secret::NameError>,
    ) -> Option<T> {
        parse(&name.value)
            .map_err(|error| {
                self.mistakes.push(Mistake::new(
                    &name.span,
                    format!("`{}` can't be the name of {noun}", name.value.escape_debug()),
                    error.to_string(),
                    "rename it",
                ));
            })
            .ok()
    }

    fn store(&mut self, name: &str, store: &At<RawStore>) -> Option<StoreKind> {
        let raw = &store.value;
        let Some(kind) = &raw.kind else {
            self.mistakes.push(Mistake::new(
                &store.span,
                format!("store `{name}` has no `kind`"),
                "the kind says how the store is spoken to",
                "write `kind: vault` (Vault, OpenBao) or `kind: local` (an encrypted file)",
            ));
            return None;
        };
        match kind.value.as_str() {
            "vault" => {
                self.only(name, "vault", &[("file", &raw.file), ("key_file", &raw.key_file)]);
                self.only_aws(name, raw);
                Some(StoreKind::Vault(self.vault(name, store)?))
            }
            "local" => {
                self.only(
                    name,
                    "local",
                    &[
                        ("address", &raw.address),
                        ("namespace", &raw.namespace),
                        ("ca_file", &raw.ca_file),
                        ("client_cert_file", &raw.client_cert_file),
                        ("client_key_file", &raw.client_key_file),
                    ],
                );
                self.only_aws(name, raw);
                let file = self.needed(name, "file", raw.file.as_ref(), &store.span);
                let key_file = self.needed(name, "key_file", raw.key_file.as_ref(), &store.span);
                Some(StoreKind::Local(LocalConfig { file: file?, key_file: key_file? }))
            }
            "aws" => {
                self.mistakes.push(Mistake::not_yet(
                    &kind.span,
                    "stores of kind `aws` are not there yet",
                    "use `kind: vault` or `kind: local`",
                ));
                None
            }
            other => {
                self.mistakes.push(choice(&kind.span, "kind", other, &["vault", "local", "aws"]));
                None
            }
        }
    }

    /// Notes keys that belong to another kind of store.
    fn only(&mut self, name: &str, kind: &str, foreign: &[(&str, &Option<At<String>>)]) {
        for (key, value) in foreign {
            if let Some(value) = value {
                self.mistakes.push(Mistake::new(
                    &value.span,
                    format!("`{key}` has no meaning for store `{name}`"),
                    format!("it is of kind `{kind}`"),
                    "remove the key, or change `kind`",
                ));
            }
        }
    }

    fn only_aws(&mut self, name: &str, raw: &RawStore) {
        let keys =
            [("region", &raw.region), ("endpoint", &raw.endpoint), ("role_arn", &raw.role_arn)];
        let kind = raw.kind.as_ref().map_or("", |kind| kind.value.as_str());
        self.only(name, kind, &keys);
    }

    fn needed(
        &mut self,
        name: &str,
        key: &str,
        value: Option<&At<String>>,
        span: &Span,
    ) -> Option<PathBuf> {
        if value.is_none() {
            self.mistakes.push(Mistake::new(
                span,
                format!("`{name}` has no `{key}`"),
                "it can't do without",
                format!("add `{key}: PATH`"),
            ));
        }
        value.map(|value| PathBuf::from(&value.value))
    }

    fn vault(&mut self, name: &str, store: &At<RawStore>) -> Option<VaultConfig> {
        let raw = &store.value;
        let text = |value: &Option<At<String>>, names: [&str; 2]| {
            let given = value.as_ref().map(|value| value.value.clone());
            given.or_else(|| self.first_set(names)).filter(|value| !value.is_empty())
        };
        let address = text(&raw.address, ["BAO_ADDR", "VAULT_ADDR"]);
        let namespace = text(&raw.namespace, ["BAO_NAMESPACE", "VAULT_NAMESPACE"]);
        let ca_file = text(&raw.ca_file, ["BAO_CACERT", "VAULT_CACERT"]).map(PathBuf::from);
        let cert = text(&raw.client_cert_file, ["BAO_CLIENT_CERT", "VAULT_CLIENT_CERT"]);
        let key = text(&raw.client_key_file, ["BAO_CLIENT_KEY", "VAULT_CLIENT_KEY"]);
        let client_cert = match (cert, key) {
            (Some(cert), Some(key)) => {
                Some(ClientCert { cert_file: cert.into(), key_file: key.into() })
            }
            (None, None) => None,
            _ => {
                self.mistakes.push(Mistake::new(
                    &store.span,
                    format!("store `{name}` has half a client certificate"),
                    "a certificate is of no use without its key, and a key without its certificate",
                    "give both `client_cert_file` and `client_key_file`",
                ));
                None
            }
        };
        let hosts = raw.redirect_hosts.as_ref().map(|hosts| &hosts.value);
        let redirect_hosts = hosts.into_iter().flatten().map(|host| host.value.clone()).collect();
        let span = raw.address.as_ref().map_or(&store.span, |address| &address.span);
        let address = self.address(name, address, span);
        let login = self.login(name, store);
        Some(VaultConfig {
            address: address?,
            namespace,
            ca_file,
            client_cert,
            redirect_hosts,
            login: login?,
        })
    }

    fn first_set(&self, names: [&str; 2]) -> Option<String> {
        names.iter().find_map(|name| (self.around.env)(name).filter(|value| !value.is_empty()))
    }

    fn address(&mut self, name: &str, address: Option<String>, span: &Span) -> Option<String> {
        let hint = "write `address: https://host:8200`, or set BAO_ADDR or VAULT_ADDR";
        let Some(address) = address else {
            self.mistakes.push(Mistake::new(
                span,
                format!("store `{name}` has no `address`"),
                "neither the config nor $BAO_ADDR nor $VAULT_ADDR says where it is",
                hint,
            ));
            return None;
        };
        let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        let good = host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
            && !address.contains(|c: char| c.is_whitespace() || c.is_control())
            && !address.contains(['?', '#']);
        if !good {
            self.mistakes.push(Mistake::new(
                span,
                format!("`{}` is not the address of a store", address.escape_debug()),
                "an address is `http://` or `https://`, a host, and perhaps a port and a path",
                hint,
            ));
            return None;
        }
        Some(address.trim_end_matches('/').to_owned())
    }

    fn login(&mut self, name: &str, store: &At<RawStore>) -> Option<Login> {
        let Some(login) = &store.value.login else { return self.token_of_environment(name, store) };
        let raw = &login.value;
        let given: Vec<&str> = [
            ("kubernetes", raw.kubernetes.is_some()),
            ("jwt", raw.jwt.is_some()),
            ("approle", raw.approle.is_some()),
            ("cert", raw.cert.is_some()),
            ("token", raw.token.is_some()),
            ("aws", raw.aws.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        if given.len() != 1 {
            self.mistakes.push(Mistake::new(
                &login.span,
                format!("store `{name}` has {} logins", given.len()),
                if given.is_empty() {
                    "`login` names none".to_owned()
                } else {
                    given.join(" and ")
                },
                "name exactly one of kubernetes, jwt, approle, token",
            ));
            return None;
        }
        self.one_login(name, raw, &login.span)
    }

    fn one_login(&mut self, name: &str, raw: &RawLogin, span: &Span) -> Option<Login> {
        if let Some(given) = &raw.kubernetes {
            let (role, mount, token_file) =
                self.role_login(name, "kubernetes", given, Some(TOKEN_FILE))?;
            return Some(Login::Kubernetes { role, mount, token_file });
        }
        if let Some(given) = &raw.jwt {
            let (role, mount, token_file) = self.role_login(name, "jwt", given, None)?;
            return Some(Login::Jwt { role, mount, token_file });
        }
        if let Some(given) = &raw.approle {
            let raw = &given.value;
            let role = self.needed(name, "role_id_file", raw.role_id_file.as_ref(), &given.span);
            let secret =
                self.needed(name, "secret_id_file", raw.secret_id_file.as_ref(), &given.span);
            let mount = mount(raw.mount.as_ref(), "approle");
            return Some(Login::AppRole { mount, role_id_file: role?, secret_id_file: secret? });
        }
        if let Some(given) = &raw.token {
            let source = match (&given.value.file, &given.value.env) {
                (Some(file), None) => Some(TokenSource::File(PathBuf::from(&file.value))),
                (None, Some(env)) => Some(TokenSource::Env(env.value.clone())),
                _ => None,
            };
            if source.is_none() {
                self.mistakes.push(Mistake::new(
                    &given.span,
                    format!("the token of store `{name}` has no single place"),
                    "it is in a file or in a variable",
                    "write `token: { file: PATH }` or `token: { env: NAME }`",
                ));
            }
            return source.map(Login::Token);
        }
        let which = if raw.cert.is_some() { "cert" } else { "aws" };
        self.mistakes.push(Mistake::not_yet(
            span,
            format!("the login `{which}` is not there yet"),
            "use kubernetes, jwt, approle or token",
        ));
        None
    }

    fn role_login(
        &mut self,
        name: &str,
        method: &str,
        given: &At<RawRoleLogin>,
        default_file: Option<&str>,
    ) -> Option<(String, String, PathBuf)> {
        let raw = &given.value;
        let role = raw.role.as_ref().map(|role| role.value.clone());
        if role.as_ref().is_none_or(String::is_empty) {
            self.mistakes.push(Mistake::new(
                &given.span,
                format!("the {method} login of store `{name}` has no `role`"),
                "the role says what the login may read",
                "add `role: NAME`, the role that the store's operator made for you",
            ));
        }
        let file = match (&raw.token_file, default_file) {
            (None, Some(default)) => Some(PathBuf::from(default)),
            (file, _) => self.needed(name, "token_file", file.as_ref(), &given.span),
        };
        Some((role.filter(|role| !role.is_empty())?, mount(raw.mount.as_ref(), method), file?))
    }

    /// Without a login: the token of the environment, as the store's own command line finds it.
    fn token_of_environment(&mut self, name: &str, store: &At<RawStore>) -> Option<Login> {
        for variable in ["BAO_TOKEN", "VAULT_TOKEN"] {
            if self.first_set([variable, variable]).is_some() {
                return Some(Login::Token(TokenSource::Env(variable.to_owned())));
            }
        }
        if let Some(home) = self.first_set(["HOME", "HOME"]) {
            return Some(Login::Token(TokenSource::File(PathBuf::from(home).join(".vault-token"))));
        }
        self.mistakes.push(Mistake::new(
            &store.span,
            format!("store `{name}` has no login"),
            "there is no `login`, no $BAO_TOKEN, no $VAULT_TOKEN and no home with a .vault-token",
            "add `login: { kubernetes: { role: NAME } }`, or set BAO_TOKEN",
        ));
        None
    }
}

fn mount(given: Option<&At<String>>, default: &str) -> String {
    let given = given.map(|mount| mount.value.trim_matches('/').to_owned());
    given.filter(|mount| !mount.is_empty()).unwrap_or_else(|| default.to_owned())
}
