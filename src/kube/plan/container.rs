//! Sidekey's own containers.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::pod::{PROXIES, SET_UP};
use super::volumes::{BINARY, BINARY_SIZE, Volumes};
use super::{Draft, Facts, Mode, Who, way};

/// Where the binary is in the image.
const PROGRAM: &str = "/sidekey";
/// What the startup probe allows besides `init.within`.
const MORE: Duration = Duration::from_secs(30);
/// The group that may read the binary.
const READS_BINARY: u32 = 64918;

impl Draft<'_> {
    /// Where in `initContainers` Sidekey comes: behind what a mesh has put at the front.
    pub(super) fn index(&self) -> usize {
        let names = self.pod.names("initContainers");
        let is_mesh = |name: &&&str| SET_UP.contains(*name) || PROXIES.contains(*name);
        if self.settings.init_first { 0 } else { names.iter().take_while(is_mesh).count() }
    }

    pub(super) fn our_containers(
        &mut self,
        mode: Mode,
        facts: &Facts,
        who: &Who,
        volumes: &Volumes,
        index: usize,
    ) {
        let (init, beside) = match mode {
            Mode::Native => (Some(self.native(facts, who, volumes)), None),
            Mode::Init => (Some(self.init(facts, who, volumes)), None),
            Mode::Env => (Some(self.install(who)), None),
            Mode::Classic => {
                let init = self.init(facts, who, volumes);
                (Some(init), Some(self.sidecar(facts, who, volumes)))
            }
        };
        self.add_container("initContainers", Some(index), init, mode, facts);
        self.add_container("containers", None, beside, mode, facts);
    }

    fn add_container(
        &mut self,
        list: &str,
        index: Option<usize>,
        container: Option<Value>,
        mode: Mode,
        facts: &Facts,
    ) {
        let Some(container) = container else { return };
        let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(there) = self.pod.find(list, name) else {
            if list == "initContainers" {
                self.raise(mode, &container);
            }
            return self.extend(way!["spec"], list, index, vec![container]);
        };
        let _ = facts;
        if there.get("image") != container.get("image") || there.get("env") != container.get("env")
        {
            let what = format!("the container `{name}` is there already, and is another");
            self.note(
                "status",
                &what,
                "it was injected with other settings, or by hand; it stays as it is",
                "`sidekey inject --remove` takes it out, and `sidekey inject` puts the new one in",
            );
        }
    }

    /// Goes on from before the application until after it.
    fn native(&self, facts: &Facts, who: &Who, volumes: &Volumes) -> Value {
        let mut container = self.sidecar(facts, who, volumes);
        container["restartPolicy"] = json!("Always");
        container
    }

    /// Goes on beside the application.
    fn sidecar(&self, facts: &Facts, who: &Who, volumes: &Volumes) -> Value {
        let mut container = self.container("sidekey", "run", facts, who, volumes);
        let probe = |question: &str| json!({ "command": [PROGRAM, "health", question] });
        let budget = (facts.within + MORE).as_secs();
        container["startupProbe"] = json!({ "exec": probe("--startup"),
            "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": budget });
        container["livenessProbe"] = json!({ "exec": probe("--live"),
            "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 3 });
        if facts.unready {
            container["readinessProbe"] = json!({ "exec": probe("--ready"),
                "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 1 });
        }
        if let Some(port) = facts.metrics {
            container["ports"] =
                json!([{ "name": "sidekey-metrics", "containerPort": port, "protocol": "TCP" }]);
        }
        container
    }

    /// Fetches once.
    fn init(&self, facts: &Facts, who: &Who, volumes: &Volumes) -> Value {
        self.container("sidekey-init", "init", facts, who, volumes)
    }

    /// Copies the binary to where the application's containers can run it.
    fn install(&self, who: &Who) -> Value {
        let command = vec![json!(PROGRAM), json!("install"), json!(format!("{BINARY}/sidekey"))];
        let mounts = vec![json!({ "name": "sidekey-bin", "mountPath": BINARY })];
        let mut container = self.bare("sidekey-install", &command, &mounts, BINARY_SIZE);
        container["securityContext"] = security(who.uid, Some(READS_BINARY));
        container
    }

    fn container(
        &self,
        name: &str,
        verb: &str,
        facts: &Facts,
        who: &Who,
        volumes: &Volumes,
    ) -> Value {
        let mut command = vec![json!(PROGRAM), json!(verb)];
        if let Some(level) = &self.settings.log_level {
            command.extend([json!("--log-level"), json!(level)]);
        }
        let files = volumes.files.iter();
        let mut mounts: Vec<Value> =
            files.map(|(name, place)| json!({ "name": name, "mountPath": place })).collect();
        mounts.extend(volumes.ours.iter().cloned());
        let mut container = self.bare(name, &command, &mounts, volumes.bytes);
        container["securityContext"] = security(who.uid, who.gid);
        if !facts.pod_yaml.is_empty() {
            container["env"] =
                json!([{ "name": crate::agent::config::POD_VARIABLE, "value": facts.pod_yaml }]);
        }
        container
    }

    fn bare(&self, name: &str, command: &[Value], mounts: &[Value], bytes: u64) -> Value {
        json!({
            "name": name,
            "image": self.operator.image,
            "imagePullPolicy": "IfNotPresent",
            "command": command,
            "resources": self.resources(bytes),
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": mounts,
        })
    }
}

/// What the `restricted` Pod Security Standard asks for, and a read-only root.
fn security(uid: Option<u32>, gid: Option<u32>) -> Value {
    let mut context = Map::new();
    for (key, id) in [("runAsUser", uid), ("runAsGroup", gid)] {
        context.extend(id.map(|id| (key.to_owned(), json!(id))));
    }
    context.extend([
        ("allowPrivilegeEscalation".to_owned(), json!(false)),
        ("capabilities".to_owned(), json!({ "drop": ["ALL"] })),
        ("readOnlyRootFilesystem".to_owned(), json!(true)),
        ("runAsNonRoot".to_owned(), json!(true)),
        ("seccompProfile".to_owned(), json!({ "type": "RuntimeDefault" })),
    ]);
    Value::Object(context)
}
