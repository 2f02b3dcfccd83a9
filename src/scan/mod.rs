//! The scanner: secrets baked into image layers, with the layer and the instruction that brought
//! them in.
//!
//! ```text
//! image → detect → finding → report
//! ```

pub mod detect;
pub mod finding;
pub mod report;
