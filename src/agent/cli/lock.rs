//! What the agent is locked in with: the reach of its config, and what the system's resolver reads.

use std::path::{Path, PathBuf};

use crate::agent::config::{self, Config, Origin, Reach, Source};
use crate::agent::observe::{Event, Observe};
use crate::sandbox::{Grants, LockedIn, locked_in};

/// What the system reads to look up a name. The container engine writes them in place.
const RESOLVER: [&str; 6] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/host.conf",
    "/etc/gai.conf",
    "/etc/services",
];

/// Locks the process in, and says what is missing.
pub(super) fn lock(config: &Config, source: &Source, observe: &Observe) -> LockedIn {
    let locked = locked_in(&granted(config, source));
    for what in locked.confinement().remarks() {
        observe.say(&Event::Degraded { what });
    }
    locked
}

/// What stays reachable.
pub(super) fn granted(config: &Config, source: &Source) -> Grants {
    let own = match &source.origin {
        Origin::File(path) => Some(path.as_path()),
        Origin::Variable => None,
    };
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    grants(config::reach(config, own, &env))
}

fn grants(reach: Reach) -> Grants {
    let Reach { files, written, ports, signals } = reach;
    let mut read: Vec<PathBuf> = files.iter().flat_map(|file| directories(file)).collect();
    read.extend(RESOLVER.map(PathBuf::from));
    // A resolver of its own (systemd's) replaces its file in a directory of its own.
    read.extend(elsewhere(Path::new(RESOLVER[0])));
    read.extend(signals.then(|| PathBuf::from("/proc")));
    Grants { read: read.into_iter().collect(), write: written, connect: ports, signals }
}

/// The directory of a file, and that of what it is a link to now. Not the files: the kubelet
/// replaces them.
fn directories(file: &Path) -> impl Iterator<Item = PathBuf> {
    let own = match file.parent() {
        Some(parent) if parent == Path::new("") => PathBuf::from("."),
        // Nobody mounts on the root, and a rule for it would be none.
        Some(parent) if parent == Path::new("/") => file.to_owned(),
        Some(parent) => parent.to_owned(),
        None => file.to_owned(),
    };
    [own].into_iter().chain(elsewhere(file))
}

/// The directory of what a link leads to, if it is another one.
fn elsewhere(link: &Path) -> Option<PathBuf> {
    let target = std::fs::canonicalize(link).ok()?;
    let directory = target.parent().filter(|parent| *parent != Path::new("/"))?;
    let own = std::fs::canonicalize(link.parent()?).ok()?;
    (!directory.starts_with(own)).then(|| directory.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_rule_names_the_directory_of_a_file_and_of_what_it_is_a_link_to() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        let path = |name: &str| root.join(name);
        for dir in ["mount", "mount/..1", "other"] {
            std::fs::create_dir(path(dir)).unwrap();
        }
        for file in ["mount/..1/token", "other/real", "mount/plain"] {
            std::fs::write(path(file), "").unwrap();
        }
        symlink("..1", path("mount/..data")).unwrap();
        symlink("..data/token", path("mount/token")).unwrap();
        symlink("../other/real", path("mount/link")).unwrap();
        let of = |name: &str| directories(&path(name)).collect::<Vec<_>>();
        // What the kubelet swaps is beneath the mount.
        assert_eq!(of("mount/token"), [path("mount")]);
        assert_eq!(of("mount/plain"), [path("mount")]);
        assert_eq!(of("mount/not-yet"), [path("mount")]);
        assert_eq!(of("mount/link"), [path("mount"), path("other")]);
        assert_eq!(directories(Path::new("/config.yaml")).next(), Some("/config.yaml".into()));
        assert_eq!(directories(Path::new("config.yaml")).next(), Some(".".into()));
    }

    #[test]
    fn processes_are_looked_up_only_for_a_signal() {
        let with = |signals| grants(Reach { signals, ..Reach::default() });
        assert!(!with(false).read.contains(Path::new("/proc")));
        assert!(with(true).read.contains(Path::new("/proc")) && with(true).signals);
        assert!(with(false).write.is_empty());
    }
}
