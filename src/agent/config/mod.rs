//! What the program relies on: the config after every mistake was found.
//!
//! What a user may write is another type ([`raw`]); between the two stands [`parse`].

mod model;

pub use model::*;
