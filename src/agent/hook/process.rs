//! Finds processes by what the config says of them, and knows them again later.

use std::io;
use std::path::Path;

use crate::agent::config::ProcessMatch;

/// A process, recognizable even if its number is given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since boot: together with the number unique.
    pub start: u64,
}

/// What `/proc/PID/stat` says (`proc_pid_stat(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// The short name, at most 15 bytes.
    pub comm: String,
    /// `Z` for one that ended and waits for its parent.
    pub state: char,
    /// The parent.
    pub parent: u32,
    /// Field 22.
    pub start: u64,
}

/// Bytes of the short name that the kernel keeps (`TASK_COMM_LEN` less the NUL).
const COMM: usize = 15;

/// Finds every process that fits and is not one of `not_us`. Of a family, a parent and its workers
/// say, only the eldest count: the parent is who reloads.
///
/// `resolved` are the numbers that the helper found for an executable.
pub(super) fn find(
    target: &ProcessMatch,
    resolved: Option<&[u32]>,
    not_us: &[u32],
) -> io::Result<Vec<Found>> {
    let mut fitting: Vec<(u32, Stat)> = Vec::new();
    for pid in candidates(target, resolved)? {
        if not_us.contains(&pid) {
            continue;
        }
        let Some(stat) = stat(pid).filter(|stat| stat.state != 'Z') else { continue };
        if resolved.is_some() || fits(target, pid, &stat) {
            fitting.push((pid, stat));
        }
    }
    let numbers: Vec<u32> = fitting.iter().map(|(pid, _)| *pid).collect();
    let eldest = fitting.into_iter().filter(|(_, stat)| !numbers.contains(&stat.parent));
    Ok(eldest.map(|(pid, stat)| Found { pid, start: stat.start }).collect())
}

/// Whether the process is still the one that was found.
pub(super) fn is_same(found: Found) -> bool {
    stat(found.pid).is_some_and(|stat| stat.start == found.start && stat.state != 'Z')
}

fn candidates(target: &ProcessMatch, resolved: Option<&[u32]>) -> io::Result<Vec<u32>> {
    if let Some(resolved) = resolved {
        return Ok(resolved.to_vec());
    }
    if let ProcessMatch::PidFile(path) = target {
        let number = read(path).and_then(|text| text.trim().parse().ok());
        return Ok(number.into_iter().collect());
    }
    all()
}

/// The numbers of all processes that we see.
pub(super) fn all() -> io::Result<Vec<u32>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

fn fits(target: &ProcessMatch, pid: u32, stat: &Stat) -> bool {
    match target {
        ProcessMatch::Name(name) => {
            let cut = name.len().min(COMM);
            stat.comm.as_bytes() == &name.as_bytes()[..cut]
        }
        ProcessMatch::Exe(path) => {
            std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == *path)
        }
        ProcessMatch::Cmdline(part) => {
            let cmdline = read(Path::new(&format!("/proc/{pid}/cmdline"))).unwrap_or_default();
            cmdline.trim_end_matches('\0').replace('\0', " ").contains(part.as_str())
        }
        ProcessMatch::PidFile(_) => true,
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&read(Path::new(&format!("/proc/{pid}/stat")))?)
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name may hold anything, brackets included: it ends at the last one.
    let (open, close) = (text.find('(')?, text.rfind(')')?);
    let comm = text.get(open + 1..close)?.to_owned();
    let fields: Vec<&str> = text.get(close + 1..)?.split_ascii_whitespace().collect();
    Some(Stat {
        comm,
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        // Field 22, and the first one here is field 3.
        start: fields.get(19)?.parse().ok()?,
    })
}

/// What `/proc/PID/status` says about signals and identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dispositions {
    caught: u64,
    ignored: u64,
    /// The effective uid.
    pub uid: u32,
}

impl Dispositions {
    /// Of a process that is there.
    pub(super) fn of(pid: u32) -> Option<Dispositions> {
        parse_status(&read(Path::new(&format!("/proc/{pid}/status")))?)
    }

    /// Whether it has a handler.
    pub(super) fn catches(&self, signal: i32) -> bool {
        bit(self.caught, signal)
    }

    /// Whether it ignores the signal.
    pub(super) fn ignores(&self, signal: i32) -> bool {
        bit(self.ignored, signal)
    }
}

fn bit(mask: u64, signal: i32) -> bool {
    u32::try_from(signal - 1).ok().and_then(|n| 1_u64.checked_shl(n)).is_some_and(|b| mask & b != 0)
}

fn parse_status(text: &str) -> Option<Dispositions> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let mask = |name: &str| u64::from_str_radix(field(name)?, 16).ok();
    Some(Dispositions {
        caught: mask("SigCgt:")?,
        ignored: mask("SigIgn:")?,
        uid: field("Uid:")?.split_ascii_whitespace().nth(1)?.parse().ok()?,
    })
}

fn read(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    // A command line can have megabytes; what tells one process from another is in front.
    std::fs::File::open(path).ok()?.take(64 * 1024).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_confuse_the_fields() {
        let rest = "S 42 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 987654 0 0";
        for name in ["nginx", ") (", "a) R 1 (b", ""] {
            let stat = parse_stat(&format!("7 ({name}) {rest}")).unwrap();
            let comm = name.to_owned();
            assert_eq!(stat, Stat { comm, state: 'S', parent: 42, start: 987_654 });
        }
        assert_eq!(parse_stat("7 (nginx"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn signals_are_read_from_the_masks() {
        let text =
            "Name:\tx\nUid:\t0\t33\t0\t0\nSigIgn:\t0000000000001000\nSigCgt:\t0000000000004001\n";
        let signals = parse_status(text).unwrap();
        assert!(signals.catches(1) && signals.catches(15) && !signals.catches(10));
        assert!(signals.ignores(13) && !signals.ignores(1));
        assert_eq!(signals.uid, 33);
    }

    #[test]
    fn we_find_ourselves_by_every_sign_unless_told_not_to() {
        let us = std::process::id();
        let name = stat(us).unwrap().comm;
        let exe = std::env::current_exe().unwrap();
        let pid_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(pid_file.path(), format!("{us}\n")).unwrap();
        for target in [
            ProcessMatch::Name(name),
            ProcessMatch::Exe(exe.clone()),
            ProcessMatch::Cmdline(exe.display().to_string()),
            ProcessMatch::PidFile(pid_file.path().to_owned()),
        ] {
            let found = find(&target, None, &[]).unwrap();
            assert!(found.iter().any(|found| found.pid == us), "{target:?}");
            assert!(found.iter().all(|&found| is_same(found)));
            let others = find(&target, None, &[us]).unwrap();
            assert!(others.iter().all(|found| found.pid != us), "{target:?}");
        }
    }
}
