//! What must hold of `inject` whatever a pod looks like and however it is written: a second time changes
//! nothing, taking it back gives the bytes from before, everything else is still there, and the text
//! says what the JSON patch of the same edits says.

#![cfg(feature = "kube")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use sidekey::kube::edit::json_patch;
use sidekey::kube::manifest::{self, Options};
use sidekey::kube::{Operator, Version, plan};

fn operator() -> Operator {
    Operator {
        image: "registry.example/sidekey:1".into(),
        pull_secrets: vec!["registry".into()],
        version: Version::NATIVE,
    }
}

fn edit(text: &str, remove: bool) -> String {
    let operator = operator();
    let options = Options { operator: &operator, templates: &[], remove };
    manifest::edit("in", text, &options).unwrap_or_else(|said| panic!("{said:?}\n{text}")).text
}

fn view(text: &str) -> Value {
    manifest::views(text).unwrap_or_else(|error| panic!("{error:?}\n{text}")).remove(0)
}

/// Texts that YAML would like to read as something else, and others.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        Just("yes".to_owned()),
        Just("0644".to_owned()),
        Just("a: b # c".to_owned()),
        Just("it's \"so\" \\ {{ x }}".to_owned()),
        Just("é\u{1F600}".to_owned()),
        Just("one\ntwo\n".to_owned()),
        Just("- dash".to_owned()),
    ]
}

/// What no schema knows.
fn invented() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            btree_map("x[a-z]{1,5}", inner, 0..3)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// A list that may be absent, nothing, empty, or hold what is given.
fn list(items: Vec<Value>) -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!([]))),
        Just(Some(Value::Array(items))),
    ]
}

fn container(name: &'static str) -> impl Strategy<Value = Value> {
    let mounts = list(vec![json!({ "name": "data", "mountPath": "/data" })]);
    (mounts, btree_map("x[a-z]{1,5}", invented(), 0..2), any::<bool>()).prop_map(
        move |(mounts, more, env)| {
            let mut map: Map<String, Value> = more.into_iter().collect();
            map.insert("name".into(), name.into());
            map.insert("image".into(), "registry.example/app:1".into());
            map.insert("command".into(), json!(["/app", "--serve"]));
            map.extend(mounts.map(|mounts| ("volumeMounts".to_owned(), mounts)));
            if env {
                map.insert("env".into(), json!([{ "name": "A", "value": "yes" }]));
            }
            Value::Object(map)
        },
    )
}

fn security() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!({}))),
        Just(Some(json!({ "fsGroup": 3000 }))),
        Just(Some(json!({ "runAsUser": 64917, "supplementalGroups": [5] }))),
    ]
}

fn pod() -> impl Strategy<Value = Value> {
    let init = prop_oneof![
        Just(None),
        Just(Some(Value::Null)),
        Just(Some(json!([]))),
        container("wait").prop_map(|c| Some(json!([c]))),
        container("wait").prop_map(|c| Some(json!([{ "name": "istio-init", "image": "i" },
            { "name": "istio-proxy", "image": "i", "restartPolicy": "Always" }, c]))),
    ];
    let containers = (container("app"), container("logs"), any::<bool>());
    let volumes = list(vec![json!({ "name": "data", "emptyDir": {} })]);
    let secrets = list(vec![json!({ "name": "theirs" })]);
    let mode = prop_oneof![Just("native"), Just("classic"), Just("init"), Just("env")];
    let others = (btree_map("x[a-z]{1,5}", invented(), 0..3), text(), mode);
    (init, containers, volumes, secrets, security(), others).prop_map(
        |(init, (app, logs, two), volumes, secrets, security, (invented, note, mode))| {
            let mut spec: Map<String, Value> = invented.into_iter().collect();
            spec.insert("containers".into(), if two { json!([app, logs]) } else { json!([app]) });
            let others = [
                ("initContainers", init),
                ("volumes", volumes),
                ("imagePullSecrets", secrets),
                ("securityContext", security),
            ];
            spec.extend(
                others.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))),
            );
            json!({ "apiVersion": "v1", "kind": "Pod", "spec": spec, "metadata": {
                "name": "orders",
                "annotations": {
                    "sidekey.dev/inject": "true", "sidekey.dev/config-map": "orders",
                    "sidekey.dev/mode": mode, "example.com/note": note,
                },
            } })
        },
    )
}

/// Writes a value in one of the many ways of YAML; `choices` say which.
struct Writer {
    choices: Vec<u8>,
    at: usize,
    newline: &'static str,
}

impl Writer {
    fn choose(&mut self, of: u8) -> u8 {
        self.at += 1;
        self.choices[self.at % self.choices.len()] % of
    }

    fn scalar(&mut self, value: &Value) -> String {
        match value {
            Value::String(text) => {
                let tame =
                    text.len() > 2 && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'/');
                let word = ["yes", "true", "null", "off", "false"].contains(&text.as_str());
                match self.choose(3) {
                    0 if tame && !word => text.clone(),
                    1 if text.is_ascii() && !text.contains('\n') => {
                        format!("'{}'", text.replace('\'', "''"))
                    }
                    _ => value.to_string(),
                }
            }
            Value::Null => ["null", "~", "Null"][usize::from(self.choose(3))].to_owned(),
            other => other.to_string(),
        }
    }

    fn flow(&mut self, value: &Value) -> String {
        let space = if self.choose(2) == 0 { " " } else { "" };
        match value {
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.flow(item)).collect();
                format!("[{space}{}{space}]", items.join(", "))
            }
            Value::Object(map) => {
                let entries: Vec<String> = map
                    .iter()
                    .map(|(key, value)| format!("\"{key}\": {}", self.flow(value)))
                    .collect();
                format!("{{{space}{}{space}}}", entries.join(", "))
            }
            other => self.scalar(other),
        }
    }

    /// Writes what stands behind `key:` or `-`, from there to the end of its last line.
    fn value(&mut self, out: &mut String, value: &Value, indent: usize) {
        let empty = matches!(value, Value::Array(i) if i.is_empty())
            || matches!(value, Value::Object(m) if m.is_empty());
        if let Value::Null = value
            && self.choose(2) == 0
        {
            return;
        }
        let leaf = !value.is_array() && !value.is_object();
        if leaf || empty || self.choose(6) == 0 {
            out.push(' ');
            let text = if leaf { self.scalar(value) } else { self.flow(value) };
            out.push_str(&text);
            if self.choose(4) == 0 {
                out.push_str(" # a comment: { with } [signs]");
            }
            return;
        }
        self.block(out, value, indent);
    }

    fn line(&mut self, out: &mut String, indent: usize) {
        out.push_str(self.newline);
        if self.choose(7) == 0 {
            out.push_str("   # between");
            out.push_str(self.newline);
        }
        out.push_str(&" ".repeat(indent));
    }

    /// Each element on lines of its own, the first one too.
    fn block(&mut self, out: &mut String, value: &Value, indent: usize) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    self.line(out, indent);
                    self.entry(out, key, value, indent);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.line(out, indent);
                    out.push('-');
                    self.item(out, item, indent);
                }
            }
            _ => unreachable!(),
        }
    }

    fn entry(&mut self, out: &mut String, key: &str, value: &Value, indent: usize) {
        let quoted = self.choose(3) == 0;
        let quote = if quoted { "\"" } else { "" };
        out.extend([quote, key, quote, ":"]);
        let deeper = if value.is_array() { usize::from(self.choose(2)) * 2 } else { 2 };
        self.value(out, value, indent + deeper);
    }

    /// A mapping begins on the line of its dash.
    fn item(&mut self, out: &mut String, item: &Value, indent: usize) {
        match item {
            Value::Object(map) if !map.is_empty() && self.choose(4) != 0 => {
                for (number, (key, value)) in map.iter().enumerate() {
                    if number == 0 {
                        out.push(' ');
                    } else {
                        self.line(out, indent + 2);
                    }
                    self.entry(out, key, value, indent + 2);
                }
            }
            _ => self.value(out, item, indent + 2),
        }
    }
}

/// A document in block style, or the same as JSON.
fn write(pod: &Value, choices: &[u8]) -> String {
    let newline = if choices[0].is_multiple_of(3) { "\r\n" } else { "\n" };
    match choices[1] % 8 {
        0 => return pod.to_string(),
        1 => return serde_json::to_string_pretty(pod).unwrap() + "\n",
        _ => {}
    }
    let mut writer = Writer { choices: choices.to_vec(), at: 2, newline };
    let mut out = String::from("# the first line");
    writer.block(&mut out, pod, 0);
    if !choices[2].is_multiple_of(4) {
        out.push_str(newline);
    }
    out
}

/// Whether everything of `before` is in `after`, in its order.
fn survives(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            a.iter().all(|(key, value)| b.get(key).is_some_and(|b| survives(value, b)))
        }
        (Value::Array(a), Value::Array(b)) => {
            let mut rest = b.iter();
            a.iter().all(|value| rest.any(|b| survives(value, b)))
        }
        // What is nothing may become something.
        (Value::Null, _) => true,
        _ => before == after,
    }
}

/// Carries out the additions and replacements of a JSON patch.
fn patched(mut value: Value, operations: &Value) -> Value {
    for operation in operations.as_array().unwrap() {
        let path = operation["path"].as_str().unwrap();
        let new = operation["value"].clone();
        let (parent, last) = path.rsplit_once('/').unwrap();
        if operation["op"] == "replace" {
            *value.pointer_mut(path).unwrap() = new;
            continue;
        }
        match value.pointer_mut(parent).unwrap() {
            Value::Array(items) => items.insert(last.parse().unwrap(), new),
            Value::Object(map) => {
                let key = last.replace("~1", "/").replace("~0", "~");
                assert!(map.insert(key, new).is_none(), "{path} is there");
            }
            _ => panic!("{path}"),
        }
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_pod_looks_like(pod in pod(), choices in vec(any::<u8>(), 40..200)) {
        let before = write(&pod, &choices);
        prop_assert_eq!(&view(&before), &pod, "the writer is wrong:\n{}", &before);
        let after = edit(&before, false);
        prop_assert_ne!(&after, &before);
        prop_assert_eq!(&edit(&after, false), &after, "a second time changes something");
        prop_assert_eq!(&edit(&after, true), &before, "taking it back, from\n{}", &after);
        let mut out = view(&after);
        prop_assert!(survives(&pod, &out), "something is gone:\n{}\nfrom\n{}", &after, &before);
        let plan = plan(&pod, "Pod", &operator()).unwrap();
        let annotations = out["metadata"]["annotations"].as_object_mut().unwrap();
        annotations.remove("sidekey.dev/original").unwrap();
        prop_assert_eq!(&patched(pod, &json_patch(&plan.edits)), &out, "from\n{}", &before);
    }
}
