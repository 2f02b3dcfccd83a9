//! Registries that behave, and registries that do not.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod images;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine;
use images::*;
use serde_json::json;

/// A request, as a registry sees it.
#[derive(Clone, Debug, Default)]
struct Request {
    path: String,
    headers: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug, Default)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// So many bytes of the body, then the connection is over.
    cut: Option<usize>,
}

impl Answer {
    fn ok(body: &[u8]) -> Answer {
        Answer { status: 200, body: body.to_vec(), ..Answer::default() }
    }

    fn status(status: u16) -> Answer {
        Answer { status, ..Answer::default() }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Answer {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// A registry on this machine, without TLS.
struct Fake {
    host: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Fake {
    fn start(answer: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let seen: Arc<Mutex<Vec<Request>>> = Arc::default();
        let kept = seen.clone();
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                std::thread::spawn(move || serve(&stream, &kept, &*answer));
            }
        });
        Fake { host, seen }
    }

    /// Serves an image, with a say in every answer before.
    fn of(
        image: &Image,
        before: impl Fn(&Request, usize) -> Option<Answer> + Send + Sync + 'static,
    ) -> Fake {
        let files = image.oci(Packed::Gzip);
        Fake::start(move |request, nth| {
            before(request, nth).unwrap_or_else(|| serve_file(&files, &request.path))
        })
    }

    fn requests(&self, part: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.path.contains(part)).cloned().collect()
    }
}

fn serve_file(files: &[(String, Vec<u8>)], path: &str) -> Answer {
    let (_, last) = path.rsplit_once('/').unwrap();
    let wanted = match last.strip_prefix("sha256:") {
        Some(hex) => format!("blobs/sha256/{hex}"),
        None => "index.json".to_owned(),
    };
    match files.iter().find(|(name, _)| *name == wanted) {
        Some((_, bytes)) => Answer::ok(bytes),
        None => Answer::status(404),
    }
}

fn serve(
    stream: &TcpStream,
    seen: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request, usize) -> Answer,
) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = Request::default();
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || !line.starts_with("GET ") {
            return;
        }
        line.split(' ').nth(1).unwrap().clone_into(&mut request.path);
        loop {
            line.clear();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim().split_once(':') else { break };
            request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let nth = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.iter().filter(|other| other.path == request.path).count()
        };
        let answer = answer(&request, nth);
        let mut head =
            format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n", answer.status, answer.body.len());
        for (name, value) in &answer.headers {
            head = format!("{head}{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        let body = &answer.body[..answer.cut.unwrap_or(answer.body.len())];
        let mut stream = stream;
        if stream.write_all(&[head.as_bytes(), body].concat()).is_err() || answer.cut.is_some() {
            return;
        }
    }
}

fn pull(fake: &Fake, config: Option<&str>, arguments: &[&str]) -> Said {
    let scratch = Scratch::new();
    scratch.write("config.json", config.unwrap_or("{}").as_bytes());
    let mut command = command();
    command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    command.env("DOCKER_CONFIG", scratch.0.path());
    command.args(["--format", "json", "--reveal"]).args(arguments);
    command.arg(format!("{}/team/app:1", fake.host));
    said(&mut command, None)
}

fn planted() -> (Image, String) {
    let secret = token();
    let content = [random(100_000), format!("\nTOKEN={secret}\n")].concat();
    (Image::with_file("a/.env", content), secret)
}

fn login(host: &str) -> String {
    let auth = base64::engine::general_purpose::STANDARD.encode("me:password");
    json!({"auths": {host: {"auth": auth}}}).to_string()
}

#[test]
fn an_image_is_pulled_and_each_blob_is_fetched_once() {
    let (image, secret) = planted();
    let twice = image.layers[0].clone();
    let image = image.layer(twice.0, "again");
    let fake = Fake::of(&image, |_, _| None);
    let said = pull(&fake, None, &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1), "{}", said.err);
    let json = said.json();
    assert_eq!(json["images"][0]["source"], json!("registry"));
    assert_eq!(json["images"][0]["layers"].as_array().unwrap().len(), 2);
    // The config and the layer.
    assert_eq!(fake.requests("/blobs/").len(), 2);
}

#[test]
fn a_token_is_fetched_with_the_password_and_the_blobs_with_the_token() {
    let (image, secret) = planted();
    let fake = Fake::of(&image, |request, _| {
        let host = &request.headers["host"];
        if request.path.starts_with("/token") {
            assert!(
                request.path.contains("scope=repository%3Ateam%2Fapp%3Apull"),
                "{}",
                request.path
            );
            let basic = request.headers["authorization"].strip_prefix("Basic ").unwrap();
            assert_eq!(basic, base64::engine::general_purpose::STANDARD.encode("me:password"));
            return Some(Answer::ok(br#"{"token":"abc"}"#));
        }
        if request.headers.get("authorization").map(String::as_str) == Some("Bearer abc") {
            return None;
        }
        let demand = format!(
            "Bearer realm=\"http://{host}/token\",service=\"r\",scope=\"repository:team/app:pull\""
        );
        Some(Answer::status(401).with("www-authenticate", demand))
    });
    let said = pull(&fake, Some(&login(&fake.host)), &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1), "{}", said.out);
    assert_eq!(fake.requests("/token").len(), 1);
}

#[test]
fn a_realm_outside_of_the_registrys_domain_never_sees_the_password() {
    let (image, _) = planted();
    let evil = Fake::start(|_, _| Answer::ok(br#"{"token":"abc"}"#));
    let realm = format!("http://evil.example:{}/token", evil.host.rsplit_once(':').unwrap().1);
    let fake = Fake::of(&image, move |_, _| {
        Some(Answer::status(401).with("www-authenticate", format!("Bearer realm=\"{realm}\"")))
    });
    let said = pull(&fake, Some(&login(&fake.host)), &[]);
    assert_eq!(said.code, 2);
    let error = said.json()["images"][0]["error"].to_string();
    assert!(error.contains("outside of its own domain"), "{error}");
    assert!(evil.requests("").is_empty());
}

#[test]
fn a_redirected_blob_does_not_take_the_password_with_it() {
    let (image, secret) = planted();
    let files = image.oci(Packed::Gzip);
    let storage = Fake::start(move |request, _| serve_file(&files, &request.path));
    let to = storage.host.clone();
    let fake = Fake::of(&image, move |request, _| {
        if !request.headers.contains_key("authorization") {
            return Some(Answer::status(401).with("www-authenticate", "Basic realm=\"r\""));
        }
        let digest = request.path.split("/blobs/").nth(1)?;
        Some(Answer::status(307).with("location", format!("http://{to}/store/{digest}")))
    });
    let said = pull(&fake, Some(&login(&fake.host)), &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1), "{}", said.out);
    let stored = storage.requests("/store/");
    assert_eq!(stored.len(), 2);
    assert!(stored.iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn redirects_without_end_are_a_failure() {
    let (image, _) = planted();
    let fake = Fake::of(&image, |request, _| {
        Some(Answer::status(302).with("location", request.path.clone()))
    });
    assert_eq!(pull(&fake, None, &[]).code, 2);
}

#[test]
fn a_registry_that_is_busy_is_waited_for() {
    let (image, secret) = planted();
    let fake = Fake::of(&image, |request, nth| {
        let busy = request.path.contains("/manifests/1") && nth == 1;
        busy.then(|| Answer::status(429).with("retry-after", "1"))
    });
    let said = pull(&fake, None, &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1));
    assert_eq!(fake.requests("/manifests/1").len(), 2);
}

#[test]
fn a_blob_that_breaks_off_is_taken_up_where_it_broke() {
    for ranges in [true, false] {
        let (image, secret) = planted();
        let files = image.oci(Packed::Gzip);
        let fake = Fake::of(&image, move |request, nth| {
            if !request.path.contains("/blobs/") {
                return None;
            }
            let whole = serve_file(&files, &request.path);
            if whole.body.len() < 10_000 {
                return None;
            }
            if nth == 1 {
                return Some(Answer { cut: Some(5_000), ..whole });
            }
            let from = request.headers["range"].strip_prefix("bytes=").unwrap();
            let from: usize = from.trim_end_matches('-').parse().unwrap();
            assert!((1..=5_000).contains(&from), "{from}");
            if !ranges {
                return None;
            }
            Some(Answer { status: 206, body: whole.body[from..].to_vec(), ..Answer::default() })
        });
        let said = pull(&fake, None, &[]);
        assert_eq!((secrets(&said), said.code), (vec![secret], 1), "{}", said.out);
        assert_eq!(said.json()["images"][0]["complete"], json!(true));
    }
}

#[test]
fn a_blob_that_is_another_one_is_a_mismatch() {
    let (image, _) = planted();
    let fake = Fake::of(&image, |request, _| {
        let other = gzip(&Tar::new().file("a", random(20_000)).end());
        let is_layer = request.path.contains("/blobs/");
        is_layer.then(|| Answer::ok(&other))
    });
    let said = pull(&fake, None, &[]);
    assert_eq!(said.code, 3);
    assert!(said.reasons().contains(&"digest_mismatch".to_owned()), "{:?}", said.reasons());
}

#[test]
fn a_layer_that_the_registry_does_not_have_is_unreadable() {
    let (image, _) = planted();
    let config = sha256(&image.config());
    let fake = Fake::of(&image, move |request, _| {
        let other = request.path.contains("/blobs/") && !request.path.contains(&config);
        other.then(|| Answer::status(404))
    });
    let said = pull(&fake, None, &[]);
    assert_eq!((said.code, said.reasons()), (3, vec!["layer_unreadable".to_owned()]));
}

#[test]
fn what_the_registry_refuses_is_told_with_what_to_do() {
    for (status, words) in [(404, "does not have it"), (403, "refuses")] {
        let fake = Fake::start(move |_, _| Answer::status(status));
        let said = pull(&fake, None, &[]);
        assert_eq!(said.code, 2);
        let error = said.json()["images"][0]["error"].clone();
        assert!(error["why"].as_str().unwrap().contains(words), "{error}");
        assert!(!error["hint"].as_str().unwrap().is_empty());
    }
}

#[test]
fn a_reference_with_a_digest_gets_that_document_or_none() {
    let (image, _) = planted();
    let fake = Fake::of(&image, |_, _| None);
    let wrong = format!("{}/team/app@sha256:{}", fake.host, "0".repeat(64));
    assert_eq!(said(command().arg(&wrong), None).code, 2);
    let other = Fake::start(|_, _| Answer::ok(b"{}"));
    let wrong = format!("{}/team/app@sha256:{}", other.host, "0".repeat(64));
    let said = said(command().args(["--format", "json", &wrong]), None);
    assert!(said.out.contains("another digest"), "{}", said.out);
    assert_eq!(said.code, 2);
}

#[test]
fn a_credential_helper_is_asked_without_a_shell() {
    use std::os::unix::fs::PermissionsExt;

    let (image, secret) = planted();
    let fake = Fake::of(&image, |request, _| {
        let right =
            format!("Basic {}", base64::engine::general_purpose::STANDARD.encode("me:helped"));
        (request.headers.get("authorization") != Some(&right))
            .then(|| Answer::status(401).with("www-authenticate", "Basic realm=\"r\""))
    });
    let scratch = Scratch::new();
    let helper = "#!/bin/sh\nread host\nprintf '{\"ServerURL\":\"%s\",\"Username\":\"me\",\"Secret\":\"helped\"}' \"$host\"\n";
    let path = scratch.write("docker-credential-test", helper.as_bytes());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    scratch.write("config.json", br#"{"credsStore":"test"}"#);
    let mut command = command();
    let path = format!("{}:{}", scratch.0.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("DOCKER_CONFIG", scratch.0.path());
    command.env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    command.args(["--format", "json", "--reveal"]).arg(format!("{}/team/app:1", fake.host));
    let said = said(&mut command, None);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1), "{}", said.out);
}

/// A daemon behind a Unix socket.
fn daemon(answer: Vec<u8>) -> (Scratch, String) {
    let scratch = Scratch::new();
    let path = scratch.0.path().join("daemon.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let _ = stream.write_all(&answer);
        }
    });
    (scratch, format!("unix://{}", path.display()))
}

#[test]
fn an_image_is_read_from_a_daemon() {
    let (image, secret) = planted();
    let saved = image.docker_new(Packed::Plain);
    let plain =
        [b"HTTP/1.0 200 OK\r\nContent-Type: application/x-tar\r\n\r\n".to_vec(), saved.clone()]
            .concat();
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in saved.chunks(50_000) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for answer in [plain, chunked] {
        let (_scratch, host) = daemon(answer);
        for scheme in ["docker", "podman"] {
            let mut command = command();
            command.env("DOCKER_HOST", &host).env_remove("CONTAINER_HOST");
            command.args(["--format", "json", "--reveal", &format!("{scheme}:app:1")]);
            let said = said(&mut command, None);
            assert_eq!((secrets(&said), said.code), (vec![secret.clone()], 1), "{}", said.out);
            assert_eq!(said.json()["images"][0]["source"], json!(scheme));
        }
    }
}

#[test]
fn a_daemon_that_refuses_is_quoted() {
    let (_scratch, host) =
        daemon(b"HTTP/1.0 404 Not Found\r\n\r\n{\"message\":\"no such image\"}".to_vec());
    let mut command = command();
    command.env("DOCKER_HOST", &host).args(["--format", "json", "docker:nothing"]);
    let said = said(&mut command, None);
    assert_eq!(said.code, 2);
    assert!(said.out.contains("no such image"), "{}", said.out);
}
