//! What the agent must still be able to reach once it is locked in. Pure: computed from the config
//! alone, so that a reader sees it in one place.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::model::{
    AwsConfig, Config, ConfirmBy, HookConfig, HookKind, HttpTarget, Login, Otherwise, ProcessMatch,
    StoreKind, TokenSource, VaultConfig,
};

/// Where a redirect to a host without a port leads, besides the store's own port.
const USUAL_PORTS: [u16; 2] = [443, 8200];

/// DNS over TCP, for answers that don't fit a datagram.
const DNS: u16 = 53;

/// What is reached after the lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files that are read, and may be replaced at any time.
    pub files: BTreeSet<PathBuf>,
    /// Directories that are written in.
    pub written: BTreeSet<PathBuf>,
    /// TCP ports that are connected to.
    pub ports: BTreeSet<u16>,
    /// Whether processes are looked up and signalled.
    pub signals: bool,
}

/// A variable of the environment.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where the environment names proxies.
const PROXIES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Where the environment names addresses of AWS and of whoever hands out its credentials.
const AWS_ADDRESSES: [&str; 7] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_SECRETS_MANAGER",
    "AWS_ENDPOINT_URL_SSM",
    "AWS_ENDPOINT_URL_KMS",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
];

/// Where the environment names files of its default chain of credentials.
const AWS_FILES: [&str; 4] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CONFIG_FILE",
];

/// Everything that a config needs. `own` is the file it stands in.
pub fn reach(config: &Config, own: Option<&Path>, env: Env<'_>) -> Reach {
    let mut reach = Reach { ports: BTreeSet::from([DNS]), ..Reach::default() };
    reach.files.extend(own.map(Path::to_owned));
    config.stores.values().for_each(|store| reach.store(store, env));
    let parameters = config.secrets.values().flat_map(|secret| secret.with.files.values());
    reach.files.extend(parameters.cloned());
    reach.written.extend(config.volumes.values().map(|volume| volume.path.clone()));
    reach.written.extend(config.state.iter().map(|state| state.path.clone()));
    config.on_change.iter().for_each(|hook| reach.hook(hook, env));
    reach
}

impl Reach {
    /// A new kind of store adds its files and ports here.
    fn store(&mut self, store: &StoreKind, env: Env<'_>) {
        match store {
            StoreKind::Vault(vault) => self.vault(vault, env),
            StoreKind::Aws(aws) => self.aws(aws, env),
            StoreKind::Local(local) => {
                self.files.extend([local.file.clone(), local.key_file.clone()]);
            }
        }
    }

    /// Its services speak https; the endpoints of containers and instances, plain HTTP.
    fn aws(&mut self, aws: &AwsConfig, env: Env<'_>) {
        self.ports.extend([443, 80]);
        let named = AWS_ADDRESSES.iter().chain(&PROXIES).filter_map(|name| env(name));
        let addresses = named.chain(aws.endpoint.clone()).chain(aws.endpoints.values().cloned());
        self.ports.extend(addresses.filter_map(|address| port_of(&address)));
        self.files.extend(aws.ca_file.clone());
        self.files.extend(AWS_FILES.iter().filter_map(|name| env(name)).map(PathBuf::from));
        let home = env("HOME").map(|home| PathBuf::from(home).join(".aws"));
        self.files.extend(home.into_iter().map(|aws| aws.join("config")));
    }

    fn vault(&mut self, vault: &VaultConfig, env: Env<'_>) {
        let own = port_of(&vault.address);
        self.ports.extend(own);
        for host in &vault.redirect_hosts {
            match port_in(host) {
                Some(port) => drop(self.ports.insert(port)),
                None => self.ports.extend(USUAL_PORTS),
            }
        }
        self.files.extend(vault.ca_file.clone());
        if let Some(cert) = &vault.client_cert {
            self.files.extend([cert.cert_file.clone(), cert.key_file.clone()]);
        }
        match &vault.login {
            Login::Kubernetes { token_file, .. } | Login::Jwt { token_file, .. } => {
                self.files.insert(token_file.clone());
            }
            Login::AppRole { role_id_file, secret_id_file, .. } => {
                self.files.extend([role_id_file.clone(), secret_id_file.clone()]);
            }
            Login::Token(TokenSource::File(file)) => drop(self.files.insert(file.clone())),
            Login::Aws { aws, .. } => self.aws(aws, env),
            Login::Token(TokenSource::Env(_)) | Login::Cert { .. } => {}
        }
    }

    fn hook(&mut self, hook: &HookConfig, env: Env<'_>) {
        match &hook.kind {
            HookKind::Http { to: HttpTarget::Url(url), .. } => {
                self.ports.extend(port_of(url));
                let proxies = PROXIES.iter().filter_map(|name| env(name));
                self.ports.extend(proxies.filter_map(|proxy| port_of(&proxy)));
            }
            HookKind::Http { to: HttpTarget::Unix { .. }, .. } | HookKind::Command { .. } => {}
            HookKind::Signal { to, .. } => self.process(to),
        }
        let Some(confirm) = &hook.confirm else { return };
        if let ConfirmBy::File(file) = &confirm.by {
            self.files.insert(file.clone());
        }
        if let Otherwise::Restart(target) = &confirm.otherwise {
            self.process(target);
        }
    }

    fn process(&mut self, target: &ProcessMatch) {
        self.signals = true;
        if let ProcessMatch::PidFile(file) = target {
            self.files.insert(file.clone());
        }
    }
}

/// The port of an address, by its scheme where it is not said.
fn port_of(address: &str) -> Option<u16> {
    let (scheme, rest) = address.split_once("://").unwrap_or(("http", address));
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "https" => 443,
        "http" => 80,
        _ => 1080,
    };
    Some(port_in(host).unwrap_or(usual))
}

/// The port behind a host, if one is said; an IPv6 address is in brackets.
fn port_in(host: &str) -> Option<u16> {
    let (_, port) = host.rsplit_once(':')?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::{Origin, Source, Surroundings, parse};

    fn of(text: &str, variables: &[(&str, &str)]) -> Reach {
        let around = Surroundings { env: &|_| None, uid: 1, in_pod: false };
        let source = Source { origin: Origin::Variable, text: text.to_owned() };
        let config = parse(&source, &around).unwrap().config;
        let env = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        reach(&config, Some(Path::new("/etc/sidekey/config.yaml")), &env)
    }

    fn paths(names: &[&str]) -> BTreeSet<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn every_kind_of_store_and_hook_gets_what_it_needs_and_nothing_more() {
        let reach = of(
            r#"
stores:
  v:
    kind: vault
    address: "https://vault.internal"
    ca_file: /tls/ca.pem
    redirect_hosts: ["other:8201", plain]
    login: { approle: { role_id_file: /a/role, secret_id_file: /b/secret } }
  w: { kind: vault, address: "http://[::1]:8300/x", login: { token: { file: /t/token } } }
  l: { kind: local, file: /l/secrets.age, key_file: /k/key }
secrets:
  a: { from: "v:secret/data/a" }
  b: { from: "w:secret/data/b", with: { csr_file: /c/csr } }
  c: { from: "l:c" }
files: { a: { from: a.x }, b: { from: b.x }, c: { from: c.x } }
volumes: { default: { path: /run/a }, web: { path: /run/b } }
state: { path: /run/s }
on_change:
  - http: { url: "http://127.0.0.1:8080/-/reload" }
  - http: { url: "https://app.svc/reload" }
"#,
            &[("HTTPS_PROXY", "http://me:pw@proxy.internal:3128/"), ("all_proxy", "socks5://p")],
        );
        let files = ["/etc/sidekey/config.yaml", "/tls/ca.pem", "/a/role", "/b/secret"];
        let more = ["/t/token", "/l/secrets.age", "/k/key", "/c/csr"];
        assert_eq!(reach.files, &paths(&files) | &paths(&more));
        assert_eq!(reach.written, paths(&["/run/a", "/run/b", "/run/s"]));
        let ports = [53, 80, 443, 1080, 3128, 8080, 8200, 8201, 8300];
        assert_eq!(
            reach.ports,
            BTreeSet::from(ports).difference(&BTreeSet::from([80])).copied().collect()
        );
        assert!(!reach.signals);
    }

    #[cfg(feature = "aws")]
    #[test]
    fn aws_is_reached_with_its_endpoints_and_the_files_of_its_chain() {
        let reach = of(
            r#"
stores: { p: { kind: aws, region: eu-west-1, endpoints: { kms: "https://kms.internal:8443" } } }
secrets: { a: { from: "p:secretsmanager/a" } }
files: { a: { from: a.x } }
volume: { path: /run/a }
"#,
            &[
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks/token"),
                ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23:81/v1/credentials"),
                ("HOME", "/home/u"),
            ],
        );
        assert_eq!(reach.ports, BTreeSet::from([53, 80, 81, 443, 8443]));
        for file in ["/var/run/secrets/eks/token", "/home/u/.aws/config"] {
            assert!(reach.files.contains(Path::new(file)), "{file}");
        }
    }

    #[test]
    fn a_signal_needs_more_and_its_files() {
        let with = |hook: &str| {
            of(
                &format!(
                    "stores: {{ l: {{ kind: local, file: /l/f, key_file: /l/k }} }}\n\
                     secrets: {{ a: {{ from: \"l:a\" }} }}\nfiles: {{ a: {{ from: a.x }} }}\n\
                     volume: {{ path: /run/a }}\non_change: [{hook}]\n"
                ),
                &[],
            )
        };
        assert!(with("{ signal: { send: SIGHUP, to: { name: nginx } } }").signals);
        let by_file = with("{ signal: { send: SIGHUP, to: { pid_file: /p/app.pid } } }");
        assert!(by_file.files.contains(Path::new("/p/app.pid")));
        let command = with("{ command: [/bin/reload], confirm: { file: /f/seen, within: 1s } }");
        assert!(!command.signals && command.files.contains(Path::new("/f/seen")));
        assert_eq!(command.ports, BTreeSet::from([53]));
    }

    #[test]
    fn the_port_of_an_address_is_found_in_every_form() {
        for (address, port) in [
            ("https://vault", 443),
            ("http://vault", 80),
            ("https://vault:8200", 8200),
            ("https://vault:8200/ns", 8200),
            ("https://[fd00::1]", 443),
            ("https://[fd00::1]:1", 1),
            ("http://me:1@proxy:3128", 3128),
            ("proxy:3128", 3128),
            ("HTTPS://vault?x:1", 443),
        ] {
            assert_eq!(port_of(address), Some(port), "{address}");
        }
    }
}
