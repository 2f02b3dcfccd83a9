//! Mode `env`: the application's command, run by `sidekey exec`.

use serde_json::{Value, json};

use super::pod::Container;
use super::volumes::{BINARY, Volumes, read_only};
use super::{ConfigFrom, Draft, Edit, Facts};
use crate::agent::config::POD_VARIABLE;
use crate::kube::annotation::PREFIX;

/// The config's text.
const CONFIG: &str = "SIDEKEY_CONFIG_YAML";

impl<'a> Draft<'a> {
    pub(super) fn wrap(&mut self, facts: &Facts, volumes: &Volumes) {
        self.weak(
            "mode",
            "the application can read the token that Sidekey logs in with",
            "variables are given by a process of the application's own container",
            "files by `native` keep the token in a container of its own",
        );
        let mut mounts = vec![read_only("sidekey-bin", BINARY)];
        mounts.extend(volumes.ours.iter().cloned());
        let named = self.settings.containers.is_some();
        let containers: Vec<&Container<'a>> =
            self.named().filter(|c| named || !c.is_init).collect();
        for container in containers {
            self.wrap_one(container, facts, &mounts);
        }
    }

    fn wrap_one(&mut self, container: &Container<'_>, facts: &Facts, mounts: &[Value]) {
        let program = format!("{BINARY}/sidekey");
        let command = container.list("command");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let wrapped = command.first().map(text).as_deref() == Some(&program);
        if command.is_empty() {
            self.refuse(
                container.at.clone(),
                &format!("the container `{}` has no `command`", container.name),
                "what the image would run can't be seen here, and Sidekey must start it",
                "write the image's ENTRYPOINT as `command`, or leave the container out with `sidekey.dev/containers`",
            );
        }
        if !wrapped && !command.is_empty() {
            let items = vec![json!(program), json!("exec"), json!("--")];
            let mut at = container.at.clone();
            at.push("command".into());
            self.edits.push(Edit::Items { at, index: 0, items });
        }
        self.seen_by_nobody_else(container, facts);
        self.variables(container, facts);
        self.mount_in(container, mounts);
    }

    /// The variables that `exec` reads its config from.
    fn variables(&mut self, container: &Container<'_>, facts: &Facts) {
        let from = match &self.settings.config {
            Some(ConfigFrom::Map { name, key }) => {
                json!({ "configMapKeyRef": { "name": name, "key": key } })
            }
            _ => {
                json!({ "fieldRef": { "fieldPath": format!("metadata.annotations['{PREFIX}config']") } })
            }
        };
        let wanted = [
            json!({ "name": CONFIG, "valueFrom": from }),
            json!({ "name": POD_VARIABLE, "value": facts.pod_yaml }),
        ];
        let there: Vec<&str> =
            container.list("env").iter().filter_map(|v| v.get("name")?.as_str()).collect();
        let missing = wanted.into_iter().filter(|v| {
            v.get("name").and_then(Value::as_str).is_none_or(|name| !there.contains(&name))
        });
        self.extend(container.at.clone(), "env", None, missing.collect());
    }

    /// What the kubelet does by itself knows nothing of the variables that Sidekey gives.
    fn seen_by_nobody_else(&mut self, container: &Container<'_>, facts: &Facts) {
        let secret = secrets(container, facts);
        for (list, what) in [("command", "command"), ("args", "arguments")] {
            for name in secret.iter().filter(|name| mentions(container.list(list), name)) {
                let what = format!("`$({name})` stands in the {what} of `{}`", container.name);
                self.refuse(
                    container.at.clone(),
                    &what,
                    "the kubelet replaces it before Sidekey gives the variable its value",
                    "let the program read the variable itself, or a shell: `sh -c 'exec app --key \"$NAME\"'`",
                );
            }
        }
        for way in [
            "lifecycle/postStart",
            "lifecycle/preStop",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            let Some(exec) = container.at(&format!("{way}/exec/command")) else { continue };
            let words = exec.as_array().map_or(&[][..], Vec::as_slice);
            let named: Vec<&String> = secret
                .iter()
                .filter(|name| {
                    words.iter().any(|w| w.as_str().is_some_and(|w| w.contains(name.as_str())))
                })
                .collect();
            let what = format!(
                "`{way}` of `{}` does not see the variables that Sidekey gives",
                container.name
            );
            let why = "the kubelet starts it beside the application, not beneath `sidekey exec`";
            let hint = "ask the application over HTTP, or deliver a file with `native`";
            if named.is_empty() {
                self.note("mode", &what, why, hint);
            } else {
                self.refuse(container.at.clone(), &what, why, hint);
            }
        }
    }
}

/// The variables of a container whose value is a secret: those of the config, and references.
fn secrets(container: &Container<'_>, facts: &Facts) -> Vec<String> {
    let references = container.list("env").iter().filter_map(|variable| {
        let value = variable.get("value")?.as_str()?;
        let is = value.split_once(':').is_some_and(|(_, rest)| rest.contains('#'));
        is.then(|| variable.get("name")?.as_str().map(str::to_owned)).flatten()
    });
    facts.variables.iter().cloned().chain(references).collect()
}

fn mentions(words: &[Value], name: &str) -> bool {
    let reference = format!("$({name})");
    words.iter().filter_map(Value::as_str).any(|word| {
        // `$$(NAME)` is how a `$(NAME)` is kept.
        word.replace("$$", "").contains(&reference)
    })
}
