//! The examples, run as their pages show: those that need Debian packages.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/example.rs"]
mod example;
#[path = "support/readme.rs"]
mod readme;

#[test]
fn nginx_serves_every_new_certificate_and_refuses_no_client() {
    example::goes("nginx");
}

#[test]
fn a_node_application_is_told_by_a_signal_and_confirms_by_a_file() {
    example::goes("node");
}
