//! `install`: what mode `env` runs was copied by it, can be run by everybody, and read by nobody.

#![cfg(feature = "kube")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(clippy::disallowed_methods, reason = "it runs the binary under test")]

#[path = "support/agent.rs"]
mod agent;

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

use agent::{Place, SIDEKEY, exits};

/// As in the image: its owner is root, its group reads it, others run it.
const IMAGE_MODE: u32 = 0o151;
const READS: u32 = 64918;

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

/// `program args` as a user who is not root. Only root can become one: others are one already.
fn as_user(program: &Path, args: &[&str], uid: u32, gid: u32) -> Output {
    let mut command = Command::new(program);
    command.args(args);
    if rustix::process::geteuid().is_root() {
        command.uid(uid).gid(gid);
    }
    command.output().unwrap()
}

#[test]
fn the_copy_is_run_by_everybody_and_read_by_nobody() {
    let place = Place::new();
    let volume = place.path("bin");
    std::fs::create_dir(&volume).unwrap();
    std::fs::set_permissions(&volume, PermissionsExt::from_mode(0o777)).unwrap();
    let copy = volume.join("sidekey");
    exits(&as_user(Path::new(SIDEKEY), &["install", copy.to_str().unwrap()], 64917, READS), 0);
    assert_eq!(mode(&copy), 0o111);
    assert_eq!(std::fs::metadata(&copy).unwrap().len(), std::fs::metadata(SIDEKEY).unwrap().len());
    let version = as_user(&copy, &["--version"], 20001, 20001);
    exits(&version, 0);
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("sidekey "));
    let read = as_user(Path::new("/bin/cat"), &[copy.to_str().unwrap()], 20001, 20001);
    assert!(!read.status.success() && read.stdout.is_empty(), "anybody can read it");
    assert_eq!(std::fs::read_dir(&volume).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn a_second_time_and_what_a_killed_one_left_are_no_trouble() {
    let place = Place::new();
    let volume = place.path("state");
    std::fs::write(volume.join(".sidekey.new"), "half of it").unwrap();
    for _ in 0..2 {
        exits(&place.sidekey(&["install", volume.to_str().unwrap()]), 0);
        assert_eq!(mode(&volume.join("sidekey")), 0o111);
        assert_eq!(std::fs::read_dir(&volume).unwrap().count(), 1);
    }
}

#[test]
fn who_may_not_read_the_binary_is_told_of_the_group() {
    // Root reads everything, and who is not root can't give a file away: he owns it, and may not read it.
    let place = Place::new();
    let binary = place.path("sidekey");
    std::fs::copy(SIDEKEY, &binary).unwrap();
    let root = rustix::process::geteuid().is_root();
    let hidden = if root { IMAGE_MODE } else { 0o111 };
    if root {
        chown(&binary, Some(0), Some(READS)).unwrap();
    }
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(hidden)).unwrap();
    let to = place.path("copy");
    let refused = as_user(&binary, &["install", to.to_str().unwrap()], 64917, 64917);
    exits(&refused, 73);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("runAsGroup: 64918"), "{said}");
    assert!(!to.exists());
}
