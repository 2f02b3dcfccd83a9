//! Configs as people write them, each with what Sidekey says to it.
//!
//! Each folder below `tests/config` holds a `config.yaml`, perhaps an `environment` (a `NAME=value` a
//! line; `uid=` and `in_pod=` are ours), and `expected.txt`: the mistakes, or the plan and the
//! warnings. `SIDEKEY_TEST_WRITE=1 cargo test --test config` writes the expectations anew.

#![cfg(all(feature = "vault", feature = "local"))]
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use annotate_snippets::Level;
use proptest::prelude::*;
use sidekey::agent::config::{self, Mistake, Mistakes, Origin, Parsed, Source, Surroundings, plan};
use sidekey::agent::reason::Reason;

fn parse(text: &str, vars: &BTreeMap<String, String>) -> Result<Parsed, Mistakes> {
    let env = |name: &str| vars.get(name).cloned();
    let uid = vars.get("uid").map_or(1000, |uid| uid.parse().unwrap());
    let around = Surroundings { env: &env, uid, in_pod: vars.contains_key("in_pod") };
    let origin = Origin::File("config.yaml".into());
    config::parse(&Source { origin, text: text.to_owned() }, &around)
}

fn environment(folder: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(folder.join("environment")).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn folders() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config");
    let mut folders: Vec<_> =
        std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    // A build without a kind of store says so at each of them.
    let name = |folder: &Path| folder.file_name().unwrap().to_string_lossy().into_owned();
    folders.retain(|folder| cfg!(feature = "aws") || !name(folder).starts_with("aws-"));
    folders.sort();
    folders
}

/// What `check` shows.
fn said(text: &str, vars: &BTreeMap<String, String>) -> String {
    match parse(text, vars) {
        Err(mistakes) => format!("{mistakes}\n"),
        Ok(parsed) => {
            let warnings: Vec<String> = parsed
                .warnings
                .iter()
                .map(|warning| warning.render(Level::WARNING, "config.yaml", text, false) + "\n\n")
                .collect();
            format!("{}{}", warnings.concat(), plan::to_text(&parsed.config))
        }
    }
}

/// Every mistake and warning of every folder.
fn all_mistakes() -> Vec<Mistake> {
    let mut all = Vec::new();
    for folder in folders() {
        let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
        match parse(&text, &environment(&folder)) {
            Ok(parsed) => all.extend(parsed.warnings),
            Err(mistakes) => all.extend(mistakes.mistakes.into_iter().chain(mistakes.warnings)),
        }
    }
    all
}

#[test]
fn every_config_is_answered_as_its_folder_says() {
    let write = std::env::var_os("SIDEKEY_TEST_WRITE").is_some();
    let folders = folders();
    assert!(folders.len() >= 40, "{} folders", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
        let said = said(&text, &environment(&folder));
        let file = folder.join("expected.txt");
        if write {
            std::fs::write(&file, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- said\n{said}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_mistake_says_what_why_and_how_to_mend_it() {
    for Mistake { what, why, hint, span, .. } in all_mistakes() {
        assert!(span.line > 0 && span.column > 0, "{what}: no place");
        for text in [&what, &why, &hint] {
            assert!(!text.is_empty(), "{what}: something is missing");
            assert!(!text.ends_with('.'), "{text}: a final stop");
        }
        // A name of somebody else's may begin with a capital: `Sidekey`, `PORT`, a quoted text.
        let first = what.chars().next().unwrap();
        assert!(!first.is_uppercase() || what.starts_with("HTTP"), "{what}: a capital in front");
    }
}

#[test]
fn what_would_grow_without_end_is_refused() {
    let nothing = BTreeMap::new();
    let bomb = ('a'..'i').zip('b'..='i').map(|(inner, outer)| {
        let aliases = vec![format!("*{inner}"); 9].join(", ");
        format!("{outer}: &{outer} [{aliases}]\n")
    });
    let bomb: Vec<String> =
        std::iter::once("a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned()).chain(bomb).collect();
    for text in [bomb.concat(), "[".repeat(100_000), "{a: ".repeat(5_000), "- ".repeat(50_000)] {
        assert!(parse(&text, &nothing).is_err());
    }
    let many: Vec<String> = (0..60_000).map(|n| format!("k{}: 1\n", n % 30_000)).collect();
    let shown = parse(&many.concat(), &nothing).unwrap_err().to_string();
    assert!(shown.len() < 100_000, "{} bytes", shown.len());
}

#[test]
fn what_a_variable_holds_is_never_shown() {
    let token = format!("hvs.{}", "canary0123456789");
    let vars: BTreeMap<String, String> = [
        ("T", token.clone()),
        ("XDG_RUNTIME_DIR", "/run/user/1".into()),
        ("BAO_ADDR", token.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into();
    for text in [
        "stores: { v: { kind: \"${T}\" } }",
        "stores: { v: { kind: vault, address: \"${T}\" } }",
        "stores: { v: { kind: vault } }",
        "stores: { v: { kind: vault, address: \"https://x\", login: { token: { env: \"${T}\" } } } }",
        "secrets: { s: { from: \"${T}\", refresh: \"${T}\", on_delete: \"${T}\", engine: \"${T}\" } }",
        "secrets: { s: { from: \"${T}:x\" } }",
        "secrets: { s: { from: \"a b${T}:x\" } }",
        "secrets: { s: { from: { store: \"${T}\", path: \"/${T}\", field: \"/~${T}\" } } }",
        "files: { f: { from: \"${T}\", mode: \"${T}\", volume: \"${T}\", format: \"${T}\", decode: \"${T}\" } }",
        "files: { f: { from: [\"${T}\"], group: \"${T} x\", owner_user: \"${T}\" } }",
        "env: { E: \"${T}\" }",
        "volumes: { w: { path: \"${T}\", size: \"${T}\", keep_previous: \"${T}\", allow: [\"${T}\"] } }",
        "state: { path: \"${T}\" }",
        "health: { listen: \"${T}\", quit: \"${T}\" }",
        "metrics: { listen: \"${T}\" }",
        "when_down: { then: \"${T}\" }",
        "on_change: [{ command: [\"${T}\"], when: [\"${T}\"] }]",
        "on_change: [{ http: { url: \"${T}\", method: \"${T}\", headers: { X: \"${T}\\u0001\" } } }]",
        "on_change: [{ signal: { send: \"${T}\", to: { name: \"${T}\" } }, confirm: { status: \"${T}\", otherwise: \"${T}\" } }]",
    ] {
        let mistakes = parse(text, &vars).err().unwrap_or_else(|| panic!("valid: {text}"));
        let shown = format!("{mistakes}\n{:?}", mistakes.mistakes);
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn nothing_but_what_is_not_yet_there_is_told_apart() {
    let of = |folder: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(folder);
        let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
        parse(&text, &environment(&folder)).unwrap_err().reason()
    };
    assert_eq!(of("not-yet-all"), Reason::NotYet);
    assert_eq!(of("unknown-keys"), Reason::ConfigInvalid);
}

#[test]
fn the_schema_knows_every_key_of_the_whole_example() {
    let schema = config::schema();
    assert_eq!(schema["additionalProperties"], false);
    for path in [
        "/properties/stores/additionalProperties/properties/login/properties/kubernetes/properties/role",
        "/properties/secrets/additionalProperties/properties/on_delete",
        "/properties/files/additionalProperties/properties/template",
        "/properties/on_change/items/properties/confirm/properties/otherwise",
        "/properties/when_down/properties/serve_stale_for",
        "/properties/volumes/additionalProperties/properties/keep_previous",
    ] {
        let key = schema.pointer(path).unwrap_or_else(|| panic!("no {path}"));
        assert!(key["description"].as_str().is_some_and(|doc| !doc.is_empty()), "{path}: {key}");
    }
}

/// The schema, read by a validator as an editor has one.
fn by_schema(value: &serde_json::Value) -> Result<(), String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("https://sidekey.dev/schema.json", config::schema()).unwrap();
    let index = compiler.compile("https://sidekey.dev/schema.json", &mut schemas).unwrap();
    schemas.validate(value, index).map_err(|error| format!("{error:#}"))
}

fn read_yaml(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

#[test]
fn an_editor_finds_every_documented_config_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut checked = 0;
    for folder in folders().iter().filter(|f| f.to_string_lossy().contains("/valid-")) {
        let text = std::fs::read_to_string(folder.join("config.yaml")).unwrap();
        by_schema(&read_yaml(&text)).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        checked += 1;
    }
    for page in ["README.md", "docs/leases.md"] {
        let page = std::fs::read_to_string(root.join(page)).unwrap();
        let blocks = page.split("```yaml\n").skip(1).map(|b| b.split("```").next().unwrap());
        for block in blocks.filter(|block| !block.contains("apiVersion")) {
            by_schema(&read_yaml(block)).unwrap_or_else(|error| panic!("{error}\n{block}"));
            checked += 1;
        }
    }
    assert!(checked >= 8, "only {checked}");
}

#[test]
fn an_editor_marks_what_check_would_refuse() {
    for text in [
        "stores: { v: { kind: volt } }",
        "secrets: { a: { form: \"v:x\" } }",
        "files: { f: { from: a.b, mode: true } }",
        "on_change: { http: { url: x } }",
        "when_down: { then: panic }",
        "health: { listen: 8087, quit: maybe }",
        "volumes: { a: [] }",
    ] {
        assert!(by_schema(&read_yaml(text)).is_err(), "{text}");
        assert!(parse(text, &BTreeMap::new()).is_err(), "{text}");
    }
}

#[test]
fn every_place_of_the_schema_says_what_it_is_for() {
    fn walk(schema: &serde_json::Value, place: &str, count: &mut usize) {
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
            let place = format!("{place}/{key}");
            assert!(value["description"].as_str().is_some_and(|doc| doc.len() > 5), "{place}");
            *count += 1;
            for inner in [value, &value["additionalProperties"], &value["items"]] {
                walk(inner, &place, count);
            }
        }
    }
    let mut count = 0;
    walk(&config::schema(), "", &mut count);
    assert!(count > 80, "{count}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_text_makes_it_panic(text in "(\\PC|\n|  |: |- |\\$\\{|[{}\\[\\]&*|>\"'#%@]){0,120}") {
        let _ = said(&text, &BTreeMap::new());
    }

    /// A valid config with a hole cut into it, or something put in: the mistakes of real people.
    #[test]
    fn no_slip_makes_it_panic(at in 0.0..1.0_f64, cut in 0..20_usize, put in "(\\PC|\n|\t){0,6}") {
        let whole = include_str!("config/valid-whole/config.yaml");
        let floor = |at: usize| (0..=at.min(whole.len())).rev().find(|&at| whole.is_char_boundary(at));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss,
            reason = "a place in a text of a few kilobytes")]
        let start = floor((whole.len() as f64 * at) as usize).unwrap();
        let end = floor(start + cut).unwrap().max(start);
        let text = format!("{}{put}{}", &whole[..start], &whole[end..]);
        let _ = said(&text, &BTreeMap::from([("XDG_RUNTIME_DIR".into(), "/run/user/1".into())]));
    }
}
