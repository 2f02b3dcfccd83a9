//! What is changed in a pod: a closed list of edits, how they undo themselves, and what is said
//! instead of an edit.

use serde_json::{Map, Value, json};

/// One step of the way to a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A key of a mapping.
    Key(String),
    /// An element of a list of the untouched document.
    Index(usize),
}

/// The way from the top to a value.
pub type Path = Vec<Step>;

/// Writes a way: `way!["spec", "containers", 0]`.
macro_rules! way {
    ($($step:expr),* $(,)?) => { vec![$($crate::kube::edit::Step::from($step)),*] };
}
pub(super) use way;

impl From<&str> for Step {
    fn from(key: &str) -> Step {
        Step::Key(key.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Step {
        Step::Index(index)
    }
}

/// One change. Ways and indexes are those of the untouched document.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// A key that the mapping does not have.
    Key {
        /// The mapping.
        at: Path,
        /// The key.
        key: String,
        /// Its value.
        value: Value,
    },
    /// Elements that come to stand before the one at `index`, or at the end.
    Items {
        /// The list.
        at: Path,
        /// Before which one.
        index: usize,
        /// At least one.
        items: Vec<Value>,
    },
    /// A value in the place of another.
    Value {
        /// The old value.
        at: Path,
        /// The new one.
        value: Value,
    },
}

impl Edit {
    /// Where it happens.
    pub fn at(&self) -> &Path {
        match self {
            Edit::Key { at, .. } | Edit::Items { at, .. } | Edit::Value { at, .. } => at,
        }
    }

    /// The same beneath another top.
    #[must_use]
    pub fn beneath(mut self, top: &[Step]) -> Edit {
        let (Edit::Key { at, .. } | Edit::Items { at, .. } | Edit::Value { at, .. }) = &mut self;
        at.splice(0..0, top.iter().cloned());
        self
    }
}

/// Why a pod is not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What of the pod it is about.
    pub at: Path,
    /// What is wrong.
    pub what: String,
    /// Why.
    pub why: String,
    /// What to do.
    pub hint: String,
}

impl Refusal {
    /// A refusal with everything that it says.
    pub fn new(
        at: Path,
        what: impl Into<String>,
        why: impl Into<String>,
        hint: impl Into<String>,
    ) -> Refusal {
        Refusal { at, what: what.into(), why: why.into(), hint: hint.into() }
    }

    /// The same beneath another top.
    #[must_use]
    pub fn beneath(mut self, top: &[Step]) -> Refusal {
        self.at.splice(0..0, top.iter().cloned());
        self
    }
}

/// What is done all the same, and weaker than it could be. Said like a refusal.
pub type Remark = Refusal;

/// A way as text, with the names of elements for their indexes: names stay when others come and go.
pub fn pointer(view: &Value, at: &[Step]) -> String {
    let mut text = String::new();
    let mut here = Some(view);
    for step in at {
        text.push('/');
        match step {
            Step::Key(key) => {
                text.push_str(&escape(key));
                here = here.and_then(|value| value.get(key));
            }
            Step::Index(index) => {
                here = here.and_then(|value| value.get(index));
                text.push_str(&here.map_or_else(|| index.to_string(), |item| escape(&name(item))));
            }
        }
    }
    text
}

/// What an element is called: its `name`, or its text.
pub fn name(item: &Value) -> String {
    match item {
        Value::Object(map) => map.get("name").and_then(Value::as_str).unwrap_or_default().into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn escape(step: &str) -> String {
    step.replace('~', "~0").replace('/', "~1")
}

/// The steps of a way written by [`fn@pointer`].
pub fn steps(pointer: &str) -> Vec<String> {
    let steps = pointer.split('/').skip(1);
    steps.map(|step| step.replace("~1", "/").replace("~0", "~")).collect()
}

/// What takes the edits back: the ways of what was added, and of what was overwritten the text.
/// Joined with what an earlier time has left.
pub fn original(
    view: &Value,
    edits: &[Edit],
    overwritten: &[(usize, String)],
    before: Option<&str>,
) -> String {
    let before: Option<Value> = before.and_then(|text| serde_json::from_str(text).ok());
    let part = |name: &str| before.as_ref().and_then(|value| value.get(name)).cloned();
    let mut added = match part("added") {
        Some(Value::Array(added)) => added,
        _ => Vec::new(),
    };
    let mut was = match part("was") {
        Some(Value::Object(was)) => was,
        _ => Map::new(),
    };
    for (number, edit) in edits.iter().enumerate() {
        let at = pointer(view, edit.at());
        match edit {
            Edit::Key { key, .. } => added.push(json!(format!("{at}/{}", escape(key)))),
            Edit::Items { items, .. } => {
                added.extend(items.iter().map(|i| json!(format!("{at}/{}", escape(&name(i))))));
            }
            Edit::Value { .. } => {
                let text = overwritten.iter().find(|(of, _)| *of == number);
                was.insert(at, json!(text.map(|(_, text)| text.as_str()).unwrap_or_default()));
            }
        }
    }
    let mut whole = json!({ "added": added });
    if !was.is_empty() {
        whole["was"] = Value::Object(was);
    }
    whole.to_string()
}

/// The edits as a JSON patch (RFC 6902), for an object that is sent and not written. What lies deeper
/// comes first, and in a list what stands further back, so that every index is the untouched one.
pub fn json_patch(edits: &[Edit]) -> Value {
    let mut order: Vec<&Edit> = edits.iter().collect();
    order.sort_by_key(|edit| {
        let index = match edit {
            Edit::Items { index, .. } => *index,
            _ => usize::MAX,
        };
        (std::cmp::Reverse(edit.at().len()), std::cmp::Reverse(index))
    });
    Value::Array(order.into_iter().flat_map(operations).collect())
}

fn operations(edit: &Edit) -> Vec<Value> {
    let at = plain_pointer(edit.at());
    match edit {
        Edit::Key { key, value, .. } => {
            vec![json!({ "op": "add", "path": format!("{at}/{}", escape(key)), "value": value })]
        }
        Edit::Items { index, items, .. } => {
            let each = items.iter().enumerate().map(|(i, item)| {
                json!({ "op": "add", "path": format!("{at}/{}", index + i), "value": item })
            });
            each.collect()
        }
        Edit::Value { value, .. } => vec![json!({ "op": "replace", "path": at, "value": value })],
    }
}

fn plain_pointer(at: &[Step]) -> String {
    let steps = at.iter().map(|step| match step {
        Step::Key(key) => format!("/{}", escape(key)),
        Step::Index(index) => format!("/{index}"),
    });
    steps.collect()
}
