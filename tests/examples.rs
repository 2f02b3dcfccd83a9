//! The examples, run as their pages show: those that need nothing but what `make test` brings.

#![cfg(all(feature = "vault", feature = "local"))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/example.rs"]
mod example;
#[path = "support/readme.rs"]
mod readme;

#[test]
fn the_first_steps_with_a_dev_server_go_as_their_page_shows() {
    example::goes("openbao");
}

#[test]
fn a_command_with_variables_goes_as_its_page_shows() {
    example::goes("exec");
}

#[test]
fn a_python_application_reads_two_files_as_one_and_refuses_what_does_not_fit() {
    example::goes("python");
}

#[test]
fn an_application_on_postgresql_sees_no_failed_query_while_its_users_change() {
    example::goes("postgres");
}
