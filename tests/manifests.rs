//! `manifests/`: every folder, built by kustomize and with Sidekey in it, is what an API server and the `restricted`
//! standard accept, and what its agent understands.

#![cfg(all(feature = "kube", feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs kubectl and the binary under test")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/pods.rs"]
mod pods;
mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use agent::{Place, SIDEKEY, exits};
use serde_json::{Value, json};
use support::Bao;

const IMAGE: &str = "registry.example/sidekey@sha256:5f0b1dc8ee3d94bb81a7a2f5e2a4c9d6b8f1e3072d45c6a79b8e0f1d2c3b4a59";

/// Each way of use, Sidekey's containers in its pods, and what `inject` warns of.
const WAYS: [(&str, &[&str], &str); 9] = [
    ("native", &["sidekey"], ""),
    ("classic", &["sidekey-init", "sidekey"], "ends together with the application"),
    ("init", &["sidekey-init"], ""),
    ("env", &["sidekey-install"], "the application can read the token"),
    ("job", &["sidekey-init"], ""),
    ("cronjob", &["sidekey"], ""),
    ("nginx-tls", &["sidekey"], "runs as the application's uid"),
    ("postgres", &["sidekey"], ""),
    ("vault-dev", &["sidekey"], ""),
];
/// The folders that inject nothing.
const OTHERS: [&str; 3] = ["base", "monitoring", "network-policy"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// The test tools: what `make test` installs, or where OpenBao is.
fn tool(name: &str) -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/bao");
    let bao = std::env::var_os("SIDEKEY_TEST_BAO").map_or(installed, PathBuf::from);
    bao.with_file_name(name)
}

fn utf8(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// What kustomize makes of a folder.
fn built(folder: &str) -> String {
    let mut kubectl = Command::new(tool("kubectl"));
    let output = kubectl.arg("kustomize").arg(root().join(folder)).output();
    let output = output.unwrap_or_else(|error| panic!("kubectl: {error}; `make test` installs it"));
    assert!(output.status.success(), "{folder}: {}", utf8(output.stderr));
    utf8(output.stdout)
}

/// The same, through `sidekey inject`, as the page pipes it.
fn inject(text: &str, more: &[&str]) -> Output {
    let mut command = Command::new(SIDEKEY);
    command.args(["inject", "--image", IMAGE]).args(more);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// A folder as it is applied.
fn applied(folder: &str) -> String {
    let output = inject(&built(folder), &[]);
    assert!(output.status.success(), "{folder}: {}", utf8(output.stderr));
    utf8(output.stdout)
}

fn folders() -> Vec<String> {
    let all = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap());
    let mut names: Vec<_> = all
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_folder_is_one_that_the_tests_and_the_page_know() {
    let mut known: Vec<_> = WAYS.iter().map(|(folder, ..)| *folder).chain(OTHERS).collect();
    known.sort_unstable();
    assert_eq!(folders(), known);
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    for folder in known {
        assert!(
            page.contains(&format!("| [{folder}]({folder}/) |")),
            "{folder} is not on the page"
        );
    }
    assert!(page.contains("kubectl kustomize manifests/native | sidekey inject --image "));
}

#[test]
fn each_way_of_use_gets_its_containers_and_no_warning_that_the_page_does_not_explain() {
    for (folder, ours, warning) in WAYS {
        let text = built(folder);
        let output = inject(&text, &[]);
        let said = utf8(output.stderr);
        assert!(output.status.success(), "{folder}: {said}");
        let out = utf8(output.stdout);
        let asked = |pod: &&Value| pods::annotation(pod, "sidekey.dev/inject").is_some();
        let all = pods::of(&out);
        let injected: Vec<_> = all.iter().filter(asked).collect();
        assert_eq!(injected.len(), 1, "{folder}");
        assert_eq!(pods::ours(injected[0]), ours, "{folder}");
        assert!(said.contains(warning), "{folder}: {said}");
        assert_eq!(said.contains("warning:"), !warning.is_empty(), "{folder}: {said}");
        assert_eq!(utf8(inject(&out, &[]).stdout), out, "{folder}: twice is once");
        assert_eq!(utf8(inject(&out, &["--remove"]).stdout), text, "{folder}: and back");
    }
    for folder in OTHERS {
        assert_eq!(applied(folder), built(folder), "{folder} asks for nothing");
    }
}

#[test]
fn every_object_is_valid_by_the_schemas_of_kubernetes() {
    let mut documents = Vec::new();
    for folder in folders() {
        for text in [built(&folder), applied(&folder)] {
            for (kind, document) in documents_of(&text) {
                documents.push(json!([format!("{folder} ({kind})"), true, document]));
            }
        }
    }
    assert!(documents.len() >= 40, "only {} documents", documents.len());
    pods::validate(&Value::Array(documents));
}

/// Every object of a stream, also of one that says nothing to Sidekey.
fn documents_of(text: &str) -> Vec<(String, Value)> {
    let all: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    all.into_iter().map(|one| (one["kind"].as_str().unwrap().to_owned(), one)).collect()
}

#[test]
fn every_pod_passes_the_restricted_standard_before_and_after() {
    let mut seen = 0;
    for folder in folders() {
        for text in [built(&folder), applied(&folder)] {
            for pod in pods::of(&format!("# sidekey.dev/\n{text}")) {
                assert_eq!(pods::violations(&pod), Vec::<String>::new(), "{folder}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "only {seen} pods");
}

#[test]
fn the_agent_of_every_pod_accepts_its_config() {
    let place = Place::new();
    for (folder, ..) in WAYS {
        let all = pods::of(&applied(folder));
        let injected = all.iter().find(|pod| pods::annotation(pod, "sidekey.dev/config").is_some());
        let pod = injected.unwrap();
        let config = pods::annotation(pod, "sidekey.dev/config").unwrap();
        let file = place.write("config.yaml", config);
        let mut command = place.command(&["check", "--config", file.to_str().unwrap()]);
        command.env("KUBERNETES_SERVICE_HOST", "10.0.0.1").envs(pods::variables(pod));
        exits(&command.output().unwrap(), 0);
        let asked = pods::annotation(pod, "sidekey.dev/metrics-port").is_some();
        let ports = pods::containers(pod).into_iter().filter_map(|c| c["ports"].as_array());
        let named = ports.flatten().any(|port| port["name"] == "sidekey-metrics");
        assert_eq!(named, asked, "{folder}: the port that the PodMonitor looks for");
    }
}

#[test]
fn only_the_folder_for_it_has_network_policies_and_they_take_nothing_from_a_pod_unasked() {
    for folder in folders() {
        let text = applied(&folder);
        let all = documents_of(&text);
        let policies: Vec<_> = all.iter().filter(|(kind, _)| kind == "NetworkPolicy").collect();
        assert_eq!(!policies.is_empty(), folder == "network-policy", "{folder}");
        for (_, policy) in policies {
            let spec = &policy["spec"];
            let labels = spec["podSelector"]["matchLabels"].as_object().unwrap();
            assert!(labels.iter().any(|(name, _)| name.starts_with("sidekey.dev/")), "opt-in");
            for (direction, rules, peers) in
                [("Egress", "egress", "to"), ("Ingress", "ingress", "from")]
            {
                let named = spec["policyTypes"].as_array().unwrap().contains(&json!(direction));
                let rules = spec[rules].as_array().cloned().unwrap_or_default();
                assert_eq!(named, !rules.is_empty(), "a direction without a rule is a denial");
                let narrow = |rule: &Value| rule[peers].is_array() && rule["ports"].is_array();
                assert!(rules.iter().all(narrow), "it allows everybody or everything");
            }
        }
    }
}

/// The keys of an object that are not among these.
fn strange(object: &Value, known: &[&str]) -> Vec<String> {
    let keys = object.as_object().unwrap().keys();
    keys.filter(|key| !known.contains(&key.as_str())).cloned().collect()
}

#[test]
fn what_the_prometheus_operator_reads_has_its_shape() {
    let all = documents_of(&built("monitoring"));
    let one = |kind: &str| {
        let found = all.iter().find(|(k, _)| k == kind).unwrap_or_else(|| panic!("no {kind}"));
        assert_eq!(strange(&found.1, &["apiVersion", "kind", "metadata", "spec"]), [""; 0]);
        &found.1
    };
    let (monitor, rules) = (one("PodMonitor"), one("PrometheusRule"));
    for object in [monitor, rules] {
        assert_eq!(object["apiVersion"], "monitoring.coreos.com/v1");
    }
    let spec = &monitor["spec"];
    assert_eq!(strange(spec, &["namespaceSelector", "selector", "podMetricsEndpoints"]), [""; 0]);
    let endpoint = &spec["podMetricsEndpoints"][0];
    assert_eq!(strange(endpoint, &["port", "path"]), [""; 0]);
    assert_eq!(endpoint["port"], "sidekey-metrics");
    assert_eq!(strange(&rules["spec"], &["groups"]), [""; 0]);
    for group in rules["spec"]["groups"].as_array().unwrap() {
        assert_eq!(strange(group, &["name", "rules"]), [""; 0]);
        for rule in group["rules"].as_array().unwrap() {
            assert_eq!(strange(rule, &["alert", "expr", "for", "labels", "annotations"]), [""; 0]);
            assert!(rule["alert"].is_string() && rule["expr"].is_string());
        }
    }
    let dashboard = &one_with_data(&all)["data"]["sidekey.json"];
    let dashboard: Value = serde_json::from_str(dashboard.as_str().unwrap()).unwrap();
    assert_eq!(dashboard["uid"], "sidekey");
}

fn one_with_data(all: &[(String, Value)]) -> &Value {
    let map = &all.iter().find(|(kind, _)| kind == "ConfigMap").unwrap().1;
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    map
}

/// The set-up is written for Vault, of which there is none here; OpenBao understands the same words.
#[test]
fn the_set_up_of_the_dev_server_makes_what_the_application_needs() {
    let (bao, place) = (Bao::dev(), Place::new());
    let job = documents_of(&built("vault-dev")).into_iter().find(|(kind, _)| kind == "Job");
    let job = job.unwrap().1;
    let script = job.pointer("/spec/template/spec/containers/0/args/0").unwrap().as_str().unwrap();
    // In a pod the server has the CA of the API server beside its own token.
    let (host, ca) =
        ("kubernetes.default.svc\n", "disable_local_ca_jwt=true kubernetes_ca_cert=x\n");
    assert!(script.contains(host));
    let script = &script.replace(host, &format!("{} {ca}", host.trim_end()));
    std::os::unix::fs::symlink(tool("bao"), place.path("vault")).unwrap();
    let path = format!("{}:{}", place.path("").display(), std::env::var("PATH").unwrap());
    for _ in 0..2 {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-euc", script]).env("PATH", &path).env("HOME", place.path(""));
        shell.env("VAULT_ADDR", bao.address()).env("VAULT_TOKEN", &bao.root);
        shell.env_remove("BAO_ADDR").env_remove("BAO_TOKEN");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{}", utf8(output.stderr));
    }
    let admin = bao.admin();
    let role = admin.get("auth/kubernetes/role/orders").good().json();
    assert_eq!(role["data"]["bound_service_account_names"], json!(["orders"]));
    assert_eq!(role["data"]["audience"], "vault");
    let token = bao.token(&["orders"], &json!({}));
    let secret = bao.with_token(&token).get("secret/data/stripe").good().json();
    assert_eq!(secret["data"]["data"]["api_key"], "first");
}
