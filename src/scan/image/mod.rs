//! From an image to what the detector sees: documents, blobs, layers, members, and what became of
//! each of them in the layers above.
//!
//! ```text
//! store → plan → layer → unpack → tar → look → nested
//!                          state ← index
//! ```

mod ahead;
pub mod config;
pub mod documents;
pub mod feed;
pub mod history;
pub mod index;
pub mod layer;
pub mod look;
pub mod nested;
pub mod outbox;
pub mod path;
pub mod plan;
pub mod platform;
pub mod spot;
pub mod state;
pub mod store;
pub mod tar;
mod tar_header;
pub mod unpack;
mod windows;
