//! The one streaming pass: documents and blobs to the detector, blobs in parallel, and what came of
//! them to whoever collects it.
//!
//! ```text
//! parser: drive → messages │ reading: collect → attribute → report
//! ```
//!
//! What drives parses bytes from an image and runs locked in, in a process of its own; what collects
//! and attributes sees typed messages only.

pub mod attribute;
mod channel;
mod codec;
pub mod collect;
pub mod drive;
pub mod message;
pub mod nursery;
pub mod parser;
pub mod reading;
mod streamed;
