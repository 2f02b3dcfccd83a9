//! Service meshes: a proxy that is no native sidecar is not there yet while Sidekey fetches.

use std::collections::BTreeSet;

use serde_json::json;

use super::pod::SET_UP;
use super::{Draft, Facts, annotation};

struct Mesh {
    /// The proxy's container.
    proxy: &'static str,
    /// What set-up containers are called at their beginning.
    prefix: &'static str,
    /// Labels or annotations that ask for it, and their value.
    asked: &'static [(&'static str, &'static str)],
    /// What makes its proxy a native sidecar.
    native: &'static [&'static str],
    /// What keeps ports out of it.
    excludes: &'static str,
}

const MESHES: [Mesh; 2] = [
    Mesh {
        proxy: "istio-proxy",
        prefix: "istio-",
        asked: &[("sidecar.istio.io/inject", "true")],
        native: &["sidecar.istio.io/nativeSidecar"],
        excludes: "traffic.sidecar.istio.io/excludeOutboundPorts",
    },
    Mesh {
        proxy: "linkerd-proxy",
        prefix: "linkerd-",
        asked: &[("linkerd.io/inject", "enabled"), ("linkerd.io/inject", "ingress")],
        native: &[
            "config.beta.linkerd.io/proxy-enable-native-sidecar",
            "config.linkerd.io/proxy-enable-native-sidecar",
        ],
        excludes: "config.linkerd.io/skip-outbound-ports",
    },
];

impl Draft<'_> {
    /// Excludes the stores' ports where a mesh would hold up Sidekey, or says why it can't.
    pub(super) fn mesh(&mut self, facts: &Facts, index: usize) {
        if self.settings.init_first {
            return;
        }
        let init = self.pod.names("initContainers");
        for mesh in &MESHES {
            let set_up =
                init.iter().take(index).any(|n| SET_UP.contains(n) && n.starts_with(mesh.prefix));
            let there = self.pod.names("containers").contains(&mesh.proxy) && set_up;
            let native = mesh.native.iter().any(|key| self.pod.marked(key) == Some("true"));
            let comes = mesh.asked.iter().any(|(key, value)| self.pod.marked(key) == Some(value))
                && !init
                    .iter()
                    .chain(&self.pod.names("containers"))
                    .any(|n| n.starts_with(mesh.prefix));
            if there || (comes && !native) {
                self.exclude(mesh, facts, there);
            }
        }
    }

    fn exclude(&mut self, mesh: &Mesh, facts: &Facts, there: bool) {
        let at = || {
            let mut at = annotation::place();
            at.push(mesh.excludes.into());
            at
        };
        let what = format!("`{}` would hold up Sidekey's first fetch", mesh.proxy);
        let Some(ports) = &facts.ports else {
            let why = "it is no native sidecar, so nobody forwards while init containers run, and the stores' ports are in a ConfigMap";
            let hint = "write the ports into `sidekey.dev/store-ports`, or `sidekey.dev/init-first: \"true\"`";
            return self.refuse(at(), &what, why, hint);
        };
        let said =
            self.pod.annotations().get(mesh.excludes).and_then(|v| v.as_str()).unwrap_or_default();
        let excluded = |port: &u16| said.split(',').any(|part| covers(part.trim(), *port));
        let missing: BTreeSet<String> =
            ports.iter().filter(|port| !excluded(port)).map(u16::to_string).collect();
        if missing.is_empty() {
            return;
        }
        let missing = missing.into_iter().collect::<Vec<_>>().join(",");
        if there {
            let why = "it is no native sidecar, so nobody forwards while init containers run, and its rules are made already";
            let hint = format!(
                "annotate the pod with `{}: \"{missing}\"`, or `sidekey.dev/init-first: \"true\"`",
                mesh.excludes
            );
            return self.refuse(at(), &what, why, hint);
        }
        let all = if said.is_empty() { missing } else { format!("{said},{missing}") };
        self.set(annotation::place(), mesh.excludes, json!(all));
    }
}

/// Whether `8200` or `8000-8999` has this port.
fn covers(range: &str, port: u16) -> bool {
    let (low, high) = range.split_once('-').unwrap_or((range, range));
    low.parse().is_ok_and(|low: u16| low <= port)
        && high.parse().is_ok_and(|high: u16| port <= high)
}
