//! Name and password for a registry, from where Docker and podman keep them.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::secret::SecretBytes;

/// A helper that asks its user something would wait for ever.
const HELPER_TIME: Duration = Duration::from_secs(10);

/// What a helper may say.
const HELPER_SAYS: u64 = 64 << 10;

/// A name and a password; with an empty name the password is a token for tokens.
pub struct Credentials {
    /// The name.
    pub name: String,
    /// The password.
    pub password: SecretBytes,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Auth {
    #[serde(rename = "auth")]
    both: Option<String>,
    username: Option<String>,
    password: Option<String>,
    #[serde(rename = "identitytoken")]
    identity_token: Option<String>,
}

/// Finds the credentials for `registry` (and, more special, its `repository`).
pub fn find(registry: &str, repository: &str) -> io::Result<Option<Credentials>> {
    for path in files() {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let file: File = serde_json::from_slice(&bytes).map_err(|error| {
            // The line alone: the file holds passwords.
            let text = format!("`{}` is no JSON, line {}", path.display(), error.line());
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        if let Some(found) = of_file(&file, registry, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn files() -> Vec<PathBuf> {
    let of = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = of("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let docker = of("DOCKER_CONFIG").or_else(|| Some(of("HOME")?.join(".docker")));
    let podman = of("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
    docker.map(|dir| dir.join("config.json")).into_iter().chain(podman).collect()
}

/// What the entry of a registry may be called, the most special first.
fn names(registry: &str, repository: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut path = repository;
    loop {
        names.push(format!("{registry}/{path}"));
        match path.rsplit_once('/') {
            Some((parent, _)) => path = parent,
            None => break,
        }
    }
    names.push(registry.to_owned());
    if registry == "docker.io" {
        names.push("https://index.docker.io/v1/".to_owned());
    }
    for scheme in ["https://", "http://"] {
        names.push(format!("{scheme}{registry}"));
        names.push(format!("{scheme}{registry}/v1/"));
        names.push(format!("{scheme}{registry}/v2/"));
    }
    names
}

fn of_file(file: &File, registry: &str, repository: &str) -> io::Result<Option<Credentials>> {
    let names = names(registry, repository);
    let helper = names.iter().find_map(|name| Some((file.cred_helpers.get(name)?, name)));
    if let Some((helper, name)) = helper {
        return ask_helper(helper, name);
    }
    let entry = names.iter().find_map(|name| file.auths.get(name));
    if let Some(found) = entry.and_then(of_entry) {
        return Ok(Some(found));
    }
    match &file.creds_store {
        Some(helper) if !helper.is_empty() => {
            let hub = registry == "docker.io";
            ask_helper(helper, if hub { "https://index.docker.io/v1/" } else { registry })
        }
        _ => Ok(None),
    }
}

fn of_entry(auth: &Auth) -> Option<Credentials> {
    let made = |name: &str, password: &[u8]| {
        Some(Credentials { name: name.to_owned(), password: SecretBytes::copy_of(password) })
    };
    if let Some(token) = auth.identity_token.as_deref().filter(|token| !token.is_empty()) {
        return made("", token.as_bytes());
    }
    if let (Some(name), Some(password)) = (&auth.username, &auth.password) {
        return made(name, password.as_bytes());
    }
    let plain = SecretBytes::from(STANDARD.decode(auth.both.as_deref()?.trim()).ok()?);
    let bytes = plain.expose();
    let colon = bytes.iter().position(|byte| *byte == b':')?;
    made(std::str::from_utf8(&bytes[..colon]).ok()?, &bytes[colon + 1..])
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    username: String,
    secret: String,
}

/// Runs `docker-credential-NAME get`, without a shell.
fn ask_helper(helper: &str, registry: &str) -> io::Result<Option<Credentials>> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if helper.is_empty() || !helper.bytes().all(fits) {
        let text = "the name of a credential helper is letters, digits and `-`, `_`, `.`";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "a credential helper, named by the user's own config"
    )]
    let mut command = Command::new(format!("docker-credential-{helper}"));
    let command = command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(registry.as_bytes())?;
    }
    let Some(said) = output(&mut child)? else { return Ok(None) };
    let said: Said = serde_json::from_slice(said.expose()).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("`docker-credential-{helper}` says no JSON"),
        )
    })?;
    // A token for tokens has no name.
    let name = if said.username == "<token>" { String::new() } else { said.username };
    Ok(Some(Credentials { name, password: SecretBytes::from(said.secret) }))
}

/// What it says; none if it has nothing.
fn output(child: &mut Child) -> io::Result<Option<SecretBytes>> {
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(stdout) = stdout {
            let _ = stdout.take(HELPER_SAYS).read_to_end(&mut bytes);
        }
        SecretBytes::from(bytes)
    });
    let end = Instant::now() + HELPER_TIME;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() >= end => {
                child.kill()?;
                child.wait()?;
                let text = "the credential helper did not answer within 10 s";
                return Err(io::Error::new(io::ErrorKind::TimedOut, text));
            }
            None => std::thread::sleep(Duration::from_millis(10)),
        }
    };
    let said = reader.join().map_err(|_| io::Error::other("the credential helper is gone"))?;
    Ok(status.success().then_some(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, registry: &str, repository: &str) -> Option<(String, Vec<u8>)> {
        let file: File = serde_json::from_str(text).unwrap();
        let found = of_file(&file, registry, repository).unwrap()?;
        Some((found.name, found.password.expose().to_vec()))
    }

    #[test]
    fn the_most_special_entry_is_taken() {
        let auth = |text: &str| STANDARD.encode(text);
        let text = format!(
            r#"{{"auths":{{"r.example":{{"auth":"{}"}},"r.example/team":{{"auth":"{}"}}}}}}"#,
            auth("a:1"),
            auth("b:2:3")
        );
        assert_eq!(found(&text, "r.example", "team/app"), Some(("b".into(), b"2:3".to_vec())));
        assert_eq!(found(&text, "r.example", "other"), Some(("a".into(), b"1".to_vec())));
        assert_eq!(found(&text, "s.example", "other"), None);
    }

    #[test]
    fn the_hub_is_called_by_its_old_name() {
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"identitytoken":"t"}}}"#;
        assert_eq!(
            found(text, "docker.io", "library/alpine"),
            Some((String::new(), b"t".to_vec()))
        );
    }

    #[test]
    fn a_helper_whose_name_is_a_path_is_not_run() {
        let text = r#"{"credsStore":"../../bin/sh"}"#;
        let file: File = serde_json::from_str(text).unwrap();
        assert!(of_file(&file, "r.example", "a").is_err());
    }
}
