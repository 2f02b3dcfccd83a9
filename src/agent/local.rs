//! `sidekey local`: make, read and change an encrypted local store. No plaintext reaches a disk.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use zeroize::Zeroize;

use crate::agent::reason::{Reason, Report};
use crate::agent::store::local::{Document, Fault, Key, LocalError, generate_key};
use crate::agent::volume::medium;
use crate::sandbox::door::Door;
use crate::secret::{FieldPath, SecretBytes};

/// Bytes of an encrypted file, and of a key.
const MAX_FILE: usize = 4 * 1024 * 1024;
const MAX_KEY: usize = 64 * 1024;

/// Makes a key and gives its public recipient. An existing file is never touched.
pub fn keygen(file: &Path) -> Result<String, Report> {
    let (text, recipient) = generate_key();
    let mut options = OpenOptions::new();
    let created = options.write(true).create_new(true).mode(0o600).open(file);
    created.and_then(|mut created| created.write_all(text.expose())).map_err(|error| {
        let what = format!("can't write the key `{}`", file.display());
        Report::new(Reason::VolumeRefused, what, error.kind().to_string())
            .hint("give a path that is not there yet, in a directory of yours")
    })?;
    Ok(recipient)
}

/// An encrypted file and its key, named on the command line.
pub struct Store<'a> {
    /// The encrypted file.
    pub file: &'a Path,
    /// The key.
    pub key_file: &'a Path,
}

impl Store<'_> {
    /// The exact bytes of `NAME` or `NAME.FIELD`.
    pub fn get(&self, name: &str) -> Result<SecretBytes, Report> {
        let document = self.read(&self.key()?)?;
        let (secret, field) = split(name);
        let missing = || self.report(Fault::NotThere { name: secret.to_owned(), near: None });
        let value = document.get(secret).ok_or_else(missing)?;
        let path = field.map_or(FieldPath::Whole, |field| FieldPath::Field(field.to_owned()));
        let fields = || value.field_names().into_iter().map(str::to_owned).collect();
        let no_field = || self.report(Fault::NoField { name: secret.to_owned(), fields: fields() });
        let found = value.at(&path).ok_or_else(no_field)?;
        let bytes = found.to_bytes().map_err(|_| self.report(Fault::NotText))?;
        bytes.ok_or_else(no_field)
    }

    /// Sets `NAME` or `NAME.FIELD`; the file is made if it is not there.
    pub fn set(&self, name: &str, value: SecretBytes) -> Result<(), Report> {
        if std::str::from_utf8(value.expose()).is_err() {
            return Err(self.report(Fault::NotText));
        }
        let key = self.key()?;
        let mut document = if self.file.exists() { self.read(&key)? } else { Document::default() };
        let (secret, field) = split(name);
        document.set(secret, field, value);
        let text = document.write().map_err(|fault| self.report(fault))?;
        self.replace(&key, &text, &document.recipients)
    }

    /// Opens the whole text in an editor, in memory, and encrypts what comes back, also for further
    /// recipients. Says whether anything changed.
    pub fn edit(&self, editor: &OsString, recipients: &[String]) -> Result<bool, Report> {
        let key = self.key()?;
        let before = self.text(&key)?;
        let desk = Desk::set_up(&before)?;
        let after = loop {
            desk.edit(editor)?;
            let after = desk.text()?;
            match Document::read(&after) {
                Ok(_) => break after,
                Err(fault) => {
                    let report = self.report(fault);
                    if !wants_to_try_again(&report) {
                        return Err(report);
                    }
                }
            }
        };
        let mut document = Document::read(&after).map_err(|fault| self.report(fault))?;
        let new = recipients.iter().filter(|new| !document.recipients.contains(new));
        let new: Vec<String> = new.cloned().collect();
        if after.ct_eq(&before) && new.is_empty() && self.file.exists() {
            return Ok(false);
        }
        // The text is kept as it was edited, comments included, unless it must name new recipients.
        document.recipients.extend(new.iter().cloned());
        let text = if new.is_empty() { after } else { with_recipients(&after, &new) };
        self.replace(&key, &text, &document.recipients)?;
        Ok(true)
    }

    fn key(&self) -> Result<Key, Report> {
        let read = Door::open(self.key_file).and_then(|door| door.read(MAX_KEY));
        let text = read.map_err(|error| {
            self.report(Fault::KeyFile { file: self.key_file.to_owned(), kind: error.kind() })
        })?;
        Key::read(text, self.key_file).map_err(|fault| self.report(fault))
    }

    fn text(&self, key: &Key) -> Result<SecretBytes, Report> {
        if !self.file.exists() {
            let first = "# One secret a name, its fields below it.\n# db:\n#   password: …\n";
            return Ok(SecretBytes::from(first.to_owned()));
        }
        let read = Door::open(self.file).and_then(|door| door.read(MAX_FILE));
        let sealed = read.map_err(|error| self.report(Fault::File { kind: error.kind() }))?;
        key.open(&sealed).map_err(|fault| self.report(fault))
    }

    fn read(&self, key: &Key) -> Result<Document, Report> {
        let read = Door::open(self.file).and_then(|door| door.read(MAX_FILE));
        let sealed = read.map_err(|error| self.report(Fault::File { kind: error.kind() }))?;
        let text = key.open(&sealed).map_err(|fault| self.report(fault))?;
        Document::read(&text).map_err(|fault| self.report(fault))
    }

    /// Writes the new file beside the old one and renames it: a reader sees one or the other.
    fn replace(&self, key: &Key, text: &SecretBytes, recipients: &[String]) -> Result<(), Report> {
        let sealed = key.seal(text, recipients).map_err(|fault| self.report(fault))?;
        let name = self.file.file_name().unwrap_or_default().to_string_lossy();
        let new = self.file.with_file_name(format!(".{name}.{}", std::process::id()));
        let write = || -> io::Result<()> {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&sealed)?;
            file.sync_all()?;
            std::fs::rename(&new, self.file)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&new);
            self.report(Fault::File { kind: error.kind() })
        })
    }

    fn report(&self, fault: Fault) -> Report {
        LocalError { file: self.file.to_owned(), fault }.report()
    }
}

/// `NAME.FIELD` at the first dot, as references have it.
fn split(name: &str) -> (&str, Option<&str>) {
    match name.split_once('.') {
        Some((name, field)) => (name, Some(field)),
        None => (name, None),
    }
}

fn with_recipients(text: &SecretBytes, new: &[String]) -> SecretBytes {
    let mut out = format!("# recipients: {}\n", new.join(" ")).into_bytes();
    out.reserve_exact(text.len());
    out.extend(text.expose());
    SecretBytes::from(out)
}

/// Shows what is wrong and, at a terminal, asks whether to open the editor again.
fn wants_to_try_again(report: &Report) -> bool {
    use std::io::IsTerminal;
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return false;
    }
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{report}\nPress Enter to edit again, or Ctrl-D to give up.");
    let mut line = String::new();
    stdin.read_line(&mut line).is_ok_and(|length| length > 0)
}

/// A private directory in memory with the plaintext in it; wiped and removed in any case.
struct Desk(PathBuf);

impl Desk {
    fn set_up(text: &SecretBytes) -> Result<Desk, Report> {
        let mut random = [0; 8];
        let random =
            match rustix::rand::getrandom(&mut random[..], rustix::rand::GetRandomFlags::empty()) {
                Ok(_) => u64::from_le_bytes(random),
                Err(_) => u64::from(std::process::id()),
            };
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        for base in runtime.into_iter().chain([PathBuf::from("/dev/shm")]) {
            let in_memory = File::open(&base).and_then(|dir| medium(dir.as_fd()));
            if !in_memory.is_ok_and(|medium| medium.in_memory()) {
                continue;
            }
            let dir = base.join(format!("sidekey-edit-{random:016x}"));
            if DirBuilder::new().mode(0o700).create(&dir).is_err() {
                continue;
            }
            let desk = Desk(dir);
            let file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(desk.file());
            return match file.and_then(|mut file| file.write_all(text.expose())) {
                Ok(()) => Ok(desk),
                Err(error) => Err(no_desk(&error.kind().to_string())),
            };
        }
        Err(no_desk("neither $XDG_RUNTIME_DIR nor /dev/shm is a tmpfs that we may write to"))
    }

    fn file(&self) -> PathBuf {
        self.0.join("secrets.yaml")
    }

    #[expect(clippy::disallowed_methods, reason = "the editor is the user's own program")]
    fn edit(&self, editor: &OsString) -> Result<(), Report> {
        let editor = editor.to_string_lossy();
        let mut words = editor.split_whitespace();
        let failed = |why: String| {
            Report::new(Reason::ConfigInvalid, format!("the editor `{editor}` failed"), why)
                .hint("set $VISUAL or $EDITOR to a program that waits until you are done; nothing was changed")
        };
        let program = words.next().ok_or_else(|| failed("its name is empty".to_owned()))?;
        let status = Command::new(program).args(words).arg(self.file()).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(status.to_string())),
            Err(error) => Err(failed(error.kind().to_string())),
        }
    }

    fn text(&self) -> Result<SecretBytes, Report> {
        let read = Door::open(&self.file()).and_then(|door| door.read(MAX_FILE));
        read.map(SecretBytes::from).map_err(|error| no_desk(&error.kind().to_string()))
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

fn wipe(path: &Path) {
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else { return };
    let length = file.metadata().map_or(0, |meta| meta.len());
    let _ = io::copy(&mut io::repeat(0).take(length), &mut file);
}

fn no_desk(why: &str) -> Report {
    Report::new(Reason::VolumeNotTmpfs, "there is no place in memory to edit in", why)
        .hint("set XDG_RUNTIME_DIR to a tmpfs of yours; the plaintext is never put on a disk")
}

/// Reads a value: all of stdin, or one line without echo at a terminal.
pub fn read_value(prompt: &str) -> io::Result<SecretBytes> {
    use std::io::IsTerminal;
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut bytes = Vec::with_capacity(64 * 1024);
        stdin.lock().take(MAX_FILE as u64).read_to_end(&mut bytes)?;
        return Ok(SecretBytes::from(bytes));
    }
    let _ = write!(io::stderr().lock(), "{prompt}: ");
    let before = rustix::termios::tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &silent)?;
    let mut line = String::with_capacity(4096);
    let read = stdin.read_line(&mut line);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Flush, &before)?;
    let _ = writeln!(io::stderr().lock());
    read?;
    let value = SecretBytes::copy_of(line.trim_end_matches(['\r', '\n']).as_bytes());
    line.zeroize();
    Ok(value)
}
