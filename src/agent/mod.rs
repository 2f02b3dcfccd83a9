//! The agent: the stages of a secret's path, in their order, and the pipeline that joins them.
//!
//! Imports point one way: [`reason`] and [`config`] are seen by every stage, each stage by those to
//! its right, and only [`pipeline`] sees them all.

pub mod config;
pub mod hook;
pub mod identity;
pub mod observe;
pub mod reason;
pub mod rotate;
pub mod store;
pub mod volume;
