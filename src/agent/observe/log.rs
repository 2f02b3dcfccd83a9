//! Log and audit lines on stderr. A full log pipe costs lines, never time.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::Event;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// The least important lines that are written.
pub type Level = LevelFilter;

/// Begins logging, and gives the format. Unless asked for: text on a terminal, JSON otherwise.
///
/// Only what Sidekey itself says is shown: libraries below may log requests at `trace`.
pub fn init(format: Option<Format>, level: Level) -> Format {
    let terminal = io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { Format::Text } else { Format::Json });
    let only_ours = Targets::new().with_target("sidekey", level);
    let registry = tracing_subscriber::registry().with(only_ours);
    let layer = tracing_subscriber::fmt::layer().with_writer(LossyStderr::default);
    let _ = match format {
        Format::Text => registry.with(layer).try_init(),
        Format::Json => registry.with(layer.json().flatten_event(true)).try_init(),
    };
    format
}

/// Lines lost because the reader of our log did not keep up.
static LOST: AtomicU64 = AtomicU64::new(0);

/// A write of at most this many bytes to a pipe that is ready neither blocks nor tears (`PIPE_BUF`,
/// pipe(7)).
const LONGEST_LINE: usize = 4096;

/// stderr, but a line is dropped and counted rather than waited for.
///
/// The descriptor is not made non-blocking, because others share it; it is asked first.
#[derive(Default)]
struct LossyStderr(Vec<u8>);

impl Write for LossyStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LossyStderr {
    fn drop(&mut self) {
        let stderr = io::stderr();
        if self.0.len() > LONGEST_LINE {
            self.0.truncate(LONGEST_LINE - 1);
            self.0.push(b'\n');
        }
        let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if matches!(poll(&mut fds, Some(&now)), Ok(1)) {
            let _ = stderr.lock().write_all(&self.0);
        } else {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Writes an event as a log line; accesses and deliveries are audit lines.
pub(super) fn write(event: &Event<'_>) {
    let lost = LOST.swap(0, Ordering::Relaxed);
    if lost > 0 {
        warn!(lost, "log lines were lost: nobody read them in time");
    }
    match event {
        Event::Started { command } => {
            info!(command, version = env!("CARGO_PKG_VERSION"), "started");
        }
        Event::Graded { volume, grade, flaws } => info!(%volume, grade, flaws, "volume checked"),
        Event::Remarked { volume, remark } => info!(%volume, remark, "volume noticed"),
        Event::Degraded { what } => warn!(what, "a protection is missing here"),
        Event::Asked { store, outcome } => trace!(%store, outcome, "store asked"),
        Event::Fetched { secret, result, version } => {
            let version = version.map(ToString::to_string).unwrap_or_default();
            let result = result.word();
            info!(target: "sidekey::audit", %secret, result, version, "access");
        }
        Event::FetchFailed { secret, reason } => {
            warn!(target: "sidekey::audit", %secret, reason = reason.word(), "access failed");
        }
        Event::Rotated { generation, volume, changed, removed } => {
            let (changed, removed) = (join(changed), join(removed));
            info!(target: "sidekey::audit", generation, %volume, changed, removed, "delivery");
        }
        Event::RotationRefused { group, reason } => {
            warn!(group, reason = reason.word(), "group refused, its files stay as they are");
        }
        Event::RolledBack { refused, generation } => {
            warn!(refused, generation, "rolled back");
        }
        Event::HookTold { hook, generation, result } => {
            info!(hook, generation, result = result.word(), "hook told");
        }
        Event::Restarted { hook, done } => warn!(hook, done, "process restarted"),
        Event::ConfigApplied => info!("changed config in use"),
        Event::ConfigKept { reason } => warn!(reason = reason.word(), "changed config not in use"),
        Event::Ready { ready, reasons } => {
            let reasons: Vec<&str> = reasons.iter().map(|reason| reason.word()).collect();
            info!(ready, reasons = reasons.join(", "), "readiness changed");
        }
        Event::Ended { exit } => debug!(code = exit.code(), "ended"),
    }
}

fn join(names: &[impl ToString]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Writes a report for a person: what, why and hint in one line.
pub fn report(report: &crate::agent::reason::Report) {
    let hint = report.hint.as_deref().unwrap_or_default();
    error!(reason = report.reason.word(), why = report.why, hint, "{}", report.what);
}
