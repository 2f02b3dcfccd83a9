//! Images that others make: podman, buildah, skopeo, umoci, Debian's registry and podman's service.

#![cfg(all(feature = "scan", feature = "e2e"))]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "tests run other programs")]

mod images;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use images::*;
use serde_json::{Value, json};

fn run(program: &str, arguments: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap_or_else(|_| panic!("no {program}: apt-get install {program}"));
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {err}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A process that ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait_for(what: &str, there: impl Fn() -> bool) {
    for _ in 0..1000 {
        if there() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what} does not come up");
}

/// A registry on this machine. Its address.
fn registry(scratch: &Scratch) -> (Service, String) {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let root = scratch.0.path().join("registry");
    let config = format!(
        "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
         http: {{addr: \"127.0.0.1:{port}\"}}\n",
        root.display()
    );
    let config = scratch.write("registry.yml", config.as_bytes());
    let child = Command::new("docker-registry")
        .arg("serve")
        .arg(config)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("no docker-registry: apt-get install docker-registry");
    let address = format!("127.0.0.1:{port}");
    let service = Service(child);
    wait_for("the registry", || std::net::TcpStream::connect(&address).is_ok());
    (service, address)
}

fn scan_reference(reference: &str, environment: &[(&str, &str)]) -> Said {
    let mut command = command();
    command.args(["--format", "json", "--reveal", reference]).envs(environment.iter().copied());
    said(&mut command, None)
}

/// An image that podman builds: a file that comes and goes, and a variable.
fn built(scratch: &Scratch, name: &str) -> (String, String) {
    let (file, variable) = (token(), token());
    let root = scratch.0.path();
    std::fs::write(root.join("secret.env"), format!("TOKEN={file}\n")).unwrap();
    std::fs::write(root.join("empty"), "").unwrap();
    let text = format!(
        "FROM scratch\nCOPY empty /etc/empty\nCOPY secret.env /app/.env\nENV GITHUB_TOKEN={variable}\n\
         COPY empty /app/.env\n"
    );
    std::fs::write(root.join("Containerfile"), text).unwrap();
    let build =
        ["build", "--quiet", "--layers", "--pull=never", "-f", "Containerfile", "-t", name, "."];
    run("podman", &build, root);
    (file, variable)
}

fn check(said: &Said, (file, variable): &(String, String), what: &str) {
    let findings = said.findings();
    let find = |secret: &String| {
        let found = findings.iter().find(|finding| finding["secret"] == json!(secret));
        found.unwrap_or_else(|| panic!("{what}: {}", said.out)).clone()
    };
    let place = find(file)["place"].clone();
    assert_eq!(place["path"], json!("app/.env"), "{what}");
    assert_eq!(place["state"], json!("overwritten"), "{what}");
    assert_eq!(place["introduced"]["layer"], json!(1), "{what}");
    let instruction = place["introduced"]["instruction"].as_str().unwrap();
    assert!(instruction.contains("COPY"), "{what}: {instruction}");
    assert_eq!(find(variable)["place"]["kind"], json!("env"), "{what}");
    assert_eq!(said.code, 1, "{what}");
    assert_eq!(said.json()["images"][0]["complete"], json!(true), "{what}: {:?}", said.reasons());
}

#[test]
fn what_podman_builds_is_read_wherever_it_goes() {
    let scratch = Scratch::new();
    let root = scratch.0.path();
    let name = format!("localhost/sidekey-e2e:{}", random(8).to_lowercase());
    let plants = built(&scratch, &name);
    for format in ["docker-archive", "oci-archive"] {
        let path = format!("{format}.tar");
        run("podman", &["save", "--quiet", "--format", format, "-o", &path, &name], root);
        check(&scan(&root.join(&path), &[]), &plants, &format!("podman save {format}"));
    }
    let from = "docker-archive:docker-archive.tar";
    run("skopeo", &["copy", "-q", from, "oci:layout:app"], root);
    check(&scan(&root.join("layout"), &[]), &plants, "skopeo's layout");
    run(
        "skopeo",
        &[
            "copy",
            "-q",
            "--dest-compress-format",
            "zstd",
            "--dest-compress",
            from,
            "oci-archive:zstd.tar",
        ],
        root,
    );
    check(&scan(&root.join("zstd.tar"), &[]), &plants, "skopeo's archive with zstd");
    let (_service, address) = registry(&scratch);
    for (tag, format) in [("gzip", "gzip"), ("zstd", "zstd"), ("chunked", "zstd:chunked")] {
        let to = format!("docker://{address}/team/app:{tag}");
        let copied = Command::new("skopeo")
            .args(["copy", "-q", "--dest-tls-verify=false", "--dest-compress-format", format])
            .args(["--format", "oci", from, &to])
            .current_dir(root)
            .status()
            .unwrap();
        if !copied.success() && format == "zstd:chunked" {
            // Not in every version.
            continue;
        }
        assert!(copied.success());
        let said = scan_reference(&format!("{address}/team/app:{tag}"), &[]);
        check(&said, &plants, &format!("the registry, {format}"));
        let digest = said.json()["images"][0]["digest"].as_str().unwrap().to_owned();
        check(&scan_reference(&format!("{address}/team/app@{digest}"), &[]), &plants, "by digest");
    }
    let socket = root.join("podman.sock");
    let address = format!("unix://{}", socket.display());
    let child = Command::new("podman").args(["system", "service", "--time=0", &address]).spawn();
    let _service = Service(child.unwrap());
    wait_for("the podman service", || socket.exists());
    let host = [("DOCKER_HOST", address.as_str()), ("CONTAINER_HOST", address.as_str())];
    check(&scan_reference(&format!("podman:{name}"), &host), &plants, "the podman service");
    check(&scan_reference(&format!("docker:{name}"), &host), &plants, "its Docker side");
    run("podman", &["rmi", "-f", &name], root);
}

#[test]
fn what_buildah_commits_is_read() {
    let scratch = Scratch::new();
    let root = scratch.0.path();
    let secret = token();
    std::fs::write(root.join("x.env"), format!("TOKEN={secret}\n")).unwrap();
    let container = run("buildah", &["from", "scratch"], root);
    run("buildah", &["copy", &container, "x.env", "/app/.env"], root);
    run("buildah", &["config", "--label", "stage=test", &container], root);
    run("buildah", &["commit", "-q", &container, "oci-archive:out.tar"], root);
    run("buildah", &["rm", &container], root);
    let said = scan(&root.join("out.tar"), &[]);
    assert_eq!((secrets(&said), said.code), (vec![secret], 1));
}

/// A number below `most`.
fn dice(most: usize) -> usize {
    let mut bytes = [0; 8];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    usize::try_from(u64::from_le_bytes(bytes) % most as u64).unwrap()
}

/// A stack of layers with a token in every file.
fn stack() -> (Image, Vec<String>) {
    const DIRECTORIES: [&str; 5] = ["a", "b", "a/c", "a/c/d", "usr/lib"];
    const NAMES: [&str; 3] = ["x", "y", "z"];
    let mut secrets = Vec::new();
    // `lib` leads to `usr/lib`, as in every distribution of today.
    let first = DIRECTORIES.iter().fold(Tar::new().dir("usr"), |tar, name| tar.dir(name));
    let mut image = Image::new().layer(first.symlink("lib", "usr/lib").end(), "ADD /");
    for _ in 0..4 {
        let mut tar = Tar::new();
        let mut used = BTreeSet::new();
        let mut files: Vec<String> = Vec::new();
        for _ in 0..6 {
            let directory = match dice(6) {
                5 => "lib",
                at => DIRECTORIES[at],
            };
            let name = NAMES[dice(3)];
            let path = format!("{directory}/{name}");
            // One thing for one path, by whatever name: what comes twice is another test.
            if !used.insert(path.replace("usr/lib", "lib")) {
                continue;
            }
            tar = match dice(8) {
                0 | 1 => tar.file(&format!("{directory}/.wh.{name}"), ""),
                2 if !files.is_empty() => tar.hardlink(&path, &files[dice(files.len())]),
                3 if used.insert(format!("{directory}/*")) && directory != "lib" => {
                    tar.file(&format!("{directory}/.wh..wh..opq"), "")
                }
                _ => {
                    let secret = token();
                    secrets.push(secret.clone());
                    files.push(path.clone());
                    tar.file(&path, format!("TOKEN={secret}\n"))
                }
            };
        }
        image = image.layer(tar.end(), "COPY . /");
    }
    (image, secrets)
}

/// The secrets below a directory.
fn visible(root: &Path, found: &mut String) {
    for entry in std::fs::read_dir(root).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            visible(&entry.path(), found);
        } else if kind.is_file() {
            found.push_str(&std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

/// The headers of each layer, to see what went wrong.
fn members(image: &Image) -> Vec<Vec<String>> {
    let text = |field: &[u8]| String::from_utf8_lossy(field).trim_end_matches('\0').to_owned();
    let describe = |block: &[u8]| {
        format!("{} {} → {}", char::from(block[156]), text(&block[..100]), text(&block[157..257]))
    };
    let headers = |tar: &[u8]| -> Vec<String> {
        tar.chunks(512).filter(|block| block[257..262] == *b"ustar").map(describe).collect()
    };
    image.layers.iter().map(|(tar, _)| headers(tar)).collect()
}

#[test]
fn what_is_present_is_what_umoci_unpacks() {
    for round in 0..30 {
        let scratch = Scratch::new();
        let root = scratch.0.path();
        let (image, planted) = stack();
        write_layout(&image.oci(Packed::Gzip), &root.join("layout"));
        run("umoci", &["unpack", "--rootless", "--image", "layout:app:1", "bundle"], root);
        let mut unpacked = String::new();
        visible(&root.join("bundle/rootfs"), &mut unpacked);
        let said = scan(&root.join("layout"), &[]);
        let states: BTreeMap<String, Value> = said
            .findings()
            .iter()
            .map(|f| (f["secret"].as_str().unwrap().to_owned(), f["state"].clone()))
            .collect();
        for secret in &planted {
            let there = unpacked.contains(secret);
            let state = &states[secret];
            let place = || said.findings().into_iter().find(|f| f["secret"] == json!(secret));
            let what = || {
                format!("round {round}: {secret} {state}\n{:#?}\n{:#?}", members(&image), place())
            };
            assert_eq!(*state == json!("present"), there, "{}", what());
        }
    }
}
