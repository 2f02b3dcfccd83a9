//! The alerts of `manifests/monitoring`, by Prometheus' own tool.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "the test runs promtool")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// `promtool` in a directory that has the rules as Prometheus reads them, and their tests.
fn promtool(args: &[&str]) -> String {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/monitoring");
    let dir = tempfile::tempdir().unwrap();
    let manifest = std::fs::read_to_string(from.join("rules.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&manifest).unwrap();
    // JSON is YAML.
    std::fs::write(dir.path().join("sidekey.rules.yaml"), manifest["spec"].to_string()).unwrap();
    std::fs::copy(from.join("rules_test.yaml"), dir.path().join("rules_test.yaml")).unwrap();
    let output = Command::new("promtool").args(args).current_dir(dir.path()).output();
    let output =
        output.unwrap_or_else(|error| panic!("promtool: {error}; apt-get install prometheus"));
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8(said).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn prometheus_accepts_the_rules() {
    let said = promtool(&["check", "rules", "--lint=all", "--lint-fatal", "sidekey.rules.yaml"]);
    assert!(said.contains("6 rules found"), "{said}");
}

#[test]
fn each_alert_comes_when_it_should_and_only_then() {
    let said = promtool(&["test", "rules", "rules_test.yaml"]);
    assert!(said.contains("SUCCESS"), "{said}");
}
