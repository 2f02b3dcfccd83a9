//! Readers that follow the documented protocol (`docs/reading-files.md`) while the volume rotates.

#![cfg(feature = "agent")]
#![expect(clippy::unwrap_used, reason = "a reader that fails is a test that fails")]

#[path = "support/volume.rs"]
mod support;

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open, openat};
use sidekey::agent::config::VolumeConfig;
use sidekey::agent::volume::{Gap, Published, Volume};
use support::{Set, Tmpfs, config, volume_name};

/// Rotations and reads of the promise in DESIGN.md.
const SWAPS: u64 = 10_000;
const READS: u64 = 1_000_000;
/// How close rotations come. Old generations live 2 s all the same, so about a thousand are there.
const GAP: Duration = Duration::from_millis(2);

/// What the files of a generation hold: its number, again and again, to a length of its own.
fn text(number: u64) -> String {
    format!("{number:>16}").repeat(1 + usize::try_from(number % 400).unwrap())
}

/// What went wrong in the eyes of a reader.
#[derive(Default)]
struct Verdict {
    reads: AtomicU64,
    missing: AtomicU64,
    truncated: AtomicU64,
    mixed: AtomicU64,
}

/// One read as the documentation tells: open `..data` once, and every file beneath that.
fn read_once(root: &Path, verdict: &Verdict) {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let data = open(root.join("..data"), flags | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut numbers = Vec::new();
    for name in ["user", "deep/password"] {
        let Ok(file) = openat(&data, name, flags, Mode::empty()) else {
            verdict.missing.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let mut found = String::new();
        std::fs::File::from(file).read_to_string(&mut found).unwrap();
        let number = found.get(..16).and_then(|first| first.trim().parse::<u64>().ok());
        if number.is_none_or(|number| found != text(number)) {
            verdict.truncated.fetch_add(1, Ordering::Relaxed);
        }
        numbers.push(number);
    }
    if numbers[0] != numbers[1] {
        verdict.mixed.fetch_add(1, Ordering::Relaxed);
    }
    verdict.reads.fetch_add(1, Ordering::Relaxed);
}

#[test]
fn a_million_reads_over_ten_thousand_swaps_are_never_truncated_mixed_or_missing() {
    let tmpfs = Tmpfs::new();
    // Room for all generations of 2 s, and more where the machine is slow to remove them.
    let config = VolumeConfig { size: 1 << 30, ..config(tmpfs.path()) };
    let start = Instant::now();
    let mut volume = Volume::open(&volume_name(), &config, Gap::of(GAP), Duration::ZERO).unwrap();
    let mut publish = |number| {
        let text = text(number);
        let set = Set::of(&[("user", &text), ("deep/password", &text)]);
        loop {
            match volume.publish(number, &set.desired(), start.elapsed()).unwrap() {
                Published::Early { until } => {
                    std::thread::sleep(until.saturating_sub(start.elapsed()));
                }
                published => return assert!(matches!(published, Published::Swapped { .. })),
            }
        }
    };
    publish(1);
    let verdict = Verdict::default();
    let rotating = AtomicBool::new(true);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let enough = || verdict.reads.load(Ordering::Relaxed) >= READS;
                while rotating.load(Ordering::Relaxed) || !enough() {
                    read_once(tmpfs.path(), &verdict);
                }
            });
        }
        (2..=SWAPS + 1).for_each(&mut publish);
        rotating.store(false, Ordering::Relaxed);
    });
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!("{} reads over {SWAPS} swaps in {:?}", count(&verdict.reads), start.elapsed());
    assert!(count(&verdict.reads) >= READS);
    assert_eq!(
        (count(&verdict.missing), count(&verdict.truncated), count(&verdict.mixed)),
        (0, 0, 0),
        "missing, truncated, mixed"
    );
    volume.tidy(start.elapsed() + Duration::from_hours(1));
    let last = format!("..{}", SWAPS + 1);
    assert_eq!(tmpfs.names(), [&last, "..data", "deep", "user"]);
}
