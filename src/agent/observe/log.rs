//! Log and audit lines on stderr. A full log pipe costs lines, never time.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing::{debug, error, info, trace, warn};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::{Event, LeaseStep};

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
/// Whether the line that was lost last stopped in its middle, so that the next one begins a new line.
static TORN: AtomicBool = AtomicBool::new(false);

/// A write of at most this many bytes to a pipe that is ready does not block (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

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
        if TORN.swap(false, Ordering::Relaxed) {
            self.0.insert(0, b'\n');
        }
        match send(&mut io::stderr().lock(), &self.0) {
            Sent::Whole => return,
            Sent::Part => TORN.store(true, Ordering::Relaxed),
            Sent::Nothing => {}
        }
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// How much of a line went out.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Whole,
    Part,
    Nothing,
}

/// Writes a line without waiting for its reader. A line may be longer than a pipe takes at once (a
/// delivery of a hundred files), so it goes in pieces.
fn send(to: &mut (impl Write + AsFd), line: &[u8]) -> Sent {
    let mut sent = Sent::Nothing;
    for piece in line.chunks(PIECE) {
        if !takes(to) || to.write_all(piece).is_err() {
            return sent;
        }
        sent = Sent::Part;
    }
    Sent::Whole
}

/// Whether a write would not have to wait.
fn takes(to: &impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(to, PollFlags::OUT)], Some(&now)), Ok(1))
}

/// Says how many lines were lost. This line may be lost as well: then the number stays for the next.
fn own_up() {
    let lost = LOST.load(Ordering::Relaxed);
    if lost == 0 {
        return;
    }
    warn!(lost, "log lines were lost: nobody read them in time");
    let told = LOST.load(Ordering::Relaxed) == lost;
    LOST.fetch_sub(if told { lost } else { 1 }, Ordering::Relaxed);
}

/// Writes an event as a log line; accesses and deliveries are audit lines.
pub(super) fn write(event: &Event<'_>) {
    own_up();
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
        Event::Lease { secret, what: what @ (LeaseStep::Renewed | LeaseStep::Revoked) } => {
            info!(target: "sidekey::audit", %secret, what = what.word(), "lease");
        }
        Event::Lease { secret, what } => {
            warn!(target: "sidekey::audit", %secret, what = what.word(), "lease");
        }
        Event::Login { store, what } => {
            info!(target: "sidekey::audit", %store, what, "login");
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
        Event::CommandRenewed => info!("command ends and is started with what is new"),
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

#[cfg(test)]
mod tests {
    use std::io::{PipeWriter, Read};

    use super::*;

    /// Fills a pipe until it takes no more, and says with how many bytes.
    fn fill(pipe: &mut PipeWriter) -> usize {
        let mut bytes = 0;
        while send(pipe, &[b'x'; PIECE]) == Sent::Whole {
            bytes += PIECE;
        }
        bytes
    }

    #[test]
    fn a_full_pipe_costs_a_line_and_no_time() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let mut bytes = vec![0; fill(&mut writer)];
        assert_eq!(send(&mut writer, b"lost\n"), Sent::Nothing);
        reader.read_exact(&mut bytes).unwrap();
        assert!(bytes.iter().all(|&byte| byte == b'x'));
        assert_eq!(send(&mut writer, b"read\n"), Sent::Whole);
        drop(writer);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "read\n");
    }

    #[test]
    fn a_long_line_arrives_whole_or_is_known_to_be_torn() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let line = [[b'a'; 10_000].as_slice(), b"\n"].concat();
        assert_eq!(send(&mut writer, &line), Sent::Whole);
        let mut got = vec![0; line.len()];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(got, line);
        fill(&mut writer);
        reader.read_exact(&mut [0; PIECE]).unwrap();
        assert_eq!(send(&mut writer, &line), Sent::Part);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(send(&mut writer, b"line\n"), Sent::Nothing);
    }
}
