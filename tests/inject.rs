//! `sidekey inject`, as folders that a user could have had, and what must hold of every one of them.
//!
//! `tests/inject/<case>/` holds `in.yaml` (or `in.json`), perhaps `args` (one line), and what comes of it:
//! `out.yaml` (`out.json`) or `denied.txt`, and `warnings.txt` if anything is said besides. An `invented`
//! says that the manifest has fields that no schema knows. Where ours was there already, `removed.yaml` is what
//! `--remove` makes of the output.
//! `SIDEKEY_TEST_WRITE=1 cargo test --test inject` writes what comes now; read it before you keep it.

#![cfg(all(feature = "kube", feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/pods.rs"]
mod pods;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use agent::{Place, SIDEKEY, exits};
use serde_json::Value;
use sidekey::kube::annotation;

/// What the operator injects: an image by its digest.
const IMAGE: &str = "registry.example/sidekey@sha256:5f0b1dc8ee3d94bb81a7a2f5e2a4c9d6b8f1e3072d45c6a79b8e0f1d2c3b4a59";

struct Case {
    dir: PathBuf,
}

impl Case {
    fn all() -> Vec<Case> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inject");
        let mut dirs: Vec<PathBuf> =
            std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
        dirs.sort();
        assert!(dirs.len() >= 60, "found only {} cases", dirs.len());
        dirs.into_iter().map(|dir| Case { dir }).collect()
    }

    fn name(&self) -> String {
        self.dir.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn text(&self, file: &str) -> Option<String> {
        std::fs::read_to_string(self.dir.join(file)).ok()
    }

    fn ending(&self) -> &'static str {
        if self.dir.join("in.json").exists() { "json" } else { "yaml" }
    }

    fn input(&self) -> String {
        self.text(&format!("in.{}", self.ending())).unwrap()
    }

    fn output(&self) -> Option<String> {
        self.text(&format!("out.{}", self.ending()))
    }

    /// Runs `inject` in the folder of the case.
    fn run(&self, file: &Path, more: &[&str]) -> Output {
        let args = self.text("args").unwrap_or_default();
        let mut command = Command::new(SIDEKEY);
        command.current_dir(&self.dir).env("SIDEKEY_IMAGE", IMAGE);
        command.args(["inject", "-f"]).arg(file).args(more).args(args.split_whitespace());
        command.output().unwrap()
    }

    /// Those with an output, and their outputs.
    fn injected() -> Vec<(Case, String)> {
        let with = |case: Case| case.output().map(|output| (case, output));
        Case::all().into_iter().filter_map(with).collect()
    }
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[test]
fn each_manifest_comes_out_as_its_folder_says() {
    let write = std::env::var_os("SIDEKEY_TEST_WRITE").is_some();
    let mut wrong = Vec::new();
    for case in Case::all() {
        let output = case.run(Path::new(&format!("in.{}", case.ending())), &[]);
        let good = output.status.success();
        assert!(good || output.status.code() == Some(78), "{}: {output:?}", case.name());
        let (out, said) = (utf8(output.stdout), utf8(output.stderr));
        assert!(good || out.is_empty(), "{}: a refusal writes nothing", case.name());
        let unless_empty = |text: String| (!text.is_empty()).then_some(text);
        let (out, denied, warnings) =
            if good { (Some(out), None, unless_empty(said)) } else { (None, Some(said), None) };
        for (file, now) in [
            (format!("out.{}", case.ending()), out),
            ("denied.txt".to_owned(), denied),
            ("warnings.txt".to_owned(), warnings),
        ] {
            if write {
                match &now {
                    Some(now) => std::fs::write(case.dir.join(&file), now).unwrap(),
                    None => _ = std::fs::remove_file(case.dir.join(&file)),
                }
            } else if case.text(&file) != now {
                wrong.push(format!("{}/{file}:\n{}", case.name(), now.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_second_time_changes_nothing() {
    let place = Place::new();
    for (case, out) in Case::injected() {
        let file = place.write(&format!("out.{}", case.ending()), &out);
        let again = case.run(&file, &[]);
        assert_eq!(utf8(again.stdout), out, "{}", case.name());
    }
}

#[test]
fn taking_it_back_gives_the_bytes_from_before() {
    let place = Place::new();
    for (case, out) in Case::injected() {
        let file = place.write(&format!("out.{}", case.ending()), &out);
        let back = case.run(&file, &["--remove"]);
        let before = case.text("removed.yaml").unwrap_or_else(|| case.input());
        assert_eq!(utf8(back.stdout), before, "{}", case.name());
    }
}

#[test]
fn a_diff_makes_the_one_out_of_the_other() {
    for (case, out) in Case::injected() {
        let input = case.input();
        let diff = case.run(Path::new(&format!("in.{}", case.ending())), &["--diff"]);
        assert_eq!(pods::patched(&input, &utf8(diff.stdout)), out, "{}", case.name());
    }
}

/// The config that an injected pod's agent reads is one that it accepts: with what the pod adds to it.
#[test]
fn the_agent_of_an_injected_pod_accepts_its_config() {
    let place = Place::new();
    let mut seen = 0;
    for (case, out) in Case::injected() {
        for pod in pods::of(&out) {
            let Some(config) = pods::annotation(&pod, "sidekey.dev/config") else { continue };
            let Some(ours) = pods::ours(&pod).first().copied() else { continue };
            if pods::annotation(&pod, "sidekey.dev/status").is_none() {
                continue;
            }
            let file = place.write("config.yaml", config);
            let mut command = place.command(&["check", "--config", file.to_str().unwrap()]);
            command.env("KUBERNETES_SERVICE_HOST", "10.0.0.1");
            for (name, value) in pods::variables(&pod) {
                command.env(name, value);
            }
            let output = command.output().unwrap();
            assert!(output.status.success(), "{} ({ours}): {output:?}", case.name());
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} configs were tried");
    exits(&place.sidekey(&["--version"]), 0);
}

#[test]
fn what_is_injected_passes_the_restricted_standard() {
    for (case, out) in Case::injected() {
        let before = pods::of(&case.input());
        for (number, pod) in pods::of(&out).iter().enumerate() {
            let had = before.get(number).map(pods::violations).unwrap_or_default();
            let new: Vec<String> =
                pods::violations(pod).into_iter().filter(|v| !had.contains(v)).collect();
            assert!(new.is_empty(), "{}: {new:?}", case.name());
        }
    }
}

#[test]
fn every_pod_is_valid_by_the_schemas_of_kubernetes() {
    let mut documents = Vec::new();
    for (case, out) in Case::injected() {
        for (kind, document) in pods::documents(&out) {
            // Where a manifest has fields that nobody knows, they are still there.
            let strict = !case.dir.join("invented").exists();
            let name = format!("{} ({kind})", case.name());
            documents.push(serde_json::json!([name, strict, document]));
        }
    }
    assert!(documents.len() >= 60, "only {} documents", documents.len());
    pods::validate(&Value::Array(documents));
}

#[test]
fn every_annotation_stands_in_the_docs_with_an_example_that_is_taken() {
    let page = include_str!("../docs/kubernetes.md");
    for key in annotation::KEYS {
        let row = format!("| `sidekey.dev/{}` | `{}` | {} |\n", key.name, key.example, key.doc);
        assert!(page.contains(&row), "docs/kubernetes.md lacks this row:\n{row}");
        let mut annotations = serde_json::json!({ "sidekey.dev/inject": "true" });
        annotations[format!("sidekey.dev/{}", key.name)] = key.example.into();
        annotation::read(&annotations).unwrap_or_else(|said| panic!("{}: {said:?}", key.name));
    }
    let rows =
        page.lines().filter(|line| line.starts_with("| `sidekey.dev/") && line.contains("` | `"));
    assert_eq!(rows.count(), annotation::KEYS.len(), "docs/kubernetes.md has rows of its own");
}

#[test]
fn the_manifest_of_the_docs_is_injected() {
    let page = include_str!("../docs/kubernetes.md");
    let place = Place::new();
    let mut seen = 0;
    for block in page.split("```yaml\n").skip(1) {
        let file = place.write("page.yaml", block.split("```").next().unwrap());
        let out = place.sidekey(&["inject", "-f", file.to_str().unwrap()]);
        let out = exits(&out, 0);
        assert_eq!(out, "", "a warning");
        seen += 1;
    }
    assert_eq!(seen, 1);
}

#[test]
fn two_manifests_come_out_as_one_stream_and_go_back_where_they_were() {
    let place = Place::new();
    let case = |name: &str| {
        let cases = Case::all();
        cases.into_iter().find(|case| case.name() == name).unwrap()
    };
    let (one, two) = (case("native"), case("job"));
    let dir = place.path("manifests");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("1.yaml"), one.input()).unwrap();
    std::fs::write(dir.join("2.yml"), two.input()).unwrap();
    std::fs::write(dir.join("notes.txt"), "sidekey.dev/ {{").unwrap();
    let run = |more: &[&str]| {
        let mut command = place.command(&["inject", "-f", dir.to_str().unwrap()]);
        let output = command.env("SIDEKEY_IMAGE", IMAGE).args(more).output().unwrap();
        exits(&output, 0);
        utf8(output.stdout)
    };
    let (out1, out2) = (one.output().unwrap(), two.output().unwrap());
    assert_eq!(run(&[]), format!("{out1}---\n{out2}"));
    assert_eq!(run(&["--write"]), "");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!((read("1.yaml"), read("2.yml")), (out1, out2));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 3, "nothing is left over");
    run(&["--write", "--remove"]);
    assert_eq!((read("1.yaml"), read("2.yml")), (one.input(), two.input()));
}

#[test]
fn manifests_come_from_stdin_too() {
    let case = Case::all().into_iter().find(|case| case.name() == "native").unwrap();
    let mut command = Command::new(SIDEKEY);
    command.args(["inject"]).env("SIDEKEY_IMAGE", IMAGE);
    command.stdin(std::fs::File::open(case.dir.join("in.yaml")).unwrap());
    assert_eq!(utf8(command.output().unwrap().stdout), case.output().unwrap());
}
