//! What Sidekey's containers ask for, and what that means for a pod that counts as a whole.

use serde_json::{Value, json};

use super::{Draft, Mode, way};
use crate::kube::edit::Edit;
use crate::kube::quantity;

/// What the process itself takes.
const PROCESS: u64 = 28 << 20;
const CPU: &str = "10m";
const MEMORY: &str = "16Mi";

impl Draft<'_> {
    fn asked(&self, name: &str) -> Option<&str> {
        self.settings.resources.get(name).map(String::as_str)
    }

    /// `bytes` is what it writes to memory volumes: their pages are charged to it.
    pub(super) fn resources(&self, bytes: u64) -> Value {
        let cpu = self.asked("cpu-request").unwrap_or(CPU);
        let memory = self.asked("memory-request").unwrap_or(MEMORY);
        let least = quantity::whole_bytes(memory).unwrap_or(0).max(PROCESS + bytes);
        let computed = quantity::bytes(least);
        let limit = self.asked("memory-limit").unwrap_or(&computed);
        let mut limits = json!({ "memory": limit });
        let mut requests = json!({ "cpu": cpu, "memory": memory });
        if let Some(cpu) = self.asked("cpu-limit") {
            limits["cpu"] = json!(cpu);
        }
        if self.is_guaranteed() {
            let cpu = self.asked("cpu-limit").unwrap_or(cpu);
            limits["cpu"] = json!(cpu);
            requests = json!({ "cpu": cpu, "memory": limit });
        }
        json!({ "requests": requests, "limits": limits })
    }

    /// Whether every container of the user's has limits, and requests no less.
    fn is_guaranteed(&self) -> bool {
        let same = |resources: Option<&Value>| {
            ["cpu", "memory"].iter().all(|kind| {
                let of = |part: &str| {
                    let value = resources?.get(part)?.get(*kind)?;
                    quantity::parse(&plain(value))
                };
                let limit = of("limits");
                limit.is_some() && of("requests").is_none_or(|request| Some(request) == limit)
            })
        };
        !self.pod.containers.is_empty()
            && self.pod.containers.iter().all(|container| same(container.at("resources")))
    }

    /// Raises what the pod as a whole may take by what ours takes, so that the application loses nothing.
    pub(super) fn raise(&mut self, mode: Mode, ours: &Value) {
        let whole = self.pod.spec().get("resources");
        let (Some(whole), Mode::Native | Mode::Classic) = (whole, mode) else { return };
        for part in ["requests", "limits"] {
            for kind in ["cpu", "memory"] {
                let Some(there) = whole.get(part).and_then(|part| part.get(kind)) else { continue };
                let share =
                    |part: &str| ours.pointer(&format!("/resources/{part}/{kind}")).map(plain);
                let equal = whole.pointer(&format!("/requests/{kind}")).map(plain)
                    == whole.pointer(&format!("/limits/{kind}")).map(plain);
                // Where request and limit of the whole are one, they stay one.
                let extra = if part == "limits" || equal {
                    share("limits").or_else(|| share("requests"))
                } else {
                    share("requests")
                };
                self.raise_one(part, kind, &plain(there), extra);
            }
        }
    }

    fn raise_one(&mut self, part: &str, kind: &str, there: &str, more: Option<String>) {
        let at = way!["spec", "resources", part, kind];
        let sum = quantity::parse(there).zip(more.and_then(|more| quantity::parse(&more)));
        let Some((there, more)) = sum else {
            let why = format!("it says `{}`", there.escape_default());
            let hint = "write it with `m`, `Ki`, `Mi` or `Gi`";
            return self.refuse(at, "can't raise the resources of the pod", why, hint);
        };
        let sum = there + more;
        let value = match kind {
            "cpu" => quantity::cores(sum),
            _ => quantity::bytes(u64::try_from((sum + 999) / 1000).unwrap_or(u64::MAX)),
        };
        self.edits.push(Edit::Value { at, value: json!(value) });
    }
}

/// A quantity as text; `1` may stand there as a number.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
