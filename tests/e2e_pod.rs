//! The image that is shipped, in a pod: an init container, the sidecar and an application of another
//! user on a tmpfs, a real OpenBao next door. Runs as root in `make e2e`, which builds the image.

#![allow(clippy::unwrap_used, reason = "a test stops where its helper cannot help")]

#[path = "support/pod.rs"]
mod pod;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use pod::{COPY, IMAGE, Pod, text};
use serde_json::json;
use support::{Bao, Signer, unix_now};

/// The sidecar's user.
const SIDEKEY: u32 = 64917;
/// The group that the application shares with it.
const SHARED: u32 = 2000;
/// The application's user.
const APPLICATION: &str = "20001:2000";

/// How long anything may take before the test gives up. Not a claim about speed.
const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn a_pod_on_a_volume_of_root_lives_through_a_rotation_and_a_kill() {
    let story = Story::new("mode=0777", "defaults: { owner_group: 2000 }", "127.0.0.1:PORT");
    story.tell();
}

#[test]
fn a_pod_with_an_fs_group_lives_through_a_rotation_and_a_kill() {
    Story::new("mode=2777,gid=2000", "", "unix:/run/sidekey/health.sock").tell();
}

#[test]
fn an_application_of_the_same_user_is_told_by_a_signal() {
    let hook = "on_change: [{ signal: { send: SIGHUP, to: { cmdline: \"cd /secrets\" } } }]";
    let story = Story::new("mode=2777,gid=2000", hook, "unix:/run/sidekey/health.sock");
    story.delivers("one");
    story.pod.start_application("64917:2000");
    story.application_sees("one");
    story.rotate("two");
    let both =
        |said: &[String]| ["told", "sees two"].iter().all(|line| said.contains(&(*line).into()));
    eventually("a SIGHUP and the new value", || both(&story.pod.application_said()));
    let told = story.pod.application_said().iter().filter(|line| *line == "told").count();
    assert_eq!(told, 1, "one rotation is told once");
}

#[test]
fn a_command_hook_runs_after_the_lock_and_what_the_kubelet_swaps_is_read() {
    for root in ["mode=0777", "mode=2777,gid=2000"] {
        let hook =
            "on_change: [{ command: [/sidekey, --version], confirm: { exit: 0, within: 30s } }]";
        let story = Story::new(root, hook, "unix:/run/sidekey/health.sock");
        story.project_token(0);
        story.delivers("one");
        story.is_locked_in();
        for round in 1..=3 {
            story.project_token(round);
        }
        let revoked = story.bao.admin().post("sys/leases/revoke-prefix/auth/jwt", &json!({}));
        revoked.good();
        story.rotate("two");
        let volume = story.pod.path("volume/app.key");
        eventually("the new value, by a new login", || {
            fs::read_to_string(&volume).is_ok_and(|value| value == "two")
        });
        let metrics = || story.get("/metrics");
        eventually("the command", || {
            metrics().contains("sidekey_hook_total{result=\"confirmed\"} 1")
        });
    }
}

#[test]
fn a_copy_that_nobody_can_read_hands_a_variable_to_an_application_of_another_user() {
    let story = Story::set_up("mode=0777");
    story.rotate("one");
    let install = story.pod.install();
    assert!(install.status.success(), "install: {}", text(&install.stderr));
    let copy = story.pod.path("bin/sidekey");
    let meta = fs::metadata(&copy).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o111, SIDEKEY));
    let root = story.pod.good(&["image", "mount", IMAGE]);
    let original = fs::read(Path::new(&root).join("sidekey")).unwrap();
    assert!(fs::read(&copy).unwrap() == original, "the copy is another binary");

    let config = format!(
        r#"{}
secrets: {{ app: {{ from: "vault:secret/data/app" }} }}
env: {{ KEY: app.key }}
"#,
        story.stores()
    );
    let wrapped =
        |user: &str, script: &str| story.pod.wrapped(user, &config, &["sh", "-c", script]);
    for user in ["20001:20001", "64917:64917"] {
        let told = wrapped(user, "/bin/busybox id -u; echo \"KEY is $KEY\"");
        assert!(told.status.success(), "{user}: {}", text(&told.stderr));
        let uid = user.split(':').next().unwrap();
        assert_eq!(text(&told.stdout), format!("{uid}\nKEY is one\n"));
        let read = wrapped(user, &format!("exec /bin/busybox cat {COPY}"));
        refused(&format!("{user} reads the copy"), &read);
        assert!(read.stdout.is_empty(), "{user} got a part of the copy");
    }
}

#[test]
fn a_neighbour_of_the_same_user_can_look_into_its_own_but_not_into_the_sidecar() {
    let hook = "on_change: [{ command: [/sidekey, --version] }]";
    let story = Story::new("mode=2777,gid=2000", hook, "unix:/run/sidekey/health.sock");
    story.delivers("one");
    let pod = &story.pod;
    let sleep = pod.start_neighbour("64917:64917");
    let sidecar = pod.sidecar_pid();
    let children = fs::read_to_string(format!("/proc/{sidecar}/task/{sidecar}/children")).unwrap();
    let helper: u32 = children.trim().parse().expect("one process that runs the hooks");

    // What opens, what lists, what attaches: the same commands for all of them.
    let probes = |pid: u32| {
        let file = |name: &str| format!("/proc/{pid}/{name}");
        let (mem, number) = (format!("if={}", file("mem")), pid.to_string());
        let strace = ["timeout", "5", "/usr/bin/strace", "-p", &number];
        [
            // Address 0 is mapped nowhere: that it opens is what counts.
            ("mem", pod.in_neighbour(&["dd", &mem, "of=/dev/null", "count=0"])),
            ("environ", pod.in_neighbour(&["cat", &file("environ")])),
            ("root", pod.in_neighbour(&["ls", &file("root/")])),
            ("ptrace", pod.in_neighbour(&strace)),
        ]
    };
    // First, that they find something where they may.
    for (what, output) in probes(sleep) {
        let said = text(&output.stderr);
        // A tracer that was let in stays until it is ended.
        let allowed =
            if what == "ptrace" { said.contains(" attached") } else { output.status.success() };
        assert!(allowed, "{what} of a sleep of the same user (is Yama's ptrace_scope 0?): {said}");
    }
    for pid in [sidecar, helper] {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            (field("Uid:"), field("Gid:")),
            (vec!["64917".into(); 4], vec!["64917".into(); 4])
        );
        assert_eq!(field("TracerPid:"), ["0"]);
        for (what, output) in probes(field("NSpid:").last().unwrap().parse().unwrap()) {
            let said = text(&output.stderr);
            assert!(!output.status.success(), "{what} of {pid}: allowed");
            let why =
                if what == "ptrace" { "Operation not permitted" } else { "Permission denied" };
            assert!(said.contains(why), "{what} of {pid}: {said}");
            assert!(!said.contains(" attached"), "{what} of {pid}: {said}");
        }
    }
    story.becomes_healthy();
}

#[test]
fn the_same_files_give_the_same_image_and_the_sbom_names_what_is_in_it() {
    let pod = Pod::new("mode=0777");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (context, dockerfile) = (root.join("target/image"), root.join("Dockerfile"));
    let save = |name: &str| {
        let tag = format!("localhost/{name}:again");
        let options = ["build", "--quiet", "--no-cache", "--pull=never", "--timestamp", "0"];
        let file = ["--file", dockerfile.to_str().unwrap(), "--tag", &tag];
        pod.good(&[&options[..], &file, &[context.to_str().unwrap()]].concat());
        let archive = pod.path(name);
        let to = archive.to_str().unwrap();
        pod.good(&["save", "--quiet", "--format", "oci-dir", "--output", to, &tag]);
        pod.good(&["rmi", &tag]);
        let blobs = names(&archive.join("blobs/sha256"));
        assert!(blobs.len() >= 3, "{blobs:?}");
        blobs
    };
    assert_eq!(save("sidekey-first"), save("sidekey-second"));

    let version = env!("CARGO_PKG_VERSION");
    let sbom = root.join(format!("target/sidekey-{version}.cdx.json"));
    let sbom: serde_json::Value = serde_json::from_slice(&fs::read(sbom).unwrap()).unwrap();
    assert_eq!((&sbom["bomFormat"], &sbom["specVersion"]), (&json!("CycloneDX"), &json!("1.5")));
    let binary = fs::read(context.join("sidekey")).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &binary);
    let digest = digest.as_ref().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    assert_eq!(sbom["metadata"]["component"]["hashes"][0]["content"], json!(digest));
    let parts = sbom["components"].as_array().unwrap();
    let is_there = |name: &str| {
        parts.iter().any(|part| part["name"] == name && part["hashes"][0]["content"].is_string())
    };
    for name in ["rustls", "ring", "tokio", "vaultrs", "age"] {
        assert!(is_there(name), "{name}");
    }
    assert!(!is_there("tempfile"), "what only tests use is not in the image");
}

#[test]
fn the_image_holds_the_binary_and_the_tls_roots_and_nothing_else() {
    let pod = Pod::new("mode=0777");
    let root = pod.good(&["image", "mount", IMAGE]);
    let root = Path::new(&root);
    let files: BTreeSet<_> = files_below(root).into_iter().collect();
    assert_eq!(
        files,
        BTreeSet::from(["/etc/ssl/certs/ca-certificates.crt".into(), "/sidekey".into()])
    );
    let binary = fs::metadata(root.join("sidekey")).unwrap();
    assert_eq!((binary.mode() & 0o7777, binary.uid(), binary.gid()), (0o151, 0, 64918));
    let size: u64 =
        pod.good(&["image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().unwrap();
    assert!(size <= binary.len() + 1024 * 1024, "{size} bytes around a binary of {}", binary.len());
    let user = pod.good(&["image", "inspect", "--format", "{{.Config.User}}", IMAGE]);
    assert_eq!(user, "64917:64917");
}

#[test]
fn the_binary_can_be_run_but_not_read_by_its_user() {
    let pod = Pod::new("mode=0777");
    let image = format!("type=image,source={IMAGE},destination=/image");
    let read = |user: &str| {
        let options = ["--mount", &image, "--user", user];
        pod.busybox(&options, &["sha256sum", "/image/sidekey"])
    };
    for user in ["64917:64917", APPLICATION] {
        refused("reading the binary", &read(user));
    }
    assert!(read("64917:64918").status.success(), "the group of the binary can't read it either");
}

/// One pod and its OpenBao.
struct Story {
    bao: Bao,
    pod: Pod,
}

impl Story {
    /// A pod that can log in, with no config yet.
    fn set_up(volume_root: &str) -> Story {
        let (bao, pod) = (Bao::dev(), Pod::new(volume_root));
        let signer = Signer::new();
        bao.policy("reader", &[("secret/data/*", &["read"])]);
        bao.admin().post("sys/auth/jwt", &json!({ "type": "jwt" })).good();
        let keys = json!({
            "jwt_validation_pubkeys": [signer.public], "jwt_supported_algs": ["ES256"],
        });
        bao.admin().post("auth/jwt/config", &keys).good();
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
            "token_policies": ["reader"], "token_ttl": "1h",
        });
        bao.admin().post("auth/jwt/role/orders", &role).good();
        let end = unix_now() + 600;
        let claims = json!({ "sub": "orders", "aud": "vault", "iat": end - 900, "exp": end });
        pod.write("tokens/vault", &signer.sign(&claims));
        Story { bao, pod }
    }

    /// The part of the config that says where the secrets are.
    fn stores(&self) -> String {
        format!(
            r"stores:
  vault:
    kind: vault
    address: {}
    login: {{ jwt: {{ role: orders, token_file: /var/run/secrets/tokens/vault }} }}",
            self.bao.address()
        )
    }

    fn new(volume_root: &str, more: &str, health: &str) -> Story {
        let story = Story::set_up(volume_root);
        // The pod is on the host's network, so its health port has to be one that is free there.
        let health = health.replace("PORT", &support::free_pair().to_string());
        let config = format!(
            r#"{more}
{}
secrets:
  app: {{ from: "vault:secret/data/app", refresh: 500ms }}
files:
  app.key: {{ from: app.key }}
  conf/app.env: {{ format: dotenv, from: {{ KEY: app.key }} }}
volume: {{ path: /run/secrets/sidekey, keep_previous: 1s }}
state: {{ path: /run/sidekey }}
health: {{ listen: "{health}" }}
"#,
            story.stores()
        );
        story.pod.write("etc/config.yaml", &config);
        story
    }

    fn tell(&self) {
        let pod = &self.pod;
        self.delivers("one");
        pod.start_application(APPLICATION);
        self.application_sees("one");

        self.rotate("two");
        self.application_sees("two");
        self.neighbours_see_nothing();

        pod.kill_sidecar();
        let read = pod.in_application(APPLICATION, &["cat", "/secrets/conf/app.env"]);
        assert!(text(&read.stdout).contains("two"), "{}", text(&read.stderr));
        assert!(!pod.in_sidecar(&["/sidekey", "health", "--live"]).status.success());
        self.rotate("three");
        pod.restart_sidecar();
        self.application_sees("three");
        self.becomes_healthy();

        self.nothing_is_left_over();
        assert_eq!(self.logins(), 1, "init, run and its restart share one login");
        assert_eq!(pod.stop_sidecar(), "0", "the exit code after SIGTERM");
        assert_eq!(pod.application_said(), ["sees one", "sees two", "sees three"]);
        self.nothing_is_left_over();
    }

    /// The init container delivers, then the sidecar takes over.
    fn delivers(&self, key: &str) {
        self.rotate(key);
        let init = self.pod.init();
        assert!(init.status.success(), "init: {}", text(&init.stderr));
        assert!(fs::exists(self.pod.path("volume/..data/app.key")).unwrap());
        self.pod.start_sidecar();
        self.becomes_healthy();
    }

    /// How the sidecar says it is guarded.
    fn is_locked_in(&self) {
        let ready: serde_json::Value = serde_json::from_str(&self.get("/ready")).unwrap();
        let sandbox = &ready["sandbox"];
        let expected = (&json!("full"), &json!([]), &json!("secret"));
        let found = (&sandbox["confinement"], &sandbox["possible"], &sandbox["memory"]);
        assert_eq!(found, expected, "{sandbox}");
    }

    /// What the health socket answers.
    fn get(&self, path: &str) -> String {
        let socket = self.pod.path("state/health.sock");
        let mut stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Puts another token in the place of the old one, as the kubelet does; only every third one
    /// is any good.
    fn project_token(&self, round: u32) {
        let dir = self.pod.path("tokens");
        let (version, link) = (format!("..version_{round}"), dir.join("..data_tmp"));
        fs::create_dir(dir.join(&version)).unwrap();
        if round == 0 {
            fs::rename(dir.join("vault"), dir.join("good")).unwrap();
            std::os::unix::fs::symlink("..data/vault", dir.join("vault")).unwrap();
        }
        let token =
            if round.is_multiple_of(3) { fs::read(dir.join("good")).unwrap() } else { vec![b'x'] };
        self.pod.write(&format!("tokens/{version}/vault"), &text(&token));
        std::os::unix::fs::symlink(&version, &link).unwrap();
        fs::rename(&link, dir.join("..data")).unwrap();
        if let Some(before) = round.checked_sub(1) {
            fs::remove_dir_all(dir.join(format!("..version_{before}"))).unwrap();
        }
    }

    fn rotate(&self, key: &str) {
        self.bao.write("app", &json!({ "key": key }));
    }

    fn application_sees(&self, key: &str) {
        let line = format!("sees {key}");
        eventually(&line, || self.pod.application_said().last() == Some(&line));
    }

    fn becomes_healthy(&self) {
        for question in ["--startup", "--ready", "--live"] {
            let ask = || self.pod.in_sidecar(&["/sidekey", "health", question]).status.success();
            eventually(question, ask);
        }
    }

    /// How many tokens the login of the pod has made.
    fn logins(&self) -> usize {
        let admin = self.bao.admin();
        let listed = admin.get("auth/token/accessors?list=true").good().json();
        let accessors = listed["data"]["keys"].as_array().unwrap().clone();
        let from_login = |accessor: &&serde_json::Value| {
            let about = admin.post("auth/token/lookup-accessor", &json!({ "accessor": accessor }));
            about.good().json()["data"]["path"] == "auth/jwt/login"
        };
        accessors.iter().filter(from_login).count()
    }

    /// Who is in the same pod, even as the same user or as root without capabilities, can't look
    /// into the sidecar; and the application's user can't read the state, wherever it is mounted.
    fn neighbours_see_nothing(&self) {
        let pid = self.pod.sidecar_pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().skip(1).collect::<Vec<_>>()
        };
        assert_eq!(field("Uid:"), ["64917"; 4]);
        assert_eq!(field("Groups:"), ["2000", "64917"]);
        assert_eq!(field("NoNewPrivs:"), ["1"]);
        for set in ["CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
            assert_eq!(field(set), ["0000000000000000"], "{set}");
        }
        // What a process that is not dumpable has in /proc belongs to root.
        assert_eq!(fs::metadata(format!("/proc/{pid}/environ")).unwrap().uid(), 0);

        let inside = *field("NSpid:").last().unwrap();
        is_guarded(pid);
        for user in [APPLICATION, "64917:64917", "0:0"] {
            let own = self.pod.in_application(user, &["cat", "/proc/self/environ"]);
            assert!(own.status.success(), "{user} can't even read its own: {}", text(&own.stderr));
            for file in ["environ", "mem", "maps", "fd/0", "root/run/sidekey/state.json"] {
                let path = format!("/proc/{inside}/{file}");
                refused(
                    &format!("{user}: {path}"),
                    &self.pod.in_application(user, &["cat", &path]),
                );
            }
        }
        let state = format!("{}:/state:ro", self.pod.path("state").display());
        let options = ["--volume", &state, "--user", APPLICATION];
        refused("the state", &self.pod.busybox(&options, &["cat", "/state/state.json"]));
    }

    /// The volume shows one generation, the state is one file, and both belong to whom they should.
    fn nothing_is_left_over(&self) {
        let volume = self.pod.path("volume");
        let current = || fs::read_link(volume.join("..data")).unwrap().display().to_string();
        // The generation before lives out its time.
        let expected =
            || BTreeSet::from(["..data".into(), current(), "app.key".into(), "conf".into()]);
        eventually("one generation, and nothing else", || names(&volume) == expected());
        let state = names(&self.pod.path("state"));
        assert!(state.contains("state.json"), "{state:?}");
        assert!(
            state.iter().all(|name| ["state.json", "health.sock"].contains(&&**name)),
            "{state:?}"
        );

        let owner = |path: &Path| {
            let meta = fs::symlink_metadata(path).unwrap();
            (meta.mode() & 0o777, meta.uid(), meta.gid())
        };
        assert_eq!(owner(&volume.join(current())), (0o750, SIDEKEY, SHARED));
        for file in ["..data/app.key", "..data/conf/app.env"] {
            assert_eq!(owner(&volume.join(file)), (0o440, SIDEKEY, SHARED), "{file}");
        }
        assert_eq!(owner(&self.pod.path("state/state.json")), (0o600, SIDEKEY, SIDEKEY));
    }
}

/// The kernel itself says that a filter and no thread without one is in force.
fn is_guarded(pid: u32) {
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(thread.unwrap().path().join("status")).unwrap();
        assert!(status.lines().any(|line| line == "Seccomp:\t2"), "{status}");
    }
}

/// A program that was told that it may not.
#[track_caller]
fn refused(what: &str, output: &Output) {
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{what}: allowed");
    assert!(said.contains("Permission denied"), "{what}: {said}");
}

/// Waits until `done`; a failure says what for.
#[track_caller]
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Every file below a directory, as a path from it.
fn files_below(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            } else {
                let path = entry.path();
                found.push(format!("/{}", path.strip_prefix(root).unwrap().display()));
            }
        }
    }
    found
}
