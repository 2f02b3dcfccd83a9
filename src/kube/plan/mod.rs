//! What a pod gets: one pure function, pod in, edits out.
//!
//! What is there already is not added again, whatever an annotation says: the function looks at the
//! structure, so that a second time finds nothing to do, and a container that somebody else added in
//! between still gets its mounts.

mod container;
mod env;
mod facts;
mod mesh;
mod mounts;
mod pod;
mod resources;
mod volumes;
mod who;

use serde_json::{Value, json};

use super::annotation::{self, ConfigFrom, Mode, Settings, Uid};
use super::edit::{Edit, Path, Refusal, Remark, Step, way};
use facts::Facts;
use pod::Pod;
use who::Who;

/// A version of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 1.
    pub major: u32,
    /// What follows the dot.
    pub minor: u32,
}

impl Version {
    /// Since when init containers may go on.
    pub const NATIVE: Version = Version { major: 1, minor: 29 };

    /// Reads `1.29`, `v1.29.3` or `1.29+`.
    pub fn parse(text: &str) -> Option<Version> {
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let major = parts.next()?.parse().ok()?;
        let minor = parts.next()?.trim_end_matches('+').parse().ok()?;
        (parts.all(|part| !part.is_empty())).then_some(Version { major, minor })
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What is the operator's to choose, and no pod's.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Sidekey's image.
    pub image: String,
    /// Secrets to pull it with.
    pub pull_secrets: Vec<String>,
    /// The cluster's version.
    pub version: Version,
}

/// What is done with a pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Nothing, if it is not asked for or done already.
    pub edits: Vec<Edit>,
    /// What is weaker than it could be.
    pub remarks: Vec<Remark>,
}

/// Decides. `pod` is a pod or a pod template; `kind` is that of the object that holds it.
///
/// All reasons against it are found at once.
pub fn plan(pod: &Value, kind: &str, operator: &Operator) -> Result<Plan, Vec<Refusal>> {
    let annotations = pod.get("metadata").and_then(|meta| meta.get("annotations"));
    let Some(annotations) = annotations.filter(|a| annotation::asks(a) == Some(true)) else {
        return Ok(Plan::default());
    };
    let pod = Pod::new(pod, kind);
    if pod.is_mirror() {
        return Ok(Plan { edits: Vec::new(), remarks: vec![mirror()] });
    }
    let settings = annotation::read(annotations)?;
    let mut draft = Draft::new(&pod, &settings, operator);
    draft.all();
    draft.done()
}

/// Whether a pod has a container of ours.
pub fn has_ours(pod: &Value) -> bool {
    let pod = Pod::new(pod, "");
    let lists = ["initContainers", "containers"];
    lists.iter().any(|list| pod.names(list).iter().any(|name| pod::OURS.contains(name)))
}

fn mirror() -> Remark {
    Remark::new(
        way!["metadata", "annotations", "kubernetes.io/config.mirror"],
        "this pod is left alone",
        "it is the mirror of a static pod, which the kubelet runs whatever this object says",
        "static pods have no service account: give them their secrets on the node",
    )
}

/// A plan in the making.
struct Draft<'a> {
    pod: &'a Pod<'a>,
    settings: &'a Settings,
    operator: &'a Operator,
    edits: Vec<Edit>,
    remarks: Vec<Remark>,
    refusals: Vec<Refusal>,
}

impl<'a> Draft<'a> {
    fn new(pod: &'a Pod<'a>, settings: &'a Settings, operator: &'a Operator) -> Draft<'a> {
        let (edits, remarks, refusals) = (Vec::new(), Vec::new(), Vec::new());
        Draft { pod, settings, operator, edits, remarks, refusals }
    }

    fn done(self) -> Result<Plan, Vec<Refusal>> {
        if !self.refusals.is_empty() {
            return Err(self.refusals);
        }
        Ok(Plan { edits: self.edits, remarks: self.remarks })
    }

    fn all(&mut self) {
        self.not_windows();
        let mode = self.mode();
        let facts = self.facts(mode);
        self.known_containers();
        let (Some(mode), Some(facts)) = (mode, facts) else { return };
        let who = self.who(&facts);
        let volumes = self.volumes(mode, &facts);
        let index = self.index();
        self.our_containers(mode, &facts, &who, &volumes, index);
        match mode {
            Mode::Env => self.wrap(&facts, &volumes),
            _ => self.mount(&volumes),
        }
        if mode != Mode::Env {
            self.groups(&who);
            self.mesh(&facts, index);
        }
        if facts.signal && mode != Mode::Env {
            self.share_processes();
        }
        self.pull_secrets();
        if self.edits.is_empty() {
            self.remarks.clear();
        } else {
            self.status();
        }
    }

    fn refuse(&mut self, at: Path, what: &str, why: impl Into<String>, hint: impl Into<String>) {
        self.refusals.push(Refusal::new(at, what, why, hint));
    }

    /// What is done and protects less than it could.
    fn weak(&mut self, name: &str, what: &str, why: &str, hint: &str) {
        self.note(name, &format!("weak: {what}"), why, hint);
    }

    fn note(&mut self, name: &str, what: &str, why: &str, hint: &str) {
        self.remarks.push(Remark::new(annotation::at(name), what, why, hint));
    }

    fn not_windows(&mut self) {
        if self.pod.is_windows() {
            self.refuse(
                way!["spec"],
                "this pod runs on Windows",
                "Sidekey is a Linux program: it needs a tmpfs and signals",
                "remove the annotations, or run the pod on Linux",
            );
        }
    }

    /// How, by annotation, version and kind.
    fn mode(&mut self) -> Option<Mode> {
        let native = self.operator.version >= Version::NATIVE;
        let job = self.pod.is_job();
        match self.settings.mode {
            None if native => Some(Mode::Native),
            None if job => Some(Mode::Init),
            None => Some(self.classic()),
            Some(Mode::Native) if !native => {
                let why =
                    format!("it came with Kubernetes 1.29, and this is {}", self.operator.version);
                let hint = "remove `sidekey.dev/mode`: then it is `classic`, or `init` in a Job";
                self.refuse(annotation::at("mode"), "a native sidecar can't run here", why, hint);
                None
            }
            Some(Mode::Classic) if job => {
                self.refuse(
                    annotation::at("mode"),
                    "a classic sidecar would keep this Job from ending",
                    "a Job is done when all its containers are, and this one goes on",
                    "write `native`, or `init` to fetch once",
                );
                None
            }
            Some(Mode::Classic) => Some(self.classic()),
            mode => mode,
        }
    }

    fn classic(&mut self) -> Mode {
        self.note(
            "mode",
            "a classic sidecar ends together with the application",
            "SIGTERM reaches both at once, so nothing is fresh while the application drains",
            "with Kubernetes 1.29 and later `native` outlives it",
        );
        Mode::Classic
    }

    fn known_containers(&mut self) {
        let names: Vec<&str> = self.pod.containers.iter().map(|c| c.name).collect();
        for name in self.settings.containers.iter().flatten() {
            if !names.contains(&name.as_str()) {
                let what = format!("there is no container `{}`", name.escape_default());
                let hint = crate::agent::config::suggest(name, &names);
                self.refuse(
                    annotation::at("containers"),
                    &what,
                    "nothing would get its files",
                    hint,
                );
            }
        }
    }

    fn share_processes(&mut self) {
        let spec = self.pod.spec();
        let is = |key: &str| spec.get(key).and_then(Value::as_bool);
        match is("shareProcessNamespace") {
            Some(true) => {}
            _ if is("hostPID") == Some(true) => {}
            Some(false) => self.refuse(
                way!["spec", "shareProcessNamespace"],
                "Sidekey can't signal the application",
                "its hook needs a shared PID namespace, and this pod says `shareProcessNamespace: false`",
                "remove that line, or tell the application by HTTP",
            ),
            None => self.set(way!["spec"], "shareProcessNamespace", json!(true)),
        }
    }

    fn pull_secrets(&mut self) {
        let there = self.pod.names("imagePullSecrets");
        let missing = self.operator.pull_secrets.iter().filter(|n| !there.contains(&n.as_str()));
        let items = missing.map(|name| json!({ "name": name })).collect();
        self.extend(way!["spec"], "imagePullSecrets", None, items);
    }

    fn status(&mut self) {
        let annotations = self.pod.annotations();
        if annotations.get(annotation::STATUS).is_none() {
            self.set(annotation::place(), annotation::STATUS, json!("injected"));
        }
    }

    /// Puts elements into a list beneath `at`, before the one at `index` or at the end.
    fn extend(&mut self, at: Path, key: &str, index: Option<usize>, items: Vec<Value>) {
        if items.is_empty() {
            return;
        }
        let there = super::shape::look(self.pod.view, &at).and_then(|parent| parent.get(key));
        let len = there.and_then(Value::as_array).map_or(0, Vec::len);
        if len == 0 {
            return self.set(at, key, Value::Array(items));
        }
        let mut at = at;
        at.push(key.into());
        self.edits.push(Edit::Items { at, index: index.unwrap_or(len), items });
    }

    /// Puts a key into the mapping at `at`, which is made if it is not there.
    fn set(&mut self, mut at: Path, key: &str, value: Value) {
        let there = super::shape::look(self.pod.view, &at);
        let has = there.is_some_and(|map| map.get(key).is_some());
        match there {
            Some(Value::Object(map)) if !map.is_empty() => {
                if has {
                    at.push(key.into());
                    self.edits.push(Edit::Value { at, value });
                } else {
                    self.edits.push(Edit::Key { at, key: key.to_owned(), value });
                }
            }
            _ => {
                let Some(Step::Key(name)) = at.pop() else { return };
                self.set(at, &name, json!({ key: value }));
            }
        }
    }
}
