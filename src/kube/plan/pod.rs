//! The questions that a plan asks of a pod.

use serde_json::Value;

use crate::kube::edit::{Path, way};

/// What our containers are called.
pub(super) const OURS: [&str; 3] = ["sidekey", "sidekey-init", "sidekey-install"];
/// Those that set up a service mesh, and end.
pub(super) const SET_UP: [&str; 4] =
    ["istio-init", "istio-validation", "linkerd-init", "linkerd-network-validator"];
/// Those that are a service mesh's proxy.
pub(super) const PROXIES: [&str; 2] = ["istio-proxy", "linkerd-proxy"];

/// A container that is neither ours nor a mesh's.
pub(super) struct Container<'a> {
    pub(super) name: &'a str,
    pub(super) at: Path,
    pub(super) view: &'a Value,
    pub(super) is_init: bool,
}

impl Container<'_> {
    /// A list of it.
    pub(super) fn list(&self, key: &str) -> &[Value] {
        self.view.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// What stands at the end of this way, such as `securityContext/runAsUser`.
    pub(super) fn at(&self, way: &str) -> Option<&Value> {
        self.view.pointer(&format!("/{way}"))
    }
}

/// A pod or a pod template.
pub(super) struct Pod<'a> {
    pub(super) view: &'a Value,
    pub(super) kind: &'a str,
    /// The user's, init containers first, as the kubelet starts them.
    pub(super) containers: Vec<Container<'a>>,
}

impl<'a> Pod<'a> {
    pub(super) fn new(view: &'a Value, kind: &'a str) -> Pod<'a> {
        let mut containers = Vec::new();
        for (list, is_init) in [("initContainers", true), ("containers", false)] {
            let all = view.pointer(&format!("/spec/{list}")).and_then(Value::as_array);
            for (index, view) in all.into_iter().flatten().enumerate() {
                let name = view.get("name").and_then(Value::as_str).unwrap_or_default();
                let others = OURS.iter().chain(&SET_UP).chain(&PROXIES);
                if !others.into_iter().any(|other| *other == name) {
                    let at = way!["spec", list, index];
                    containers.push(Container { name, at, view, is_init });
                }
            }
        }
        Pod { view, kind, containers }
    }

    pub(super) fn spec(&self) -> &'a Value {
        self.view.get("spec").unwrap_or(&Value::Null)
    }

    pub(super) fn annotations(&self) -> &'a Value {
        self.view.pointer("/metadata/annotations").unwrap_or(&Value::Null)
    }

    fn text(&self, way: &str) -> Option<&'a str> {
        self.view.pointer(way).and_then(Value::as_str)
    }

    /// The names in a list of the pod.
    pub(super) fn names(&self, list: &str) -> Vec<&'a str> {
        let items = self.spec().get(list).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.get("name").and_then(Value::as_str)).collect()
    }

    /// The container of this name in a list, whosever it is.
    pub(super) fn find(&self, list: &str, name: &str) -> Option<&'a Value> {
        let items = self.spec().get(list).and_then(Value::as_array)?;
        items.iter().find(|item| item.get("name").and_then(Value::as_str) == Some(name))
    }

    pub(super) fn is_windows(&self) -> bool {
        self.text("/spec/os/name") == Some("windows")
            || self.text("/spec/nodeSelector/kubernetes.io~1os") == Some("windows")
    }

    /// Whether the kubelet runs it from a file, and this object only shows it.
    pub(super) fn is_mirror(&self) -> bool {
        self.annotations().get("kubernetes.io/config.mirror").is_some()
    }

    /// Whether it is to end.
    pub(super) fn is_job(&self) -> bool {
        let policy = self.text("/spec/restartPolicy");
        matches!(self.kind, "Job" | "CronJob") || matches!(policy, Some("Never" | "OnFailure"))
    }

    /// A label or an annotation of the pod.
    pub(super) fn marked(&self, name: &str) -> Option<&'a str> {
        let labels = self.view.pointer("/metadata/labels").and_then(|labels| labels.get(name));
        labels.or_else(|| self.annotations().get(name)).and_then(Value::as_str)
    }

    /// A number of the pod's security context.
    pub(super) fn security(&self, key: &str) -> Option<u32> {
        number(self.spec().get("securityContext")?.get(key))
    }

    /// The uid that a container runs as, as far as anybody said.
    pub(super) fn uid_of(&self, container: &Container<'_>) -> Option<u32> {
        let own = number(container.at("securityContext/runAsUser"));
        own.or_else(|| self.security("runAsUser"))
    }
}

pub(super) fn number(value: Option<&Value>) -> Option<u32> {
    value.and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
}
