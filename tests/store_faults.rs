//! What goes wrong between here and a Vault, on real servers where they can be brought to it.
//! Numbers are rows of the failure catalogue.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a set-up that fails is a failed test")]

mod support;

use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use sidekey::agent::config::{ClientCert, Login, TokenSource, VaultConfig};
use sidekey::agent::store::vault::{
    Fault, Malformed, Patience, RedirectFault, TlsFault, Unreachable, Wait,
};
use sidekey::agent::store::{Answer, Retry, Scope, Session};
use sidekey::secret::SecretBytes;
use support::{
    Agent, Authority, Bao, Fault as Line, Kind, Proxy, Response, Script, field, vault_config,
};

const PATH: &str = "secret/data/app";

/// Bounds that a test can wait for.
const BRIEF: Patience = Patience {
    connect: Duration::from_millis(300),
    first_byte: Duration::from_millis(600),
    total: Duration::from_millis(900),
};

/// A server with one secret, for tests that leave it as it is.
fn bao() -> &'static Bao {
    static BAO: OnceLock<Bao> = OnceLock::new();
    BAO.get_or_init(|| {
        let bao = Bao::dev();
        bao.write("app", &json!({ "key": "the value" }));
        bao
    })
}

fn token_login(dir: &tempfile::TempDir, token: &str) -> Login {
    let file = dir.path().join("token");
    std::fs::write(&file, token).unwrap();
    Login::Token(TokenSource::File(file))
}

fn brief(address: &str) -> (tempfile::TempDir, Agent) {
    let dir = tempfile::tempdir().unwrap();
    let config = vault_config(address, token_login(&dir, &bao().root));
    let agent = Agent::with(&config, None, BRIEF);
    (dir, agent)
}

fn patient(address: &str) -> (tempfile::TempDir, Agent) {
    let dir = tempfile::tempdir().unwrap();
    let agent = Agent::with_token(address, dir.path(), &bao().root);
    (dir, agent)
}

mod network {
    use super::*;

    // 1, 2.
    #[tokio::test]
    async fn nobody_who_listens_is_unreachable_and_worth_another_try() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (_dir, agent) = patient(&format!("http://127.0.0.1:{port}"));
        let error = agent.get(PATH).await.unwrap_err();
        assert_eq!(*error.fault, Fault::Unreachable(Unreachable::Refused));
        assert_eq!((error.retry(), error.scope()), (Retry::Transient, Scope::Store));
    }

    // 28.
    #[tokio::test]
    async fn a_name_without_an_address_says_so() {
        let (_dir, agent) = patient("http://sidekey-no-such-host.invalid:8200");
        assert_eq!(agent.fault(PATH).await, Fault::Unreachable(Unreachable::Name));
    }

    // 3.
    #[tokio::test]
    async fn every_part_of_a_request_has_its_own_bound() {
        let proxy = Proxy::start(bao().port);
        let (_dir, agent) = brief(&proxy.address());
        proxy.set(Line::BlackHole);
        let slow = |wait| Fault::Unreachable(Unreachable::Slow(wait));
        assert_eq!(agent.fault(PATH).await, slow(Wait::FirstByte));
        // The head of the answer comes at once, then one byte in a second.
        let server = Script::start(|_| {
            Response::Stream(Box::new(|stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")?;
                for _ in 0..100 {
                    stream.write_all(b" ")?;
                    std::thread::sleep(Duration::from_secs(1));
                }
                Ok(())
            }))
        });
        let (_dir, agent) = brief(&server.address());
        assert_eq!(agent.fault(PATH).await, slow(Wait::Total));
    }

    // 3.
    #[tokio::test]
    async fn the_store_answers_again_as_soon_as_the_network_does() {
        let proxy = Proxy::start(bao().port);
        let (_dir, agent) = brief(&proxy.address());
        agent.secret(PATH).await;
        proxy.set(Line::Drip(Duration::from_secs(1)));
        assert!(matches!(agent.fault(PATH).await, Fault::Unreachable(Unreachable::Slow(_))));
        proxy.set(Line::None);
        let (_dir, agent) = patient(&proxy.address());
        assert_eq!(field(&agent.secret(PATH).await, "key"), "the value");
    }

    #[test]
    fn the_bounds_in_use_are_those_of_the_catalogue() {
        let Patience { connect, first_byte, total } = Patience::default();
        assert_eq!([connect, first_byte, total].map(|bound| bound.as_secs()), [3, 10, 30]);
    }

    // 4.
    #[tokio::test]
    async fn an_answer_that_is_cut_anywhere_is_never_taken_for_whole() {
        let proxy = Proxy::start(bao().port);
        let (_dir, agent) = patient(&proxy.address());
        agent.secret(PATH).await;
        proxy.set(Line::None);
        agent.secret(PATH).await;
        let whole = proxy.passed();
        assert!(whole > 300, "{whole}");
        for cut in 0..whole {
            let (_dir, agent) = patient(&proxy.address());
            proxy.set(Line::Cut(cut));
            let fault = agent.fault(PATH).await;
            let cut_off = [Unreachable::Cut, Unreachable::CutInBody].map(Fault::Unreachable);
            assert!(cut_off.contains(&fault), "cut after {cut} of {whole} bytes: {fault:?}");
        }
        proxy.set(Line::Cut(whole));
        let (_dir, agent) = patient(&proxy.address());
        agent.secret(PATH).await;
    }

    // 31, 37.
    #[tokio::test]
    async fn a_kept_connection_that_the_server_dropped_costs_nothing() {
        let proxy = Proxy::start(bao().port);
        let (_dir, agent) = patient(&proxy.address());
        agent.secret(PATH).await;
        proxy.set(Line::Reset);
        assert_eq!(agent.fault(PATH).await, Fault::Unreachable(Unreachable::Cut));
        proxy.set(Line::None);
        agent.secret(PATH).await;

        let dropped = AtomicUsize::new(0);
        let server = Script::start(move |_| {
            if dropped.fetch_add(1, Ordering::SeqCst) == 1 {
                return Response::Stream(Box::new(|_| Ok(())));
            }
            Response::secret(&json!({ "a": "b" }))
        });
        let (_dir, agent) = patient(&server.address());
        agent.secret("kv/x").await;
        agent.secret("kv/x").await;
        assert_eq!(server.count("/kv/x"), 3, "the cut one is asked once more");
    }

    #[tokio::test]
    async fn what_does_not_speak_http_is_named() {
        let server = Script::start(|_| {
            Response::Stream(Box::new(|stream| stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n")))
        });
        let (_dir, agent) = patient(&server.address());
        assert_eq!(agent.fault(PATH).await, Fault::Unreachable(Unreachable::NotHttp));
    }

    #[tokio::test]
    async fn an_address_with_a_path_is_asked_beneath_it() {
        let server = Script::start(|_| Response::secret(&json!({ "a": "b" })));
        let (_dir, agent) = patient(&format!("{}/vaults/one", server.address()));
        agent.secret("kv/x").await;
        assert_eq!(server.count("/vaults/one/v1/kv/x"), 1);
    }
}

mod states {
    use super::*;

    // 8.
    #[tokio::test]
    async fn a_sealed_store_is_asked_for_its_health_and_nothing_else() {
        let bao = Bao::start(Kind::Memory);
        bao.write("app", &json!({ "key": "the value" }));
        let proxy = Proxy::start(bao.port);
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::with_token(&proxy.address(), dir.path(), &bao.root);
        agent.secret(PATH).await;
        bao.seal();
        for _ in 0..3 {
            let error = agent.get(PATH).await.unwrap_err();
            assert_eq!(*error.fault, Fault::Sealed);
            assert_eq!((error.retry(), error.scope()), (Retry::Sealed, Scope::Store));
        }
        bao.unseal();
        assert_eq!(field(&agent.secret(PATH).await, "key"), "the value");
    }

    // 2.
    #[tokio::test]
    async fn a_store_that_was_stopped_and_started_goes_on_with_the_same_token() {
        let mut bao = Bao::start(Kind::Disk);
        bao.write("app", &json!({ "key": "the value" }));
        let dir = tempfile::tempdir().unwrap();
        let agent = Agent::with_token(&bao.address(), dir.path(), &bao.root);
        let have = agent.secret(PATH).await.version;
        bao.stop();
        assert!(matches!(agent.fault(PATH).await, Fault::Unreachable(_)));
        bao.start_again();
        let answer = agent.fetch(PATH, None, None, Some(&have)).await.unwrap();
        assert!(matches!(answer, Answer::Unmoved));
    }

    // 13.
    #[tokio::test]
    async fn a_store_that_forgot_every_token_is_logged_in_to_anew() {
        let mut bao = Bao::dev();
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| -> PathBuf {
            std::fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name)
        };
        let set_up = |bao: &Bao| {
            let admin = bao.admin();
            admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
            bao.policy("reader", &[("secret/data/*", &["read"])]);
            let role = json!({ "token_policies": ["reader"], "token_ttl": "1h" });
            admin.post("auth/approle/role/app", &role).good();
            let id = json!({ "role_id": "the-role" });
            admin.post("auth/approle/role/app/role-id", &id).good();
            let id = json!({ "secret_id": "the-secret-id" });
            admin.post("auth/approle/role/app/custom-secret-id", &id).good();
            bao.write("app", &json!({ "key": "the value" }));
        };
        set_up(&bao);
        let login = Login::AppRole {
            mount: "approle".into(),
            role_id_file: file("role-id", "the-role"),
            secret_id_file: file("secret-id", "the-secret-id"),
        };
        let mut agent = Agent::new(&vault_config(&bao.address(), login));
        agent.secret(PATH).await;
        bao.stop();
        bao.start_again();
        set_up(&bao);
        agent.now += Duration::from_secs(30);
        agent.secret(PATH).await;
        assert_eq!(agent.recorded.borrow().len(), 2);
    }

    // 9.
    #[tokio::test]
    async fn a_standby_that_answers_health_with_429_is_not_taken_for_throttling() {
        let asked = AtomicUsize::new(0);
        let server = Script::start(move |request| {
            if request.path.ends_with("/sys/health") {
                return Response::json(429, &[], &json!({ "sealed": false, "standby": true }));
            }
            match asked.fetch_add(1, Ordering::SeqCst) {
                0 => Response::json(503, &[], &json!({ "errors": ["Vault is sealed"] })),
                _ => Response::secret(&json!({ "a": "b" })),
            }
        });
        let (_dir, agent) = patient(&server.address());
        assert_eq!(agent.fault("kv/x").await, Fault::Sealed);
        agent.secret("kv/x").await;
        let health = server.seen().into_iter().find(|seen| seen.path.ends_with("health")).unwrap();
        assert_eq!(health.header("x-vault-token"), None);
    }
}

/// A server that answers one status with these headers.
fn answering(status: u16, headers: &'static [&'static str]) -> Script {
    Script::start(move |_| Response::json(status, headers, &json!({ "errors": [] })))
}

mod pace {
    use super::*;

    // 5, 6.
    #[tokio::test]
    async fn a_refusal_for_load_names_how_long_to_wait() {
        for (headers, after) in [
            (&["Retry-After: 7"][..], Some(7)),
            (&["Retry-After: 999999"], Some(300)),
            (&["Retry-After: -1"], None),
            (&[], None),
            (
                &[
                    "Retry-After: Tue, 24 Nov 2026 08:00:30 GMT",
                    "Date: Tue, 24 Nov 2026 08:00:00 GMT",
                ],
                Some(30),
            ),
        ] {
            let server = answering(429, headers);
            let (_dir, agent) = patient(&server.address());
            let error = agent.get("kv/x").await.unwrap_err();
            let after = after.map(Duration::from_secs);
            assert_eq!(error.retry(), Retry::Overload { after }, "{headers:?}");
            assert_eq!(error.scope(), Scope::Store);
            assert_eq!(server.seen().len(), 1, "it is the pipeline that waits");
        }
    }

    // 7.
    #[tokio::test]
    async fn an_error_of_the_server_causes_no_login() {
        for status in [500, 502, 504] {
            let server = answering(status, &[]);
            let (_dir, agent) = patient(&server.address());
            let error = agent.get("kv/x").await.unwrap_err();
            assert_eq!(*error.fault, Fault::Failed { status });
            assert_eq!(error.retry(), Retry::Transient);
            assert_eq!(server.seen().len(), 1);
        }
    }

    // 11.
    #[tokio::test]
    async fn a_server_that_is_behind_is_asked_again_soon_with_the_index_it_must_reach() {
        let asked = AtomicUsize::new(0);
        let server = Script::start(move |_| match asked.fetch_add(1, Ordering::SeqCst) {
            0 => {
                let body = json!({ "request_id": "r", "data": { "a": "b" } });
                Response::json(200, &["X-Vault-Index: index-one"], &body)
            }
            1..=3 => Response::json(412, &[], &json!({ "errors": [] })),
            _ => Response::secret(&json!({ "a": "b" })),
        });
        let (_dir, agent) = patient(&server.address());
        agent.secret("kv/x").await;
        agent.secret("kv/x").await;
        let seen = server.seen();
        assert_eq!(seen.len(), 5);
        assert_eq!(seen[0].header("x-vault-index"), None);
        assert!(seen[1..].iter().all(|seen| seen.header("x-vault-index") == Some("index-one")));
        assert!(seen.iter().all(|seen| !seen.path.contains("login")));
    }

    /// A server with an approle login, that refuses the first reads.
    fn refusing(first: usize) -> Script {
        let reads = AtomicUsize::new(0);
        Script::start(move |request| {
            if request.path.ends_with("/login") {
                let auth = json!({ "client_token": "t", "lease_duration": 3600 });
                return Response::json(200, &[], &json!({ "auth": auth }));
            }
            match reads.fetch_add(1, Ordering::SeqCst) {
                read if read < first => Response::json(403, &[], &json!({ "errors": ["no"] })),
                _ => Response::secret(&json!({ "a": "b" })),
            }
        })
    }

    fn approle(dir: &tempfile::TempDir) -> Login {
        for name in ["role-id", "secret-id"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        Login::AppRole {
            mount: "approle".into(),
            role_id_file: dir.path().join("role-id"),
            secret_id_file: dir.path().join("secret-id"),
        }
    }

    // 11.
    #[tokio::test]
    async fn a_refusal_right_after_a_login_is_asked_again_before_it_is_believed() {
        let (server, dir) = (refusing(1), tempfile::tempdir().unwrap());
        let agent = Agent::new(&vault_config(&server.address(), approle(&dir)));
        agent.secret("kv/x").await;
        assert_eq!((server.count("/kv/x"), server.count("/login")), (2, 1));
    }

    // 12.
    #[tokio::test]
    async fn a_refusal_costs_one_login_and_one_more_read_and_no_more_for_a_minute() {
        let (server, dir) = (refusing(1000), tempfile::tempdir().unwrap());
        let old = Session {
            serial: 1,
            first_ttl: None,
            token: SecretBytes::from("old".to_owned()),
            ttl: None,
            renewable: false,
            obtained: Duration::ZERO,
            given: false,
        };
        let config = vault_config(&server.address(), approle(&dir));
        let mut agent = Agent::with(&config, Some(old), Patience::default());
        assert!(matches!(agent.fault("kv/x").await, Fault::Denied { .. }));
        assert_eq!((server.count("v1/kv/x"), server.count("/login")), (2, 1));
        agent.now += Duration::from_secs(59);
        assert!(matches!(agent.fault("kv/y").await, Fault::Denied { .. }));
        assert_eq!((server.count("v1/kv/y"), server.count("/login")), (1, 1));
        agent.now += Duration::from_secs(1);
        assert!(matches!(agent.fault("kv/x").await, Fault::Denied { .. }));
        assert_eq!(server.count("/login"), 2);
    }

    #[tokio::test]
    async fn a_login_that_cannot_be_recorded_is_given_up_and_nothing_is_read() {
        use sidekey::agent::store::vault::VaultStore;
        use sidekey::secret::{DigestKey, StoreName};
        let (server, dir) = (refusing(0), tempfile::tempdir().unwrap());
        let store = VaultStore::build(
            &StoreName::parse("vault").unwrap(),
            &vault_config(&server.address(), approle(&dir)),
            std::rc::Rc::new(DigestKey::new(SecretBytes::from(vec![0; DigestKey::LEN]))),
            Vec::new(),
            Box::new(|_, _| Err(())),
        );
        let (_, mut agent) = patient(&server.address());
        agent.store = store.unwrap();
        assert_eq!(agent.fault("kv/x").await, Fault::NotRecorded);
        assert_eq!(server.count("/kv/x"), 0);
        assert_eq!(server.count("/revoke-self"), 1);
    }
}

mod redirects {
    use super::*;

    fn leading(status: u16, to: &str) -> Script {
        let location = format!("Location: {to}/v1/kv/elsewhere");
        Script::start(move |_| Response::json(status, &[&location], &json!({})))
    }

    // 10.
    #[tokio::test]
    async fn a_stranger_gets_no_token_and_not_even_a_visit() {
        let stranger = Script::start(|_| Response::secret(&json!({ "a": "stolen" })));
        for status in [301, 302, 307, 308] {
            let server = leading(status, &stranger.address());
            let (_dir, agent) = patient(&server.address());
            let error = agent.get("kv/x").await.unwrap_err();
            assert_eq!(*error.fault, Fault::Redirect(RedirectFault::Stranger));
            assert_eq!(error.retry(), Retry::Permanent);
        }
        assert_eq!(stranger.seen().len(), 0);
    }

    // 10.
    #[tokio::test]
    async fn a_named_host_gets_the_same_request_with_the_token() {
        let active = Script::start(|_| Response::secret(&json!({ "a": "b" })));
        let server = leading(307, &active.address());
        let dir = tempfile::tempdir().unwrap();
        let mut config = vault_config(&server.address(), token_login(&dir, "the-token"));
        config.redirect_hosts = vec![format!("127.0.0.1:{}", active.port)];
        Agent::new(&config).secret("kv/x").await;
        let seen = active.seen();
        assert_eq!((seen[0].method.as_str(), seen[0].path.as_str()), ("GET", "/v1/kv/elsewhere"));
        assert_eq!(seen[0].header("x-vault-token"), Some("the-token"));
    }

    #[tokio::test]
    async fn method_and_body_of_a_login_survive_the_redirect() {
        let active = Script::start(|request| {
            if request.path.ends_with("/kv/elsewhere") && request.method == "POST" {
                let auth = json!({ "client_token": "t" });
                return Response::json(200, &[], &json!({ "auth": auth }));
            }
            Response::secret(&json!({ "a": "b" }))
        });
        let server = leading(307, &active.address());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("jwt"), "signed").unwrap();
        let token_file = dir.path().join("jwt");
        let login = Login::Jwt { role: "r".into(), mount: "jwt".into(), token_file };
        let mut config = vault_config(&server.address(), login);
        config.redirect_hosts = vec!["127.0.0.1".into()];
        Agent::new(&config).secret("kv/x").await;
        let body: serde_json::Value = serde_json::from_slice(&active.seen()[0].body).unwrap();
        assert_eq!(body, json!({ "jwt": "signed", "role": "r" }));
    }

    #[tokio::test]
    async fn one_redirect_is_followed_and_not_a_second() {
        let end = Script::start(|_| Response::secret(&json!({ "a": "b" })));
        let middle = leading(307, &end.address());
        let server = leading(307, &middle.address());
        let dir = tempfile::tempdir().unwrap();
        let mut config = vault_config(&server.address(), token_login(&dir, "t"));
        config.redirect_hosts = vec!["127.0.0.1".into()];
        let fault = Agent::new(&config).fault("kv/x").await;
        assert_eq!(fault, Fault::Redirect(RedirectFault::TooMany));
        assert_eq!(end.seen().len(), 0);
    }

    #[tokio::test]
    async fn what_was_encrypted_is_never_sent_on_in_the_clear() {
        let ca = Authority::new("ours");
        let open = Script::start(|_| Response::secret(&json!({ "a": "b" })));
        let location = format!("Location: {}/v1/kv/elsewhere", open.address());
        let server = Script::start_tls(&ca.issue(&["127.0.0.1"]), move |_| {
            Response::json(307, &[&location], &json!({}))
        });
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), ca.pem()).unwrap();
        let address = format!("https://127.0.0.1:{}", server.port);
        let mut config = vault_config(&address, token_login(&dir, "t"));
        config.ca_file = Some(dir.path().join("ca.pem"));
        config.redirect_hosts = vec!["127.0.0.1".into()];
        let fault = Agent::new(&config).fault("kv/x").await;
        assert_eq!(fault, Fault::Redirect(RedirectFault::Downgrade));
        assert_eq!((server.seen().len(), open.seen().len()), (1, 0));
    }
}

mod traces {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps everything that is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // 79.
    #[tokio::test]
    async fn at_level_trace_every_library_keeps_token_proof_and_value_to_itself() {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let canary = |part: &str| ["can", "ary-", part].concat();
        let (token, value) = (canary("token"), canary("value"));
        let server = Script::start(move |request| match request.path.as_str() {
            "/v1/auth/jwt/login" => {
                let auth = json!({ "client_token": token, "lease_duration": 60 });
                Response::json(200, &[], &json!({ "auth": auth }))
            }
            "/v1/kv/denied" => Response::json(403, &[], &json!({ "errors": [value] })),
            "/v1/kv/broken" => Response::text(200, &[], &format!("{{\"data\": {value}")),
            _ => Response::secret(&json!({ "a": value })),
        });
        let dir = tempfile::tempdir().unwrap();
        let token_file = dir.path().join("jwt");
        std::fs::write(&token_file, canary("proof")).unwrap();
        let login = Login::Jwt { role: "r".into(), mount: "jwt".into(), token_file };
        let agent = Agent::new(&vault_config(&server.address(), login));
        agent.secret("kv/x").await;
        agent.fault("kv/denied").await;
        agent.fault("kv/broken").await;
        agent.store.logout().await;
        let said = String::from_utf8_lossy(&kept.0.lock().unwrap()).into_owned();
        assert!(said.contains("rustify"), "the libraries were heard");
        assert!(!said.contains(&canary("")), "{said}");
    }
}

mod bodies {
    use super::*;

    // 27.
    #[tokio::test]
    async fn a_key_that_comes_twice_is_refused() {
        let server = Script::start(|_| {
            let body = r#"{"request_id":"r","data":{"password":"one","password":"two"}}"#;
            Response::text(200, &[], body)
        });
        let (_dir, agent) = patient(&server.address());
        let error = agent.get("kv/x").await.unwrap_err();
        assert!(matches!(*error.fault, Fault::Malformed(Malformed::Json(_))));
        assert!(error.report().why.contains("twice"));
    }

    // 26.
    #[tokio::test]
    async fn a_compressed_body_is_refused_and_was_not_asked_for() {
        for encoding in ["gzip", "br", "zstd", "deflate"] {
            let server = Script::start(move |_| {
                let header = format!("Content-Encoding: {encoding}");
                Response::bytes(200, &[&header], b"\x1f\x8b\x08\x00")
            });
            let (_dir, agent) = patient(&server.address());
            assert_eq!(agent.fault("kv/x").await, Fault::Encoded);
            assert_eq!(server.seen()[0].header("accept-encoding"), None);
        }
    }

    /// Resident memory of this process in KiB.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    // 24.
    #[tokio::test]
    async fn a_stream_of_ten_gigabytes_is_dropped_at_the_cap_and_memory_stays_flat() {
        let server = Script::start(|_| {
            Response::Stream(Box::new(|stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                let chunk = [&b"10000\r\n"[..], &vec![b'x'; 0x10000], b"\r\n"].concat();
                (0..10 * 1024 * 16).try_for_each(|_| stream.write_all(&chunk))
            }))
        });
        let (_dir, agent) = patient(&server.address());
        let before = resident();
        assert!(matches!(agent.fault("kv/x").await, Fault::TooLarge { .. }));
        let grown = resident().saturating_sub(before);
        // The cap is 2 MiB; other tests of this process run beside this one.
        assert!(grown < 256 * 1024, "{grown} KiB");

        let announced = Script::start(|_| {
            Response::Stream(Box::new(|stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
            }))
        });
        let (_dir, agent) = patient(&announced.address());
        assert!(matches!(agent.fault("kv/x").await, Fault::TooLarge { .. }));
    }

    // 62, 79: what a store says of a failure is not repeated.
    #[tokio::test]
    async fn no_word_of_a_body_is_in_an_error() {
        let canary = ["hunter", "2"].concat();
        for status in [200, 400, 403, 404, 412, 429, 500, 503] {
            let body =
                format!(r#"{{"errors":["{canary}"],"data":{{"{canary}":"{canary}" oops}}}}"#);
            let server = Script::start(move |_| Response::text(status, &[], &body));
            let dir = tempfile::tempdir().unwrap();
            let agent = Agent::with_token(&server.address(), dir.path(), "t");
            let error = agent.get("kv/x").await.unwrap_err();
            let said = format!("{error:?} {} {}", error.fault, error.report());
            assert!(!said.contains(&canary), "{status}: {said}");
        }
    }
}

mod encryption {
    use super::*;

    struct Setup {
        bao: Bao,
        dir: tempfile::TempDir,
        config: VaultConfig,
    }

    /// A server with this certificate, and a config that trusts `trusted`.
    fn setup(certificate: support::Issued, trusted: &Authority, clients: Option<String>) -> Setup {
        let bao = Bao::start(Kind::Tls { certificate, clients });
        bao.write("app", &json!({ "key": "the value" }));
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), trusted.pem()).unwrap();
        let mut config = vault_config(&bao.tls_address(), token_login(&dir, &bao.root));
        config.ca_file = Some(dir.path().join("ca.pem"));
        Setup { bao, dir, config }
    }

    #[tokio::test]
    async fn an_own_ca_is_trusted_and_replaces_the_platforms() {
        let ca = Authority::new("ours");
        let Setup { bao, dir: _dir, mut config } = setup(ca.issue(&["127.0.0.1"]), &ca, None);
        assert_eq!(field(&Agent::new(&config).secret(PATH).await, "key"), "the value");

        config.address = format!("http://127.0.0.1:{}", bao.tls_port);
        assert_eq!(Agent::new(&config).fault(PATH).await, Fault::Tls(TlsFault::Plain));
        config.address = format!("https://127.0.0.1:{}", bao.port);
        assert_eq!(Agent::new(&config).fault(PATH).await, Fault::Tls(TlsFault::NotTls));
        config.address = bao.tls_address();
        config.ca_file = None;
        let error = Agent::new(&config).get(PATH).await.unwrap_err();
        assert_eq!(*error.fault, Fault::Tls(TlsFault::UnknownIssuer));
    }

    // 30.
    #[tokio::test]
    async fn each_fault_of_a_certificate_has_its_own_word() {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        for (certificate, fault) in [
            (ours.issue_expired(&["127.0.0.1"]), TlsFault::Expired),
            (ours.issue(&["vault.internal"]), TlsFault::WrongName),
            (theirs.issue(&["127.0.0.1"]), TlsFault::UnknownIssuer),
        ] {
            let Setup { bao: _bao, dir: _dir, config } = setup(certificate, &ours, None);
            assert_eq!(Agent::new(&config).fault(PATH).await, Fault::Tls(fault));
        }
    }

    #[tokio::test]
    async fn a_listener_that_wants_a_client_certificate_gets_it() {
        let (ca, clients) = (Authority::new("ours"), Authority::new("clients"));
        let server = ca.issue(&["127.0.0.1"]);
        let Setup { bao: _bao, dir, mut config } = setup(server, &ca, Some(clients.pem()));
        assert_eq!(Agent::new(&config).fault(PATH).await, Fault::Tls(TlsFault::ClientCert));
        clients.issue(&["orders"]).write(dir.path(), "client");
        let cert_file = dir.path().join("client.pem");
        let key_file = dir.path().join("client.key");
        config.client_cert = Some(ClientCert { cert_file, key_file });
        assert_eq!(field(&Agent::new(&config).secret(PATH).await, "key"), "the value");
    }

    #[tokio::test]
    async fn files_that_hold_no_certificate_are_found_at_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let ca = dir.path().join("ca.pem");
        let mut config = vault_config("https://127.0.0.1:1", token_login(&dir, "t"));
        config.ca_file = Some(ca.clone());
        let fault = |config: &VaultConfig| match Agent::try_with(config, None, BRIEF) {
            Ok(_) => panic!("it was taken"),
            Err(error) => *error.fault,
        };
        assert!(matches!(fault(&config), Fault::File { .. }));
        std::fs::write(&ca, "not PEM").unwrap();
        assert_eq!(fault(&config), Fault::Pem { file: ca, wanted: "certificate" });
    }

    // 29.
    #[tokio::test]
    async fn a_ca_is_replaced_under_load_without_one_failed_read() {
        let (old, new) = (Authority::new("old"), Authority::new("new"));
        let Setup { bao: first, dir, mut config } = setup(old.issue(&["localhost"]), &old, None);
        let second =
            Bao::start(Kind::Tls { certificate: new.issue(&["localhost"]), clients: None });
        second.write("app", &json!({ "key": "the value" }));
        let token = json!({ "id": "of-both", "policies": ["root"] });
        for bao in [&first, &second] {
            bao.admin().post("auth/token/create", &token).good();
        }
        config.login = token_login(&dir, "of-both");
        // A balancer in front of both: what it leads to changes with the certificate.
        let upstream = std::sync::Arc::new(AtomicUsize::new(first.tls_port.into()));
        let balancer = balancer(&upstream);
        config.address = format!("https://localhost:{balancer}");
        let mut agent = Agent::new(&config);
        let read = async |agent: &mut Agent| {
            agent.now += Duration::from_secs(1);
            for _ in 0..5 {
                agent.secret(PATH).await;
            }
        };
        read(&mut agent).await;
        // 1. The file, half written at first: what was good stays.
        let ca = dir.path().join("ca.pem");
        std::fs::write(&ca, &new.pem()[..100]).unwrap();
        read(&mut agent).await;
        std::fs::write(&ca, new.pem()).unwrap();
        // 2. The server still has the old certificate: both are trusted for a while.
        read(&mut agent).await;
        // 3. The server changes too.
        upstream.store(second.tls_port.into(), Ordering::SeqCst);
        drop(first);
        read(&mut agent).await;
        // 4. After the overlap the old CA is trusted no more.
        let third = Bao::start(Kind::Tls { certificate: old.issue(&["localhost"]), clients: None });
        upstream.store(third.tls_port.into(), Ordering::SeqCst);
        drop(second);
        agent.now += Duration::from_secs(301);
        assert_eq!(agent.fault(PATH).await, Fault::Tls(TlsFault::UnknownIssuer));
    }

    /// A port that leads to whatever `upstream` says at the moment.
    fn balancer(upstream: &std::sync::Arc<AtomicUsize>) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upstream = std::sync::Arc::clone(upstream);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let to = u16::try_from(upstream.load(Ordering::SeqCst)).unwrap();
                let Ok(server) = std::net::TcpStream::connect(("127.0.0.1", to)) else { continue };
                for (mut from, mut to) in
                    [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
                {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        port
    }
}
