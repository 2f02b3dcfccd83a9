//! The agent: the stages of a secret's path, in their order, and the pipeline that joins them.
//!
//! Imports point one way: [`reason`] and [`config`] are seen by every stage, each stage by those to
//! its right, and only `pipeline` and `cli` see them all.

pub mod reason;

pub mod config;
pub mod identity;
pub mod store;

pub mod render;
pub mod volume;

pub mod hook;
pub mod rotate;
pub mod state;

pub mod observe;

#[cfg(feature = "local")]
pub mod local;

pub mod pipeline;

pub mod cli;
