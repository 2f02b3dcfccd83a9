//! What the program relies on: the config after every mistake was found.
//!
//! What a user may write is another type ([`raw`]) than what the program relies on (the types named
//! here); between the two stands [`fn@parse`]. Parsing is pure: environment and surroundings are
//! arguments, and nothing is opened.

mod aws;
mod decode;
mod fleet;
mod group;
mod mistake;
mod model;
mod parse;
pub mod plan;
mod pod;
mod raw;
mod reach;
mod reference;
mod reload;
mod schema;
mod source;
mod substitute;
mod units;
mod weak;
pub mod yaml;

pub use aws::{AwsPath, AwsVersion, is_pinned};
pub use mistake::{Mistake, Mistakes, Span, nearest, suggest};
pub use model::*;
pub use parse::{Parsed, Surroundings, parse};
pub use pod::{POD_VARIABLE, signals};
pub use reach::{Reach, reach};
pub use reference::{ReferenceError, parse_field, parse_reference};
pub use reload::{Reload, reload};
pub use schema::schema;
pub use source::{DEFAULT_PATH, Origin, Source, locate, read, read_again};
pub use units::{duration, size};
