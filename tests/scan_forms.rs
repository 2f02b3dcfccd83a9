//! The command from one end to the other: an image in, several reports out, a baseline, an
//! explanation.

#![cfg(feature = "scan")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]
#![expect(clippy::disallowed_methods, reason = "it runs the binary under test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A GitHub token with the checksum that GitHub gives it: CRC-32 in six digits of base 62.
fn token() -> String {
    let body = "h7Qm2xVb9RkLw4TzY8pNc3GdJ6sFa1";
    let crc = body.bytes().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    });
    let digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let (mut rest, mut checksum) = (!crc, String::new());
    for _ in 0..6 {
        checksum.insert(0, char::from(digits[(rest % 62) as usize]));
        rest /= 62;
    }
    ["gh", "p_", body, &checksum].concat()
}

fn tar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, content) in members {
        let mut header = [0_u8; 512];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[100..108].copy_from_slice(b"0000644\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].copy_from_slice(b"        ");
        header[156] = b'0';
        header[257..265].copy_from_slice(b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&header);
        out.extend_from_slice(content);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// What `docker save` writes, of one layer with one file and a variable of the config.
fn image(folder: &Path, name: &str, file: &str, content: &str) -> PathBuf {
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": { "Env": ["PATH=/usr/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [] },
        "history": [{ "created_by": "COPY . /app" }],
    });
    let manifest =
        json!([{ "Config": "c.json", "RepoTags": ["app:1"], "Layers": ["l/layer.tar"] }]);
    let archive = tar(&[
        ("l/layer.tar", &tar(&[(file, content.as_bytes())])),
        ("c.json", config.to_string().as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ]);
    let path = folder.join(name);
    std::fs::write(&path, archive).unwrap();
    path
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sidekey-scan"))
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn one_scan_writes_several_reports_that_only_their_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    image(at, "app.tar", "app/.env", &format!("GITHUB_TOKEN={}\n", token()));
    let forms = ["json", "sarif", "junit", "html", "github", "gitlab", "jsonl", "text"];
    let mut arguments = vec!["./app.tar".to_owned()];
    for form in forms {
        arguments.extend(["--output".to_owned(), format!("{form}=report.{form}")]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = run(at, &arguments);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty());
    for form in forms {
        let path = at.join(format!("report.{form}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("app/.env"), "{form}");
        assert!(!text.contains(&token()), "{form}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{form}");
    }
    let finding = &json(&at.join("report.json"))["images"][0]["findings"][0];
    assert_eq!((&finding["proved"], &finding["introduced"]["layer"]), (&json!(true), &json!(0)));
    assert_eq!(finding["introduced"]["instruction"], "COPY . /app");
}

/// A name says that the value is a secret; the value alone would not.
#[test]
fn a_password_in_a_variable_is_one_finding_with_its_instruction() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": ["DB_PASSWORD=Tr0ub4dor-and-3"], "Labels": { "api.secret": "mUx7-Qop2-Zk19" } },
        "rootfs": { "type": "layers", "diff_ids": [] },
        "history": [{ "created_by": "COPY . /app" },
                    { "created_by": "ENV DB_PASSWORD=Tr0ub4dor-and-3", "empty_layer": true }],
    });
    let manifest = json!([{ "Config": "c.json", "RepoTags": null, "Layers": ["l/layer.tar"] }]);
    let archive = tar(&[
        ("l/layer.tar", &tar(&[("x", b"nothing")])),
        ("c.json", config.to_string().as_bytes()),
        ("manifest.json", manifest.to_string().as_bytes()),
    ]);
    std::fs::write(at.join("app.tar"), archive).unwrap();
    let output = run(at, &["./app.tar", "--format", "json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("Tr0ub4dor"), "{text}");
    let report: Value = serde_json::from_str(&text).unwrap();
    let findings = report["images"][0]["findings"].as_array().unwrap();
    let of = |kind: &str| findings.iter().find(|f| f["place"]["kind"] == kind).unwrap();
    let variable = of("env");
    assert_eq!(
        (&variable["place"]["path"], &variable["places_total"]),
        (&json!("DB_PASSWORD"), &json!(2))
    );
    assert_eq!(
        variable["introduced"],
        json!({
            "layer": null, "diff_id": null, "instruction": "ENV DB_PASSWORD=[secret]", "base": false,
        })
    );
    assert_eq!(variable["places"][1]["kind"], "history");
    assert_eq!(of("label")["place"]["path"], "api.secret");
}

#[test]
fn a_baseline_written_by_one_scan_silences_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    image(at, "app.tar", "app/.env", &format!("GITHUB_TOKEN={}\n", token()));
    let first = run(at, &["./app.tar", "--write-baseline", "known.toml"]);
    assert_eq!(first.status.code(), Some(1));
    let second = run(at, &["./app.tar", "--baseline", "known.toml"]);
    assert_eq!(second.status.code(), Some(0), "{}", String::from_utf8_lossy(&second.stderr));
    assert!(String::from_utf8_lossy(&second.stdout).contains("SUPPRESSED (1)"));

    let text = std::fs::read_to_string(at.join("known.toml")).unwrap();
    let from = text.find("until = ").unwrap();
    let expired = format!("{}until = 2020-01-01{}", &text[..from], &text[from + 18..]);
    std::fs::write(at.join("known.toml"), expired).unwrap();
    let third = run(at, &["./app.tar", "--baseline", "known.toml"]);
    assert_eq!(third.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&third.stdout).contains("expired on 2020-01-01"));
}

#[test]
fn a_baseline_with_mistakes_is_refused_before_anything_is_scanned() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    std::fs::write(at.join("known.toml"), "[[ignore]]\nfingerprint = \"v1:0\"\nreason = \"x\"\n")
        .unwrap();
    let output = run(at, &["./not-there.tar", "--baseline", "known.toml"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("line 1 of the baseline: no `until`"), "{said}");
    assert!(said.contains("line 1 of the baseline: `fingerprint`"), "{said}");
}

#[test]
fn a_finding_of_a_report_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    image(at, "app.tar", "app/.env", &format!("GITHUB_TOKEN={}\n", token()));
    run(at, &["./app.tar", "--output", "json=report.json"]);
    let report = json(&at.join("report.json"));
    let fingerprint = report["images"][0]["findings"][0]["fingerprint"].as_str().unwrap();
    let output = run(at, &["explain", fingerprint, "report.json"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("in ./app.tar") && text.contains("COPY . /app"), "{text}");
    let unknown = run(at, &["explain", "v1:000000", "report.json"]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("none of the 1 findings"));
}
