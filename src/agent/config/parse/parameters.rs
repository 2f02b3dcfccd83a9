//! `with:`: parameters of a request.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::decode::{At, Decode, Named, wrong};
use super::super::mistake::Mistake;
use super::super::model::Parameters;
use super::super::yaml::{Kind, Node};
use super::Context;

/// The end of a parameter's name that says: what stands in this file.
const FILE: &str = "_file";

impl Context<'_> {
    pub(super) fn parameters(&mut self, raw: &Named<Node>) -> Parameters {
        let mut parameters = Parameters::default();
        for (name, node) in &raw.entries {
            let sent = name.value.strip_suffix(FILE).filter(|sent| !sent.is_empty());
            if let Some(sent) = sent {
                if raw.names.iter().any(|other| other == sent) {
                    self.mistakes.push(Mistake::new(
                        &name.span,
                        format!("`{sent}` is given twice"),
                        format!("`{}` sends what stands in a file as `{sent}`", name.shown),
                        "keep one of the two",
                    ));
                }
                let file = At::<String>::decode(&node.value, &mut self.mistakes);
                if let Some(file) = file.and_then(|file| self.absolute(&file)) {
                    parameters.files.insert(sent.to_owned(), file);
                }
            } else if let Some(value) = self.parameter(&node.value) {
                parameters.values.insert(name.value.clone(), value);
            }
        }
        parameters
    }

    /// A YAML value as the JSON that is sent. What looks like a whole number or a yes or no is one,
    /// unless it stands in quotes.
    fn parameter(&mut self, node: &Node) -> Option<Value> {
        match &node.kind {
            Kind::List(items) => items.iter().map(|item| self.parameter(item)).collect(),
            Kind::Map(entries) => {
                let pairs = entries
                    .iter()
                    .map(|(key, value)| Some((key.text()?.to_owned(), self.parameter(value)?)));
                Some(Value::Object(
                    pairs.collect::<Option<BTreeMap<_, _>>>()?.into_iter().collect(),
                ))
            }
            Kind::Scalar { .. } if node.is_null() || node.broken => {
                wrong(
                    node,
                    "a value",
                    "write a text, a number, a list, or leave the key out",
                    &mut self.mistakes,
                );
                None
            }
            Kind::Scalar { text, plain, .. } => Some(match (text.as_str(), plain) {
                ("true", true) => Value::Bool(true),
                ("false", true) => Value::Bool(false),
                (text, true) => text.parse::<i64>().map_or_else(|_| text.into(), Value::from),
                (text, false) => text.into(),
            }),
        }
    }
}
