//! What the docs claim: their configs are valid, the first one works as written, and every reason is
//! explained.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/agent.rs"]
mod agent;
mod support;

use agent::{Place, eventually, exits};
use serde_json::json;
use sidekey::agent::reason::Reason;
use support::Bao;

fn read(name: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The fenced YAML blocks of a page.
fn yaml(page: &str) -> Vec<String> {
    let blocks = page.split("```yaml\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_first_config_of_the_readme_works_as_written() {
    let (bao, place) = (Bao::dev(), Place::new());
    bao.write("stripe", &json!({ "api_key": "sk-first" }));
    let config = yaml(&read("README.md")).remove(0);
    let volume = place.path("volume").display().to_string();
    assert!(config.contains("/dev/shm/sidekey-demo"));
    place.write("sidekey.yaml", config.replace("/dev/shm/sidekey-demo", &volume));
    let sidekey = |args: &[&str]| {
        let mut command = place.command(args);
        command.env("BAO_ADDR", bao.address()).env("BAO_TOKEN", &bao.root);
        command
    };
    exits(&sidekey(&["check"]).output().unwrap(), 0);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let health = format!("health: {{ listen: \"127.0.0.1:{port}\" }}\n");
    place.write("sidekey.yaml", read_config(&place) + &health);
    let mut child = sidekey(&["run"]).spawn().unwrap();
    eventually("the first value", || place.text("stripe.key") == "sk-first");
    bao.write("stripe", &json!({ "api_key": "sk-second" }));
    eventually("the second value", || place.text("stripe.key") == "sk-second");
    assert!(place.text("app.env").contains("sk-second"));
    child.kill().unwrap();
    child.wait().unwrap();
}

fn read_config(place: &Place) -> String {
    std::fs::read_to_string(place.path("sidekey.yaml")).unwrap()
}

#[test]
fn every_config_of_the_readme_is_valid() {
    let place = Place::new();
    for config in yaml(&read("README.md")) {
        place.write("sidekey.yaml", &config);
        let mut check = place.command(&["check"]);
        let check = check.env("BAO_ADDR", "http://127.0.0.1:8200").env("BAO_TOKEN", "t");
        exits(&check.output().unwrap(), 0);
    }
}

/// Links that lead nowhere, and commands that are not there, help nobody.
#[test]
fn every_link_and_every_command_of_the_docs_exists() {
    use clap::CommandFactory;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let pages = docs.chain([root.join("README.md"), root.join("SECURITY.md")]);
    let program = sidekey::agent::cli::Cli::command();
    let mut seen = 0;
    for page in pages.filter(|page| page.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            let there =
                link.is_empty() || link.contains("://") || page.with_file_name(link).exists();
            assert!(there, "{}: {link}", page.display());
            seen += 1;
        }
        for line in text.lines().filter_map(|line| line.strip_prefix("$ sidekey ")) {
            let word = line.split_whitespace().next().unwrap();
            let known = program.get_subcommands().find(|command| command.get_name() == word);
            let known = known.unwrap_or_else(|| panic!("{}: sidekey {word}", page.display()));
            let line = line.split(" -- ").next().unwrap().split('#').next().unwrap();
            let line = line.split([';', '|', '>']).next().unwrap();
            for option in line.split_whitespace().filter_map(|word| word.strip_prefix("--")) {
                let inner = known.get_subcommands().flat_map(clap::Command::get_arguments);
                let mut all = known.get_arguments().chain(inner);
                let option = option.split('=').next().unwrap();
                assert!(all.any(|a| a.get_long() == Some(option)), "{}: {line}", page.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen}");
}

#[test]
fn every_reason_is_explained_in_the_operations_page() {
    let page = read("docs/operations.md");
    for reason in Reason::ALL {
        assert!(page.contains(&format!("| `{reason}` |")), "`{reason}` is not explained");
    }
}

/// Whether there is a test `FILE::NAME`, or a conversation `cli/NAME`.
fn there_is(test: &str) -> bool {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some((file, name)) = test.split_once("::") else {
        return test.starts_with("cli/") && root.join("tests").join(test).join("cmd").exists();
    };
    let places = [format!("tests/{file}.rs"), format!("src/{file}.rs")];
    let code = places.iter().find_map(|place| std::fs::read_to_string(root.join(place)).ok());
    code.is_some_and(|code| code.contains(&format!("fn {name}(")))
}

#[test]
fn every_test_that_the_catalogue_names_exists() {
    let page = read("tests/README.md");
    let lines = page.split("| --- | --- | --- |").nth(1).unwrap().lines();
    let mut rows = std::collections::BTreeSet::new();
    for line in lines.filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let row: u8 = cells[1].parse().unwrap();
        assert!((1..=90).contains(&row) && rows.last() < Some(&row), "row {row} stands elsewhere");
        rows.insert(row);
        let tests: Vec<_> = cells[3].split(", ").map(|test| test.trim_matches('`')).collect();
        assert!(!tests.is_empty());
        for test in tests {
            assert!(there_is(test), "row {row}: there is no test {test}");
        }
    }
    assert!(rows.len() >= 50, "only {} of 90 faults are automated", rows.len());
    assert!(!there_is("path::no_such_test") && !there_is("cli/no-such-talk"));
}

#[test]
fn the_first_config_of_the_leases_page_is_valid_and_warns_of_nothing() {
    let page = include_str!("../docs/leases.md");
    let block = page.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    let config = place.write("page.yaml", block);
    let config = config.to_str().unwrap();
    let checked = place.sidekey(&["check", "--config", config]);
    assert_eq!(exits(&checked, 0), "", "a warning");
}
