//! From bytes to hits. Pure: bytes, rules and the time are all there is.
//!
//! ```text
//! bytes → window → gate (literals) → the rule's pattern → what stands around it → proof → hit
//! ```
//!
//! Every byte meets the gate. What kind of content it is decides which rules may speak.

mod assign;
mod class;
mod credible;
mod decode;
mod detector;
mod examples;
mod gate;
mod jwt;
mod keyed;
mod known;
mod matcher;
mod names;
mod pair;
mod pem;
mod placeholder;
mod problem;
mod proof;
mod rule;
mod sample;
mod special;
mod stream;
mod template;
mod text;
mod url;

pub use class::Subject;
pub use detector::{Detector, Pick};
pub use problem::RulesError;
pub use rule::{Rule, RuleSet};
pub use stream::Stream;
pub use template::expand;

pub use crate::scan::finding::{Hit, PlaceKind};
