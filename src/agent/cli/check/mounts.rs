//! Whether a volume is mounted so that a rotation could never be seen: a `subPath`, a single file, the
//! inside of one generation. Pure; the table of mounts is an argument.

use std::path::Path;

use crate::agent::config::Config;
use crate::agent::reason::{Reason, Report};

/// A line of `/proc/self/mountinfo`, as far as it is of interest.
struct Mount<'a> {
    /// What of the file system is mounted.
    root: &'a str,
    /// Where.
    at: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn read(line: &'a str) -> Option<Mount<'a>> {
        let (fields, rest) = line.split_once(" - ")?;
        let mut fields = fields.split(' ').skip(3);
        Some(Mount { root: fields.next()?, at: fields.next()?, kind: rest.split(' ').next()? })
    }

    /// Why what is mounted here does not follow a rotation, or may not.
    fn flaw(&self) -> Option<(&'static str, &'static str)> {
        let inside = self.root.split('/').any(|part| part.starts_with(".."));
        if inside {
            let why = "one generation is mounted there, and it stays that one for ever";
            return Some((why, "mount the whole volume, and read beneath it"));
        }
        let partial = self.kind == "tmpfs" && self.root != "/";
        (partial || self.root.contains("/volume-subpaths/")).then_some((
            "a part of another volume is mounted there (`subPath`)",
            "mount the whole volume here and where it is read: through a `subPath` a reader never sees a rotation",
        ))
    }
}

/// What is to be said of the volumes of a config, by the table of mounts.
pub(super) fn remarks(config: &Config, mountinfo: &str) -> Vec<Report> {
    let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::read).collect();
    let mut reports = Vec::new();
    for (name, volume) in &config.volumes {
        let on = |mount: &&Mount<'_>| volume.path.starts_with(Path::new(mount.at));
        // The last line of several at one place is the one that is seen.
        let own = mounts.iter().rev().filter(on).max_by_key(|mount| mount.at.len());
        let within = mounts.iter().filter(|mount| {
            let at = Path::new(mount.at);
            at.starts_with(&volume.path) && at != volume.path
        });
        for (mount, (why, hint)) in own.into_iter().filter_map(|m| Some((m, m.flaw()?))) {
            let what = format!("the volume `{name}` at {} is mounted in part", mount.at);
            reports.push(Report::new(Reason::VolumeRefused, what, why).hint(hint));
        }
        for mount in within {
            let what = format!("something is mounted at {}, inside the volume `{name}`", mount.at);
            let why =
                "a file that is a mount can't be replaced, so what is read there stays as it is";
            reports.push(
                Report::new(Reason::VolumeRefused, what, why)
                    .hint("mount the whole volume, without `subPath`"),
            );
        }
    }
    reports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::{self, Origin, Source, Surroundings};

    fn said(mountinfo: &str) -> Vec<String> {
        let text = "stores: { d: { kind: local, file: /s, key_file: /k } }\n\
                    secrets: { a: { from: \"d:a\" } }\nfiles: { f: { from: a } }\n\
                    volume: { path: /run/secrets/app }";
        let source = Source { origin: Origin::File("x".into()), text: text.to_owned() };
        let around = Surroundings { env: &|_| None, uid: 1, in_pod: true };
        let config = config::parse(&source, &around).unwrap().config;
        remarks(&config, mountinfo).iter().map(|report| report.what.clone()).collect()
    }

    #[test]
    fn a_whole_tmpfs_is_fine() {
        assert!(said("30 1 0:30 / / rw - overlay overlay rw\n31 30 0:31 / /run/secrets/app rw,relatime shared:7 - tmpfs tmpfs rw").is_empty());
        assert!(said("").is_empty() && said("nonsense").is_empty());
    }

    #[test]
    fn a_part_of_a_volume_and_the_inside_of_a_generation_are_told() {
        for root in ["/app", "/..2026", "/..5/certs"] {
            let line = format!("31 30 0:31 {root} /run/secrets/app rw - tmpfs tmpfs rw");
            assert_eq!(said(&line).len(), 1, "{root}");
        }
        let disk = "31 30 8:1 /var/lib/kubelet/pods/x/volume-subpaths/v/c/0 /run/secrets/app rw - ext4 /dev/x rw";
        assert_eq!(said(disk).len(), 1);
    }

    #[test]
    fn a_file_mounted_inside_is_told() {
        let lines = "31 30 0:31 / /run/secrets/app rw - tmpfs tmpfs rw\n\
                     32 31 0:31 /..1/key /run/secrets/app/key rw - tmpfs tmpfs rw";
        let said = said(lines);
        assert!(said.len() == 1 && said[0].contains("/run/secrets/app/key"), "{said:?}");
    }
}
