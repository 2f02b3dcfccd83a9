//! A place in memory where a person edits plaintext: a private directory on a tmpfs, wiped and
//! removed in any case.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::MAX_STORE;
use crate::agent::reason::{Reason, Report, system_word};
use crate::agent::volume::medium;
use crate::sandbox::door::Door;
use crate::secret::SecretBytes;

/// The directory.
pub(super) struct Desk(PathBuf);

impl Desk {
    /// Makes the directory under the first of `bases` that is a tmpfs, and puts `text` into it.
    pub(super) fn set_up(
        bases: impl IntoIterator<Item = PathBuf>,
        text: &SecretBytes,
    ) -> Result<Desk, Report> {
        for base in bases {
            let medium = File::open(&base).and_then(|dir| medium(dir.as_fd()));
            if !medium.is_ok_and(|medium| medium.in_memory()) {
                continue;
            }
            let dir = base.join(format!("sidekey-edit-{:016x}", random()));
            if DirBuilder::new().mode(0o700).create(&dir).is_err() {
                continue;
            }
            let desk = Desk(dir);
            let file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(desk.file());
            let written = file.and_then(|mut file| file.write_all(text.expose()));
            return written.map(|()| desk).map_err(|e| no_desk(&system_word(e.kind())));
        }
        Err(no_desk("neither $XDG_RUNTIME_DIR nor /dev/shm is a tmpfs that we may write to"))
    }

    fn file(&self) -> PathBuf {
        self.0.join("secrets.yaml")
    }

    /// Runs the editor and waits for it. `editor` is a program and its arguments, without a shell.
    #[expect(clippy::disallowed_methods, reason = "the editor is the user's own program")]
    pub(super) fn edit(&self, editor: &OsString) -> Result<(), Report> {
        let editor = editor.to_string_lossy();
        let mut words = editor.split_whitespace();
        let failed = |why: String| {
            Report::new(Reason::ConfigInvalid, format!("the editor `{editor}` failed"), why).hint(
                "set $VISUAL or $EDITOR to a program that waits until you are done; nothing was changed",
            )
        };
        let program = words.next().ok_or_else(|| failed("its name is empty".to_owned()))?;
        // An interrupt is the editor's; it must not end us before the desk is cleared.
        let held = Held::now().map_err(|error| failed(system_word(error.kind())))?;
        let mut command = Command::new(program);
        command.args(words).args(discreet(program)).arg(self.file());
        // Backups and undo files stay on the desk.
        let status = command.env("TMPDIR", &self.0).status();
        drop(held);
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(system_word(error.kind()))),
        }
    }

    /// What stands on the desk now.
    pub(super) fn text(&self) -> Result<SecretBytes, Report> {
        let read = Door::open(&self.file()).and_then(|door| door.read(MAX_STORE));
        read.map(SecretBytes::from).map_err(|error| no_desk(&system_word(error.kind())))
    }
}

impl Drop for Desk {
    /// Whatever the editor left, its backups included, goes.
    fn drop(&mut self) {
        if let Ok(entries) = std::fs::read_dir(&self.0) {
            for entry in entries.flatten() {
                wipe(&entry.path());
            }
        }
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    let filled = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    // The directory is made anew or not at all, so the name need not be a secret.
    filled.map_or_else(|_| u64::from(std::process::id()), |_| u64::from_le_bytes(bytes))
}

/// What keeps Vim from writing the text elsewhere: no swap file, no history of registers, no undo
/// file. Other editors keep such files beside the text unless they are told otherwise.
fn discreet(program: &str) -> &'static [&'static str] {
    match Path::new(program).file_name().and_then(|name| name.to_str()) {
        Some("vim" | "nvim" | "gvim") => {
            &["-n", "-i", "NONE", "--cmd", "set noundofile nobackup nowritebackup"]
        }
        _ => &[],
    }
}

fn wipe(path: &Path) {
    let regular = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    if !regular {
        return;
    }
    let Ok(mut file) = OpenOptions::new().write(true).open(path) else { return };
    let length = file.metadata().map_or(0, |meta| meta.len());
    let _ = io::copy(&mut io::repeat(0).take(length), &mut file);
}

fn no_desk(why: &str) -> Report {
    Report::new(Reason::VolumeNotTmpfs, "there is no place in memory to edit in", why)
        .hint("set XDG_RUNTIME_DIR to a tmpfs of yours; the plaintext is never put on a disk")
}

/// Signals that would end us are caught, for as long as this process lives, and looked at by nobody.
struct Held(#[expect(dead_code, reason = "held, not read")] Vec<Signal>);

impl Held {
    fn now() -> io::Result<Held> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _inside = runtime.enter();
        let kinds = [
            SignalKind::interrupt(),
            SignalKind::quit(),
            SignalKind::terminate(),
            SignalKind::hangup(),
        ];
        kinds.into_iter().map(signal).collect::<Result<_, _>>().map(Held)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn shm() -> [PathBuf; 1] {
        [PathBuf::from("/dev/shm")]
    }

    fn text() -> SecretBytes {
        SecretBytes::copy_of(b"db: {password: hunter2}\n")
    }

    #[test]
    fn the_desk_is_private_and_nothing_of_it_stays() {
        let desk = Desk::set_up(shm(), &text()).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&desk.0), mode(&desk.file())), (0o700, 0o600));
        let copy = desk.0.join("copy");
        std::fs::copy(desk.file(), &copy).unwrap();
        let mut still_open = File::open(&copy).unwrap();
        std::fs::create_dir(desk.0.join("dir")).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", desk.0.join("link")).unwrap();
        let dir = desk.0.clone();
        drop(desk);
        assert!(!dir.exists());
        let mut left = Vec::new();
        still_open.read_to_end(&mut left).unwrap();
        assert!(left.iter().all(|&b| b == 0), "what others still hold open is wiped");
        assert!(std::fs::metadata("/etc/hostname").is_ok_and(|meta| meta.len() > 0));
    }

    #[test]
    fn a_disk_is_no_place_for_plaintext() {
        let disk = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let report = Desk::set_up([disk, "/nowhere".into()], &text()).err().unwrap();
        assert_eq!(report.reason, Reason::VolumeNotTmpfs);
    }

    #[test]
    fn an_editor_is_a_program_with_arguments_and_no_shell() {
        let desk = Desk::set_up(shm(), &text()).unwrap();
        desk.edit(&"sed -i s/hunter2/better/".into()).unwrap();
        assert_eq!(desk.text().unwrap().expose(), b"db: {password: better}\n");
        for broken in ["", "false", "/no/such/editor", "true; rm"] {
            let report = desk.edit(&broken.into()).unwrap_err();
            assert!(report.what.contains(broken) && report.hint.is_some(), "{report}");
        }
    }

    #[test]
    fn vim_is_told_to_be_discreet() {
        assert!(discreet("/usr/bin/nvim").contains(&"-n"));
        assert!(discreet("nano").is_empty() && discreet("vi").is_empty());
    }
}
