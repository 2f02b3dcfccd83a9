//! A writer that is killed at random moments, over and over. `tests/volume_crash.rs` kills it at
//! every single system call; this needs no tracer.
//!
//! `SIDEKEY_TEST_KILLS` sets how often (300).

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "a test stops where its helper cannot help")]

#[path = "support/volume.rs"]
mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sidekey::agent::volume::{Fault, Gap, Volume};
use support::{Set, Tmpfs, config, names, secs, swap, volume_name};

/// Tells the child which directory is its volume.
const CHILD: &str = "SIDEKEY_TEST_VOLUME_OF_THE_CHILD";

/// What the files of a generation hold, and which there are: one comes and goes.
fn set(number: u64) -> Set {
    let text = format!("{number:>8}").repeat(1000);
    let mut files = vec![("a", text.as_str()), ("d/b", &text)];
    if number.is_multiple_of(2) {
        files.push(("even", &text));
    }
    Set::of(&files)
}

fn open(path: &Path) -> Result<Volume, Fault> {
    // Nothing is kept for long, so that removals are among what is interrupted.
    let gap = Gap::of(Duration::ZERO);
    Volume::open(&volume_name(), &config(path), gap, secs(0)).map_err(|error| error.fault)
}

/// Not a test of its own, but what the next one starts.
#[test]
fn a_child_publishes_until_it_is_killed() {
    let Some(path) = std::env::var_os(CHILD) else { return };
    let mut volume = open(Path::new(&path)).unwrap();
    println!("\nready");
    for number in volume.generation().unwrap_or(0) + 1.. {
        swap(&mut volume, number, &set(number), secs(number * 3));
    }
}

fn child(path: &Path) -> Child {
    #[expect(clippy::disallowed_methods, reason = "the test kills a process of its own")]
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_child_publishes_until_it_is_killed", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    child
}

/// What is shown is one whole generation, through `..data` and through the visible links.
fn shows_one_generation(path: &Path) -> u64 {
    let text = std::fs::read_to_string(path.join("a")).unwrap();
    let number = text[..8].trim().parse().unwrap();
    let set = set(number);
    for (file, bytes) in &set.files {
        assert_eq!(std::fs::read(path.join(file.as_str())).unwrap(), bytes.expose(), "{file}");
    }
    let shown = names(&path.join("..data"));
    assert_eq!(shown.len(), set.files.len(), "{shown:?}");
    number
}

#[test]
fn a_writer_killed_at_any_moment_leaves_a_whole_set_and_the_next_start_nothing_else() {
    let kills: u32 =
        std::env::var("SIDEKEY_TEST_KILLS").map_or(300, |count| count.parse().unwrap());
    let tmpfs = Tmpfs::new();
    swap(&mut open(tmpfs.path()).unwrap(), 1, &set(1), secs(0));
    let mut reached = 1;
    for kill in 0..kills {
        let mut child = child(tmpfs.path());
        // While it lives, nobody else writes.
        if kill % 10 == 0 {
            assert_eq!(open(tmpfs.path()).unwrap_err(), Fault::Locked);
        }
        // A rotation takes about a millisecond; the moments are spread over the first ten of them.
        std::thread::sleep(Duration::from_micros(u64::from(kill) * 7919 % 9973));
        child.kill().unwrap();
        child.wait().unwrap();
        let number = shows_one_generation(tmpfs.path());
        assert!(number >= reached, "{number} after {reached}");
        reached = number;

        let mut volume = open(tmpfs.path()).unwrap();
        assert_eq!(volume.generation(), Some(number));
        volume.tidy(secs(1000));
        assert_eq!(shows_one_generation(tmpfs.path()), number);
        let mut expected = vec![format!("..{number}"), "..data".into(), "a".into(), "d".into()];
        expected.extend(number.is_multiple_of(2).then(|| "even".into()));
        assert_eq!(tmpfs.names(), expected);
    }
    println!("{kills} kills over {reached} generations");
}
