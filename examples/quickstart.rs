//! The path of a secret in thirty seconds.
fn main() {}
