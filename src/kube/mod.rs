//! Kubernetes: a pod in, a list of edits out, and manifests whose other bytes stay as they are.
//!
//! ```text
//! text → yaml (places) ─┬→ view (plain JSON) → plan → edits ─┬→ splice → text
//!                       └─────────────── the same places ────┘
//! ```
//!
//! [`fn@plan`] is the one function that decides what a pod gets. It reads a plain view and gives
//! [`Edit`]s, so that manifests (spliced here) and admission requests (a JSON patch) are served alike.
//!
//! 1. [`annotation`]: what a pod may say, in one table.
//! 2. [`yaml`]: documents as trees that know their places.
//! 3. [`shape`]: where an object has its pods.
//! 4. [`mod@plan`]: pod and annotations in, edits out.
//! 5. `splice` and [`remove`]: edits to bytes, and back.
//! 6. [`manifest`]: a whole text of several documents, and [`diff`].

pub mod annotation;
pub mod diff;
pub mod edit;
mod emit;
pub mod manifest;
pub mod plan;
mod quantity;
pub mod remove;
pub mod shape;
mod splice;
mod view;
pub mod yaml;

pub use edit::{Edit, Path, Refusal, Remark, Step};
pub use plan::{Operator, Plan, Version, plan};
