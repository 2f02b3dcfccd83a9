//! `install`: the binary into a volume that it shares with the application, for mode `env`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::args::InstallArgs;
use super::complain;
use crate::agent::reason::{Exit, Reason, Report, system_word};

/// Run by everybody, read and changed by nobody: what can't be read is not dumpable from its first
/// instruction.
const MODE: u32 = 0o111;

pub(super) fn install(args: &InstallArgs) -> Exit {
    match copy(&args.path) {
        Ok(()) => Exit::Done,
        Err(report) => {
            complain(&report);
            report.reason.exit()
        }
    }
}

/// 1. read the binary that runs; 2. write it beside its place, with nobody allowed anything;
/// 3. give it its mode; 4. move it into place, so that nobody ever runs half of it.
fn copy(to: &Path) -> Result<(), Report> {
    let mut from = File::open("/proc/self/exe").map_err(|error| unread(&error))?; // 1
    let to = if to.is_dir() { to.join("sidekey") } else { to.to_owned() };
    let new = beside(&to);
    let refused = |error: &io::Error| refused(&to, error);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(&error)),
        _ => {}
    }
    let written = write(&mut from, &new); // 2, 3
    let moved = written.and_then(|()| std::fs::rename(&new, &to)); // 4
    moved.map_err(|error| {
        let _ = std::fs::remove_file(&new);
        refused(&error)
    })
}

fn write(from: &mut File, new: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o200).open(new)?;
    io::copy(from, &mut file)?;
    file.set_permissions(std::fs::Permissions::from_mode(MODE))
}

fn beside(to: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().unwrap_or_default());
    name.push(".new");
    to.with_file_name(name)
}

fn unread(error: &io::Error) -> Report {
    Report::new(
        Reason::VolumeRefused,
        "can't read the binary to copy it",
        system_word(error.kind()),
    )
    .hint("in the image the group 64918 may: run `install` with `runAsGroup: 64918`")
}

fn refused(to: &Path, error: &io::Error) -> Report {
    let reason = match error.kind() {
        io::ErrorKind::StorageFull => Reason::VolumeFull,
        _ => Reason::VolumeRefused,
    };
    let what = format!("can't copy the binary to `{}`", to.display());
    let hint = match reason {
        Reason::VolumeFull => "give the volume a `sizeLimit` of 16Mi",
        _ => "name a file in a directory that Sidekey's uid may write to",
    };
    Report::new(reason, what, system_word(error.kind())).hint(hint)
}
