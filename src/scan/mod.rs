//! The scanner: secrets baked into image layers, with the layer and the instruction that brought
//! them in.
//!
//! ```text
//! image → detect → finding → report
//! ```

pub mod cli;
pub mod detect;
pub mod finding;
pub mod image;
pub mod limits;
pub mod report;
#[expect(clippy::module_inception, reason = "the pass is called what the product is called")]
pub mod scan;
pub mod source;
