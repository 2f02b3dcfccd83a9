//! What the program relies on: the config after every mistake was found.
//!
//! What a user may write is another type ([`raw`]) than what the program relies on (the types named
//! here); between the two stands [`fn@parse`]. Parsing is pure: environment and surroundings are
//! arguments, and nothing is opened.

mod decode;
mod group;
mod mistake;
mod model;
mod parse;
pub mod plan;
mod raw;
mod reference;
mod reload;
mod source;
mod substitute;
mod units;
pub mod yaml;

pub use mistake::{Mistake, Mistakes, Span, nearest, suggest};
pub use model::*;
pub use parse::{Parsed, Surroundings, parse};
pub use reference::{ReferenceError, parse_field, parse_reference};
pub use reload::{Reload, reload};
pub use source::{DEFAULT_PATH, Origin, Source, locate, read, read_again};

/// A JSON Schema (draft 2020-12) of the config, for editors.
pub fn schema() -> serde_json::Value {
    let mut schema = <raw::RawConfig as decode::Decode>::schema();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".into(), "https://json-schema.org/draft/2020-12/schema".into());
        schema.insert("title".into(), "Sidekey".into());
    }
    schema
}
