//! What a test asks of manifests: their pods, the `restricted` Pod Security Standard, the schemas.

#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a set-up that fails is a failed test"
)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sidekey::kube::shape::look;
use sidekey::kube::{Step, manifest};

/// What says nothing to Sidekey need be no manifest at all.
fn views(text: &str) -> Vec<Value> {
    let ours = text.contains("sidekey.dev/");
    manifest::views(text).map_err(|error| assert!(!ours, "{error:?}")).unwrap_or_default()
}

/// Every document of a manifest and its kind.
pub fn documents(text: &str) -> Vec<(String, Value)> {
    let views = views(text);
    let mut all = Vec::new();
    for view in views {
        for at in sidekey::kube::shape::objects(&view) {
            let object = look(&view, &at).unwrap();
            all.push((sidekey::kube::shape::kind(object).to_owned(), object.clone()));
            // Of a kind that no schema knows, the pod still is one.
            for pod in templates(object) {
                let named =
                    json!({ "name": "x", "annotations": pod.pointer("/metadata/annotations") });
                let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": pod["spec"] });
                all.push(("Pod".to_owned(), pod));
            }
        }
    }
    all
}

fn templates(object: &Value) -> Vec<&Value> {
    let extra = [("Widget".to_owned(), vec!["spec".to_owned(), "podTemplate".to_owned()])];
    let ways = sidekey::kube::shape::templates(object, &extra);
    ways.iter().map(|way: &Vec<Step>| look(object, way).unwrap()).collect()
}

/// The pods and pod templates of a manifest.
pub fn of(text: &str) -> Vec<Value> {
    let mut pods = Vec::new();
    for view in views(text) {
        for at in sidekey::kube::shape::objects(&view) {
            let object = look(&view, &at).unwrap();
            pods.extend(templates(object).into_iter().cloned());
        }
    }
    pods
}

/// An annotation of a pod.
pub fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// The containers of both lists.
pub fn containers(pod: &Value) -> Vec<&Value> {
    let lists = ["/spec/initContainers", "/spec/containers"];
    let lists = lists.iter().filter_map(|list| pod.pointer(list)?.as_array());
    lists.flatten().collect()
}

/// The names of Sidekey's.
pub fn ours(pod: &Value) -> Vec<&str> {
    let names = containers(pod).into_iter().filter_map(|c| c["name"].as_str());
    names.filter(|name| name.starts_with("sidekey")).collect()
}

/// What stands in `env` of whoever runs the agent, as plain values.
pub fn variables(pod: &Value) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for container in containers(pod) {
        for variable in container["env"].as_array().into_iter().flatten() {
            let name = variable["name"].as_str().unwrap();
            if let (true, Some(value)) = (name.starts_with("SIDEKEY_"), variable["value"].as_str())
            {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
    }
    all
}

/// Kinds of volume that the standard allows.
const KINDS: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// What of a pod the `restricted` Pod Security Standard forbids.
pub fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let spec = &pod["spec"];
    for key in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[key] == json!(true) {
            found.push(key.to_owned());
        }
    }
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let other = volume
            .as_object()
            .unwrap()
            .keys()
            .find(|key| *key != "name" && !KINDS.contains(&key.as_str()));
        found.extend(other.map(|kind| format!("volume {kind}")));
    }
    for container in containers(pod) {
        let name = container["name"].as_str().unwrap();
        let context = &container["securityContext"];
        let either = |key: &str| {
            if context[key].is_null() { &spec["securityContext"][key] } else { &context[key] }
        };
        let mut rule = |good: bool, what: &str| {
            if !good {
                found.push(format!("{name}: {what}"));
            }
        };
        rule(context["allowPrivilegeEscalation"] == json!(false), "allowPrivilegeEscalation");
        rule(context["privileged"] != json!(true), "privileged");
        let drops =
            context["capabilities"]["drop"].as_array().is_some_and(|d| d.contains(&json!("ALL")));
        rule(drops, "capabilities are not dropped");
        let adds = context["capabilities"]["add"].as_array().cloned().unwrap_or_default();
        rule(adds.iter().all(|add| *add == json!("NET_BIND_SERVICE")), "capabilities are added");
        rule(*either("runAsNonRoot") == json!(true), "runAsNonRoot");
        rule(*either("runAsUser") != json!(0), "runAsUser 0");
        let profile = either("seccompProfile")["type"].as_str().unwrap_or_default();
        rule(["RuntimeDefault", "Localhost"].contains(&profile), "seccompProfile");
        rule(context["procMount"].is_null(), "procMount");
        for port in container["ports"].as_array().into_iter().flatten() {
            rule(port["hostPort"].is_null(), "hostPort");
        }
    }
    found
}

/// The Python that has the test tools: beside the OpenBao that they came with.
fn python() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/bao");
    let bao = std::env::var_os("SIDEKEY_TEST_BAO").map_or(installed, PathBuf::from);
    bao.with_file_name("python3")
}

/// Validates `[name, strict, document]` triples by the schemas of 1.29 and of the newest version there is.
pub fn validate(documents: &Value) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/validate.py");
    let mut child = Command::new(python())
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("no Python with the test tools: `make test` installs it into target/tools");
    child.stdin.take().unwrap().write_all(documents.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("valid"), "{said}");
}

/// A text with a unified diff applied, by its rules and nothing else.
pub fn patched(before: &str, diff: &str) -> String {
    let old: Vec<&str> = before.split_inclusive('\n').collect();
    let (mut out, mut at) = (String::new(), 0);
    let lines: Vec<&str> = diff.split_inclusive('\n').collect();
    for (i, line) in lines.iter().enumerate() {
        let cut = lines.get(i + 1).is_some_and(|next| next.starts_with('\\'));
        let body = |line: &str| {
            let text = line.get(1..).unwrap_or_default();
            if cut { text.trim_end_matches('\n').to_owned() } else { text.to_owned() }
        };
        if let Some(range) = line.strip_prefix("@@ -") {
            let (start, rest) = range.split_once(',').unwrap();
            let length: usize = rest.split(' ').next().unwrap().parse().unwrap();
            let start: usize = start.parse().unwrap();
            let start = if length == 0 { start } else { start - 1 };
            out.extend(old[at..start].iter().copied());
            at = start;
        } else if line.starts_with("--- ") || line.starts_with("+++ ") || line.starts_with('\\') {
        } else if line.starts_with('+') {
            out.push_str(&body(line));
        } else {
            assert_eq!(body(line), old[at], "line {} of the text", at + 1);
            if line.starts_with(' ') {
                out.push_str(old[at]);
            }
            at += 1;
        }
    }
    out.extend(old[at..].iter().copied());
    out
}
