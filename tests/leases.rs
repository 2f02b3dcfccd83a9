//! Leases, tokens and an application that uses what they give, on a real OpenBao with a real
//! PostgreSQL behind it. Lives are seconds long, so that everything ends while we look.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use agent::{Place, eventually, exits};
use serde_json::{Value, json};
use support::{Bao, Client, Database, Kind, Orders, Postgres, Response, Script};

/// A pod: a server, a database, a place for the files, and the application.
struct Pod {
    bao: Bao,
    postgres: Arc<Postgres>,
    place: Place,
    app: Orders,
}

impl Pod {
    /// With a role `orders` of these times to live, and logins whose tokens are as `token` says.
    fn new(kind: Kind, ttl: &str, max_ttl: &str, token: &Value) -> Pod {
        let (bao, postgres, place) = (Bao::start(kind), Arc::new(Postgres::start()), Place::new());
        Database::between(&bao, &postgres).role("orders", ttl, max_ttl);
        allow(&bao, &["database/creds/*", "database/static-creds/*", "secret/data/*"]);
        let admin = bao.admin();
        admin.post("sys/auth/approle", &json!({ "type": "approle" })).good();
        let mut role = json!({ "token_policies": "app" });
        role.as_object_mut().unwrap().extend(token.as_object().unwrap().clone());
        admin.post("auth/approle/role/app", &role).good();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let id = admin.get("auth/approle/role/app/role-id").good().json();
        place.write("role", text(&id["data"]["role_id"]));
        let id = admin.post("auth/approle/role/app/secret-id", &json!({})).good().json();
        place.write("secret", text(&id["data"]["secret_id"]));
        let app = Orders::listen(&postgres, place.path("volume/db.json"));
        Pod { bao, postgres, place, app }
    }

    fn database(&self) -> Database<'_> {
        Database { bao: &self.bao, postgres: &self.postgres }
    }

    /// Writes the config: `orders` in `db.json`, and `more`.
    fn configure(&self, more: &str) {
        self.configure_at(&self.bao.address(), more);
    }

    fn configure_at(&self, address: &str, more: &str) {
        self.place.config(&format!(
            "stores:\n  vault:\n    kind: vault\n    address: \"{address}\"\n    login: {{ approle: {{ role_id_file: DIR/role, secret_id_file: DIR/secret }} }}\n\
             secrets: {{ db: {{ from: \"vault:database/creds/orders\" }} }}\n\
             files: {{ db.json: {{ format: json, from: db }} }}\n{}{more}",
            self.app.hook()
        ));
    }

    /// Changes the config.
    fn reconfigure(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.place.path("sidekey.yaml")).unwrap();
        assert!(config.contains(from));
        self.place.write("sidekey.yaml", config.replace(from, to));
    }

    /// Starts the agent, and the application once its files are there.
    fn run(&self) -> agent::Agent {
        let agent = self.place.run();
        if self.app.users().is_empty() {
            self.app.connect();
        }
        agent
    }

    /// The user in the file.
    fn user(&self) -> String {
        let file: Value = serde_json::from_str(&self.place.text("db.json")).unwrap_or_default();
        file["username"].as_str().unwrap_or_default().to_owned()
    }

    /// How many logins there were whose tokens are alive.
    fn logins(&self) -> usize {
        let list = self.bao.admin().get("auth/token/accessors?list=true").good().json();
        let count = list["data"]["keys"].as_array().unwrap().len();
        count - 1 // The root token.
    }

    /// Lets the application work until it was told so often, then looks whether all was well.
    #[track_caller]
    fn works_through(&self, rotations: usize) {
        eventually("the next rotations", || {
            self.app.failures().is_empty() && self.app.told().len() >= rotations
        });
        self.app.has_never_seen_a_failed_query();
    }

    /// Lets the application work for a while.
    #[track_caller]
    fn works_for(&self, seconds: u64) {
        let end = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < end {
            self.app.has_never_seen_a_failed_query();
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What logins may do: read these paths, and what every agent does with its leases.
fn allow(bao: &Bao, read: &[&str]) {
    let mut rules: Vec<(&str, &[&str])> = read.iter().map(|path| (*path, &["read"][..])).collect();
    rules.push(("sys/leases/renew", &["update"]));
    rules.push(("sys/leases/revoke", &["update"]));
    bao.policy("app", &rules);
}

/// A server between the agent and OpenBao that loses answers with a lease: the first is held back,
/// the second cut off, as often as `lost` says.
fn losing(bao: u16, lost: &Arc<AtomicUsize>) -> Script {
    let lost = Arc::clone(lost);
    Script::start(move |request| {
        let mut client = Client::new(bao);
        for name in ["x-vault-token", "x-vault-request"] {
            if let Some(value) = request.header(name) {
                client = client.with(name, value);
            }
        }
        let body = serde_json::from_slice(&request.body).ok();
        let path = request.path.trim_start_matches("/v1/");
        let reply = client.ask(&request.method, path, body.as_ref()).unwrap();
        if path.starts_with("database/creds/") {
            match lost.swap(0, Ordering::Relaxed) {
                1 => std::thread::sleep(Duration::from_secs(60)),
                2 => return Response::Stream(Box::new(|_| Ok(()))),
                _ => {}
            }
        }
        Response::bytes(reply.status, &[], &reply.body)
    })
}

/// A secret without a lease, for the config.
const OTHER: &str = "other: { from: \"vault:secret/data/other\", refresh: 1s, optional: true }";

/// Grace that a test can wait for. The application lets go of a connection after half a second.
const GRACE: &str = "revoke: { after: 1s }\n";

mod the_application {
    use super::*;

    #[test]
    fn works_while_leases_are_renewed_and_replaced_and_the_old_are_revoked() {
        let pod = Pod::new(Kind::Dev, "4s", "10s", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        let agent = pod.run();
        pod.works_for(5);
        assert_eq!(pod.postgres.made().len(), 1, "it was renewed over its first 4 s");
        let ready = pod.place.ready().unwrap();
        assert!(ready["secrets"]["db"]["lease_seconds"].as_f64().unwrap() > 0.0, "{ready}");
        pod.works_through(1);
        let (used, made) = (pod.app.users(), pod.postgres.made());
        assert_eq!(used, made[..used.len()], "nobody is made who is not used");
        eventually("the old ones are revoked", || pod.postgres.users().len() <= 2);
        assert_eq!(pod.logins(), 1);
        assert_eq!(agent.stop(), Some(0));
    }

    #[test]
    fn works_without_being_told_if_it_looks_for_itself() {
        let pod = Pod::new(Kind::Dev, "4s", "6s", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        pod.reconfigure(&pod.app.hook(), "");
        let _agent = pod.place.run();
        pod.app.watches_the_file();
        eventually("three users", || pod.app.failures().is_empty() && pod.app.users().len() >= 3);
        pod.app.has_never_seen_a_failed_query();
    }

    /// Pods side by side, because they mostly wait.
    fn side_by_side(pods: &[(&str, Value)], test: fn(Pod)) {
        std::thread::scope(|scope| {
            for (ttl, token) in pods {
                scope.spawn(move || {
                    let pod = Pod::new(Kind::Dev, ttl, "1h", token);
                    pod.configure(GRACE);
                    test(pod);
                });
            }
        });
    }

    // 14, 15.
    #[test]
    fn works_beyond_the_longest_life_of_its_tokens() {
        let work = |pod: Pod| {
            let _agent = pod.run();
            pod.works_through(2);
            assert_eq!(pod.app.users(), pod.postgres.made()[..pod.app.users().len()]);
            eventually("one token", || pod.logins() <= 1);
            eventually("the old ones are revoked", || pod.postgres.users().len() <= 2);
        };
        let pods = [
            ("1h", json!({ "token_ttl": "4s", "token_max_ttl": "8s" })),
            ("1h", json!({ "token_ttl": "1h", "token_explicit_max_ttl": "7s" })),
            ("1h", json!({ "token_type": "batch", "token_ttl": "6s" })),
        ];
        side_by_side(&pods, work);
    }

    #[test]
    fn works_with_one_login_and_one_user_where_both_can_be_renewed_for_ever() {
        let work = |pod: Pod| {
            let _agent = pod.run();
            pod.works_for(6);
            assert_eq!((pod.logins(), pod.postgres.made().len(), pod.app.users().len()), (1, 1, 1));
        };
        let pods = [("3s", json!({ "token_ttl": "1h" })), ("1h", json!({ "token_period": "3s" }))];
        side_by_side(&pods, work);
    }

    #[test]
    fn works_while_the_sidecar_is_killed_again_and_again() {
        let pod = Pod::new(Kind::Dev, "4s", "8s", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        for pause in [1700, 900, 2300, 400, 1500] {
            let agent = pod.run();
            std::thread::sleep(Duration::from_millis(pause));
            pod.app.has_never_seen_a_failed_query();
            agent.kill();
        }
        let _agent = pod.run();
        pod.works_through(2);
        assert_eq!(pod.logins(), 1);
        eventually("the old ones are revoked", || pod.postgres.users().len() <= 2);
    }

    /// Each start finds a new user in its state that is not delivered yet, and an old one that ends
    /// soon.
    #[test]
    fn works_while_the_sidecar_is_killed_before_changes_settle() {
        let token = json!({ "token_type": "batch", "token_ttl": "12s" });
        let pod = Pod::new(Kind::Dev, "1h", "1h", &token);
        pod.configure(GRACE);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(13) {
            let agent = pod.run();
            std::thread::sleep(Duration::from_millis(250));
            pod.app.has_never_seen_a_failed_query();
            agent.kill();
        }
        assert!(pod.app.users().len() >= 2, "{:?}", pod.app.users());
        // What was made is written down before anything else: at most one can be lost by a kill.
        assert!(pod.postgres.made().len() <= 3, "{:?}", pod.postgres.made());
    }

    #[test]
    fn works_while_the_store_is_away_and_after_it_is_back() {
        let mut pod = Pod::new(Kind::Disk, "9s", "1h", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        let _agent = pod.run();
        for renewals in 1..=2 {
            // Well before the next renewal, so that most of the lease's life is left afterwards.
            pod.bao.stop();
            pod.app.has_never_seen_a_failed_query();
            pod.bao.start_again();
            let renewed = || pod.place.log().matches("\"what\":\"renewed\"").count() >= renewals;
            eventually("a renewal", renewed);
        }
        pod.app.has_never_seen_a_failed_query();
        assert_eq!((pod.logins(), pod.postgres.made().len()), (1, 1));
    }

    #[test]
    fn works_while_a_policy_is_taken_away_and_mended() {
        let pod = Pod::new(Kind::Dev, "5s", "10s", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        let _agent = pod.run();
        allow(&pod.bao, &["secret/data/other"]);
        pod.works_for(5);
        allow(&pod.bao, &["database/creds/*"]);
        pod.works_through(1);
    }

    /// A secret that may not be read makes the agent log in anew: maybe its token has ended. What
    /// hangs on the old token is in use all the same.
    #[test]
    fn works_while_another_secret_is_refused_and_causes_logins() {
        let pod = Pod::new(Kind::Dev, "1h", "1h", &json!({ "token_ttl": "1h" }));
        pod.bao.write("other", &json!({ "v": "x" }));
        pod.configure(GRACE);
        pod.reconfigure("secrets: {", &format!("secrets: {{ {OTHER},"));
        pod.reconfigure("files: {", "files: { other: { from: other.v },");
        let _agent = pod.run();
        allow(&pod.bao, &["database/creds/*"]);
        eventually("the refusal", || pod.place.says("permission_denied"));
        pod.works_for(8);
        eventually("one token", || pod.logins() == 1);
        let (used, made) = (pod.app.users(), pod.postgres.made());
        assert!(made.len() <= 2 && used == made, "{used:?}, {made:?}");
    }
}

mod one_pod {
    use super::*;

    // 17, 51.
    #[test]
    fn has_one_user_for_each_secret_over_init_run_and_five_restarts() {
        let pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        pod.database().role("reports", "1h", "2h");
        pod.configure(GRACE);
        let reports = "secrets: { reports: { from: \"vault:database/creds/reports\" },";
        pod.reconfigure("secrets: {", reports);
        pod.reconfigure("files: {", "files: { reports.json: { format: json, from: reports },");
        exits(&pod.place.sidekey(&["init"]), 0);
        let files = || ["db.json", "reports.json"].map(|name| pod.place.text(name));
        let first = files();
        for round in 0..6 {
            let agent = pod.run();
            eventually("readiness", || {
                pod.place.ready().is_some_and(|ready| ready["ready"] == json!(true))
            });
            if round % 2 == 0 { agent.kill() } else { assert_eq!(agent.stop(), Some(0)) }
        }
        assert_eq!(files(), first);
        assert_eq!(pod.postgres.made().len(), 2, "{:?}", pod.postgres.made());
        assert_eq!(pod.logins(), 1);
        pod.app.has_never_seen_a_failed_query();
        assert_eq!(pod.app.told(), [0; 0], "nothing changed");
    }

    #[test]
    fn makes_no_user_in_vain_while_its_file_is_refused() {
        let pod = Pod::new(Kind::Dev, "3s", "1h", &json!({ "token_ttl": "1h" }));
        pod.bao.write("other", &json!({ "v": "x" }));
        pod.configure(GRACE);
        pod.reconfigure("secrets: {", &format!("secrets: {{ {OTHER},"));
        let both = "files: { both: { template: \"{{ db.username }} {{ other.v }}\" },";
        pod.reconfigure("files: {", both);
        let _agent = pod.run();
        pod.bao.write("other", &json!({ "w": "x" }));
        eventually("the refusal", || pod.place.says("field_missing"));
        pod.works_for(5);
        assert_eq!(pod.place.text("both"), format!("{} x", pod.user()));
        pod.bao.write("other", &json!({ "v": "y" }));
        eventually("the mended file", || pod.place.text("both") == format!("{} y", pod.user()));
        assert_eq!(pod.postgres.made().len(), 1);
    }

    #[test]
    fn renders_everything_again_from_its_state_without_the_store() {
        let mut pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        exits(&pod.place.sidekey(&["init"]), 0);
        let before = pod.place.text("db.json");
        let volume = pod.place.path("volume");
        for entry in std::fs::read_dir(&volume).unwrap().map(|entry| entry.unwrap()) {
            let path = entry.path();
            let is_dir = entry.file_type().unwrap().is_dir();
            let gone =
                if is_dir { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            gone.unwrap();
        }
        pod.bao.stop();
        let _agent = pod.place.run();
        assert_eq!(pod.place.text("db.json"), before);
        assert_eq!(pod.postgres.made().len(), 1);
    }

    /// The store made a user and its answer never came: nobody knows the lease, but it hangs on a
    /// token that was recorded before.
    #[test]
    fn loses_no_lease_for_longer_than_its_token_lives() {
        let pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        let lost = Arc::new(AtomicUsize::new(1));
        let middle = losing(pod.bao.port, &lost);
        pod.configure_at(&middle.address(), "revoke: { on_exit: true }\n");
        // Killed while the answer is on its way.
        let agent = pod.place.start();
        eventually("a user whom nobody knows", || pod.postgres.made().len() == 1);
        agent.kill();
        // Cut off on its way.
        lost.store(2, Ordering::Relaxed);
        let agent = pod.run();
        assert_eq!(pod.logins(), 1, "it goes on with the token that was recorded");
        assert_eq!(pod.postgres.made().len(), 3);
        assert_eq!(pod.postgres.users().len(), 3);
        pod.app.has_never_seen_a_failed_query();
        assert_eq!(agent.stop(), Some(0));
        eventually("no user is left", || pod.postgres.users().is_empty());
    }
}

mod revoking {
    use super::*;

    #[test]
    fn waits_for_the_confirmation_and_the_grace() {
        let pod = Pod::new(Kind::Dev, "1h", "1h", &json!({ "token_ttl": "1h" }));
        pod.database().role("others", "1h", "1h");
        pod.configure("revoke: { after: 2s }\n");
        let agent = pod.run();
        let first = pod.user();
        // Another path in the config: the first user would live for an hour, if nobody cared.
        pod.app.answers(500);
        pod.reconfigure("creds/orders", "creds/others");
        eventually("the notice", || pod.app.told() == [2]);
        eventually("the reason", || pod.place.says("unconfirmed"));
        let second = pod.user();
        assert_ne!(first, second);
        std::thread::sleep(Duration::from_secs(3));
        assert_eq!(pod.postgres.users(), [first.clone(), second.clone()], "not confirmed");
        // After a restart the application is told again, and takes it.
        agent.kill();
        pod.app.answers(200);
        let _agent = pod.run();
        eventually("the notice again", || pod.app.users() == [first.clone(), second.clone()]);
        let confirmed = Instant::now();
        eventually("the first is revoked", || pod.postgres.users() == [second.clone()]);
        assert!(confirmed.elapsed() >= Duration::from_millis(1500), "{:?}", confirmed.elapsed());
        pod.app.has_never_seen_a_failed_query();
    }

    #[test]
    fn at_the_end_leaves_nothing_if_that_is_wished() {
        let pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        pod.configure("revoke: { on_exit: true }\n");
        let agent = pod.run();
        pod.app.has_never_seen_a_failed_query();
        assert_eq!(agent.stop(), Some(0));
        eventually("no user", || pod.postgres.users().is_empty());
        eventually("no token", || pod.logins() == 0);
        // What is in the state is of no use now, and the next start finds that out.
        let _agent = pod.place.run();
        eventually("a user that works", || pod.postgres.users().contains(&pod.user()));
    }

    #[test]
    fn at_the_end_ends_the_leases_of_a_given_token_and_not_the_token() {
        let pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        pod.configure("revoke: { on_exit: true }\n");
        let token = pod.bao.token(&["app"], &json!({ "ttl": "1h" }));
        pod.place.write("token", &token);
        let approle = "approle: { role_id_file: DIR/role, secret_id_file: DIR/secret }";
        let dir = pod.place.path("").display().to_string();
        let approle = approle.replace("DIR", dir.trim_end_matches('/'));
        pod.reconfigure(&approle, &format!("token: {{ file: {dir}token }}"));
        let agent = pod.run();
        pod.app.has_never_seen_a_failed_query();
        assert_eq!(agent.stop(), Some(0));
        eventually("no user", || pod.postgres.users().is_empty());
        pod.bao.with_token(&token).get("auth/token/lookup-self").good();
    }

    #[test]
    fn is_tried_and_reported_where_it_is_not_allowed() {
        let pod = Pod::new(Kind::Dev, "1h", "1h", &json!({ "token_ttl": "1h" }));
        pod.database().role("others", "1h", "1h");
        pod.bao.policy("app", &[("database/creds/*", &["read"])]);
        pod.configure(GRACE);
        let _agent = pod.run();
        pod.reconfigure("creds/orders", "creds/others");
        eventually("the reason", || pod.place.log().contains("lease_not_revoked"));
        pod.works_for(2);
        assert_eq!(pod.postgres.users().len(), 2, "{:?}", pod.postgres.made());
    }

    #[test]
    fn follows_a_get_at_once_unless_it_is_told_to_keep_the_lease() {
        let pod = Pod::new(Kind::Dev, "1h", "1h", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        let get = |args: &[&str]| {
            let output = pod.place.sidekey(&[&["get", "db.username"], args].concat());
            exits(&output, 0);
            String::from_utf8(output.stdout).unwrap()
        };
        let user = get(&[]);
        assert_eq!(pod.postgres.made(), [user.as_str()]);
        eventually("no user", || pod.postgres.users().is_empty());
        let user = get(&["--keep-lease"]);
        std::thread::sleep(Duration::from_secs(1));
        assert_eq!(pod.postgres.users(), [user]);
    }

    #[test]
    fn at_the_end_leaves_everything_to_the_next_start_otherwise() {
        let pod = Pod::new(Kind::Dev, "1h", "2h", &json!({ "token_ttl": "1h" }));
        pod.configure("");
        let agent = pod.run();
        assert_eq!(agent.stop(), Some(0));
        pod.works_for(1);
        let _agent = pod.run();
        assert_eq!((pod.postgres.made().len(), pod.logins()), (1, 1));
    }
}

mod from_outside {
    use super::*;

    // 16.
    #[test]
    fn a_lease_that_an_operator_revokes_is_replaced_at_once() {
        let pod = Pod::new(Kind::Dev, "4s", "1h", &json!({ "token_ttl": "1h" }));
        pod.configure(GRACE);
        let _agent = pod.run();
        let first = pod.user();
        pod.database().revoke(&pod.database().leases("orders")[0]);
        eventually("another user", || pod.user() != first && !pod.user().is_empty());
        eventually("the notice", || pod.app.users().last() == Some(&pod.user()));
        assert_eq!(pod.logins(), 1, "a lost lease is no reason to log in");
    }

    #[test]
    fn a_token_that_is_revoked_with_its_leases_is_replaced_with_them() {
        let pod = Pod::new(Kind::Dev, "4s", "1h", &json!({ "token_ttl": "4s" }));
        pod.configure(GRACE);
        let _agent = pod.run();
        let first = pod.user();
        let list = pod.bao.admin().get("auth/token/accessors?list=true").good().json();
        for accessor in list["data"]["keys"].as_array().unwrap() {
            let body = json!({ "accessor": accessor });
            let about = pod.bao.admin().post("auth/token/lookup-accessor", &body).good().json();
            if about["data"]["path"] == json!("auth/approle/login") {
                pod.bao.admin().post("auth/token/revoke-accessor", &body).good();
            }
        }
        assert_eq!(pod.postgres.users(), Vec::<String>::new());
        eventually("another user", || pod.user() != first && !pod.user().is_empty());
        eventually("the notice", || pod.app.users().last() == Some(&pod.user()));
        assert_eq!(pod.logins(), 1);
    }
}

mod static_roles {
    use super::*;

    #[test]
    fn are_read_just_after_the_server_has_changed_the_password() {
        let pod = Pod::new(Kind::Dev, "1h", "1h", &json!({ "token_ttl": "1h" }));
        pod.database().static_role("steady", "5s");
        pod.configure(GRACE);
        pod.reconfigure("database/creds/orders", "database/static-creds/steady");
        let _agent = pod.run();
        pod.works_through(1);
        assert!(pod.app.users().iter().all(|user| user == "steady"));
    }
}
