//! The alerts and the dashboard of `manifests/monitoring`: they ask for what a running agent really exposes, names,
//! labels and words. What they do with it is tested by `promtool`, in `make e2e`.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/agent.rs"]
mod agent;
#[path = "support/promql.rs"]
mod promql;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use agent::{Place, eventually};
use promql::{Use, grouped, uses};
use serde_json::{Value, json};
use support::{Bao, Database, Postgres};

/// What Prometheus itself adds to each series of a pod.
const OF_THE_TARGET: [&str; 3] = ["namespace", "pod", "container"];

/// By metric, the values of each of its labels.
type Exposed = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What an agent with a lease, a key-value secret and a hook exposes.
fn scrape() -> Exposed {
    let (bao, postgres, place) = (Bao::dev(), Postgres::start(), Place::new());
    Database::between(&bao, &postgres).role("orders", "1h", "2h");
    bao.write("stripe", &json!({ "api_key": "first" }));
    place.write("token", &bao.root);
    place.config(&format!(
        "stores:\n  vault: {{ kind: vault, address: \"{}\", login: {{ token: {{ file: DIR/token }} }} }}\n\
         secrets:\n  db: {{ from: \"vault:database/creds/orders\" }}\n  stripe: {{ from: \"vault:secret/data/stripe\" }}\n\
         files:\n  user: {{ from: db.username }}\n  stripe.key: {{ from: stripe.api_key }}\n\
         on_change:\n  - http: {{ url: \"http://127.0.0.1:9/\" }}\n",
        bao.address()
    ));
    let agent = place.run();
    eventually("the requests are counted", || {
        place.get("/metrics").unwrap().contains("sidekey_store_requests_total{")
    });
    let text = place.get("/metrics").unwrap();
    assert_eq!(agent.stop(), Some(0));
    exposed(&text)
}

fn exposed(text: &str) -> Exposed {
    let mut all = Exposed::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        for series in uses(line) {
            let labels = all.entry(series.metric).or_default();
            for matcher in series.matchers {
                labels.entry(matcher.label).or_default().insert(matcher.value);
            }
        }
    }
    all
}

fn read(name: &str) -> String {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/monitoring");
    std::fs::read_to_string(dir.join(name)).unwrap()
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&read("rules.yaml")).unwrap();
    let groups = rules["spec"]["groups"].as_array().unwrap().iter();
    groups.flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// Every expression of the dashboard: its panels' and its variables'.
fn dashboard() -> Vec<String> {
    let board: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    let mut all: Vec<_> = targets.map(|t| t["expr"].as_str().unwrap().to_owned()).collect();
    let variables = board["templating"]["list"].as_array().unwrap().iter();
    all.extend(variables.filter_map(|v| v["definition"].as_str().map(str::to_owned)));
    all
}

/// What an expression asks for that nobody exposes.
fn unknown(expression: &str, exposed: &Exposed) -> Vec<String> {
    let mut wrong = Vec::new();
    let asked = uses(expression);
    if asked.is_empty() {
        wrong.push("it asks for nothing".to_owned());
    }
    for Use { metric, matchers } in &asked {
        let Some(labels) = exposed.get(metric) else {
            wrong.push(format!("there is no {metric}"));
            continue;
        };
        for matcher in matchers.iter().filter(|m| !OF_THE_TARGET.contains(&m.label.as_str())) {
            match labels.get(&matcher.label) {
                None => wrong.push(format!("{metric} has no label {}", matcher.label)),
                Some(values) => {
                    let words = matcher.value.split('|').filter(|word| !values.contains(*word));
                    wrong.extend(words.map(|w| format!("{metric} is never {}={w}", matcher.label)));
                }
            }
        }
    }
    let has = |label: &str| {
        OF_THE_TARGET.contains(&label)
            || asked.iter().any(|u| exposed.get(&u.metric).is_some_and(|l| l.contains_key(label)))
    };
    let absent = grouped(expression).into_iter().filter(|label| !has(label));
    wrong.extend(absent.map(|label| format!("there is no label {label} to group by")));
    wrong
}

#[test]
fn alerts_and_dashboard_ask_for_what_an_agent_exposes() {
    let exposed = scrape();
    let mut expressions = dashboard();
    let on_the_dashboard: BTreeSet<_> =
        expressions.iter().flat_map(|e| uses(e)).map(|u| u.metric).collect();
    let all: BTreeSet<_> = exposed.keys().cloned().collect();
    assert_eq!(on_the_dashboard, all, "the dashboard shows every metric there is");
    for rule in rules() {
        let expression = rule["expr"].as_str().unwrap().to_owned();
        for text in ["summary", "description"].map(|name| rule["annotations"][name].as_str()) {
            for label in text.unwrap().split("$labels.").skip(1) {
                let label = label.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                let asked = uses(&expression);
                let known = asked.iter().any(|u| exposed[&u.metric].contains_key(label));
                assert!(known || OF_THE_TARGET.contains(&label), "{rule}: no label {label}");
            }
        }
        expressions.push(expression);
    }
    for expression in expressions {
        assert_eq!(unknown(&expression, &exposed), Vec::<String>::new(), "{expression}");
    }
}

#[test]
fn what_nobody_exposes_is_found() {
    let exposed = exposed("sidekey_hook_total{result=\"failed\"} 0\nsidekey_ready 1\n");
    for (expression, wrong) in [
        ("up == 0", "it asks for nothing"),
        ("sidekey_hook == 0", "there is no sidekey_hook"),
        ("sidekey_ready{secret=\"x\"}", "sidekey_ready has no label secret"),
        ("sidekey_hook_total{result=~\"failed|lost\"}", "sidekey_hook_total is never result=lost"),
        ("sum by (namespace, store) (sidekey_hook_total)", "there is no label store to group by"),
    ] {
        assert_eq!(unknown(expression, &exposed), [wrong], "{expression}");
    }
    let good = "sum by (result) (rate(sidekey_hook_total{pod=~\"$pod\", result!=\"failed\"}[5m]))";
    assert_eq!(unknown(good, &exposed), Vec::<String>::new());
}

#[test]
fn every_alert_is_tested_and_explained() {
    let (tests, page) = (read("rules_test.yaml"), include_str!("../docs/operations.md"));
    let rules = rules();
    assert!(rules.len() >= 4);
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let title = format!("alertname: {name}\n");
        let mut fires = tests.split(&title).skip(1);
        assert!(fires.any(|t| t.trim_start().starts_with("exp_alerts:\n")), "{name}");
        assert!(page.contains(&format!("| `{name}` |")), "{name} is not explained");
        assert!(rule["labels"]["severity"].is_string(), "{name}");
    }
}
