//! A folder of `examples/`, started as a newcomer would.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};

use super::readme;

/// Runs what the folder's page shows, with the binary under test. Nothing stays in memory.
#[track_caller]
pub(crate) fn goes(name: &str) {
    goes_with(name, &[]);
}

/// The same with more in the environment.
#[track_caller]
pub(crate) fn goes_with(name: &str, more: &[(&str, String)]) {
    let mut environment =
        vec![("SIDEKEY", env!("CARGO_BIN_EXE_sidekey").to_owned()), ("PATH", path())];
    environment.extend(more.iter().cloned());
    readme::is_true(&format!("examples/{name}/README.md"), &environment);
}

/// The OpenBao of the tests; the other tools that come with it are beside it.
pub(crate) fn bao() -> PathBuf {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/bin/bao");
    std::env::var_os("SIDEKEY_TEST_BAO").map_or(installed, PathBuf::from)
}

/// Where `bao` is first.
fn path() -> String {
    let bao = bao();
    let dir = bao.parent().unwrap_or(Path::new("/")).display();
    format!("{dir}:{}", std::env::var("PATH").unwrap_or_default())
}
