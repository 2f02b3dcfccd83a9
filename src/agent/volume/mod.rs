//! The volume: a tmpfs that shows the application one complete generation of files.

pub mod medium;

pub use medium::{Flaw, Grade, Kind, Level, Medium, Swap, medium};
