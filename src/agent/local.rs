//! `sidekey local`: make, read and change an encrypted local store. No plaintext reaches a disk.

mod desk;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use crate::agent::reason::{Reason, Report, system_word};
use crate::agent::store::local::{
    Document, Key, LocalError, LocalFault, MAX_KEY, MAX_STORE, count_recipients, key_remark, seal,
};
use crate::sandbox::door::{Door, Stamp};
use crate::secret::{FieldPath, SecretBytes};
use desk::Desk;

/// Makes a key, readable by its owner only, and gives its public recipient. An existing file is
/// never touched.
pub fn keygen(file: &Path) -> Result<String, Report> {
    let (text, recipient) = Key::generate();
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    created.and_then(|mut created| created.write_all(text.expose())).map_err(|error| {
        let what = format!("can't write the key `{}`", file.display());
        Report::new(Reason::VolumeRefused, what, system_word(error.kind()))
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

/// A store that was read: its plaintext, and what must be as it was when it is written again.
struct Opened {
    plain: SecretBytes,
    /// How many can open the file; nobody while there is none.
    recipients: usize,
    /// The file as it was; `None`: there was none.
    stamp: Option<Stamp>,
}

impl Store<'_> {
    /// The exact bytes of `NAME` or `NAME.FIELD`.
    pub fn get(&self, name: &str) -> Result<SecretBytes, Report> {
        self.look_up(name).map_err(|fault| self.report(fault))
    }

    fn look_up(&self, name: &str) -> Result<SecretBytes, LocalFault> {
        let opened = self.open(&self.key()?)?;
        let (name, field) = split(name);
        let entry = Document::read(&opened.plain)?.into_entry(name)?;
        let field = field.map_or(FieldPath::Whole, |field| FieldPath::Field(field.to_owned()));
        let there = entry.field_names().into_iter().map(str::to_owned).collect();
        let missing = LocalFault::FieldMissing { path: name.to_owned(), field, there };
        let LocalFault::FieldMissing { field, .. } = &missing else { return Err(missing) };
        let bytes = entry.at(field).map(|value| value.to_bytes().map_err(|_| LocalFault::NotText));
        bytes.transpose()?.flatten().ok_or(missing)
    }

    /// Sets `NAME` or `NAME.FIELD`; the file is made if it is not there. Comments in it are not
    /// kept.
    pub fn set(&self, name: &str, value: SecretBytes) -> Result<(), Report> {
        self.change(name, value).map_err(|fault| self.report(fault))
    }

    fn change(&self, name: &str, value: SecretBytes) -> Result<(), LocalFault> {
        let key = self.key()?;
        let opened = if self.file.exists() { Some(self.open(&key)?) } else { None };
        let mut document = match &opened {
            Some(opened) => Document::read(&opened.plain)?,
            None => Document::default(),
        };
        let (name, field) = split(name);
        let recipients = all(&key, &document, &[]);
        if let Some(opened) = &opened {
            shuts_nobody_out(opened, &recipients)?;
        }
        document.set(name, field, value);
        let before = opened.and_then(|opened| opened.stamp);
        self.replace(&document.write(), &recipients, before.as_ref())
    }

    /// Opens the whole text in an editor, in memory, and encrypts what comes back, also for further
    /// recipients. Says whether anything changed.
    pub fn edit(&self, editor: &OsString, recipients: &[String]) -> Result<bool, Report> {
        let fail = |fault| self.report(fault);
        let key = self.key().map_err(fail)?;
        let opened = if self.file.exists() {
            self.open(&key).map_err(fail)?
        } else {
            let first = "# One secret a name, its fields below it:\n# db:\n#   password: …\n";
            Opened { plain: SecretBytes::copy_of(first.as_bytes()), recipients: 0, stamp: None }
        };
        // What can't be read now may be mended; who could read it is known only if it can.
        let known = Document::read(&opened.plain).unwrap_or_default();
        shuts_nobody_out(&opened, &all(&key, &known, recipients)).map_err(fail)?;
        let desk = Desk::set_up(places_in_memory(), &opened.plain)?;
        let (after, document) = self.until_it_reads(&desk, editor)?;
        let new: Vec<String> =
            recipients.iter().filter(|new| !document.recipients.contains(new)).cloned().collect();
        if after.ct_eq(&opened.plain) && new.is_empty() && opened.stamp.is_some() {
            return Ok(false);
        }
        // The text is kept as it was edited, comments included, unless it must name new recipients.
        let sealed_for = all(&key, &document, &new);
        let text = if new.is_empty() {
            after
        } else {
            // All of them are remembered, ourselves too: who edits next has another key.
            prefixed(&Document::remember(&sealed_for), &without_recipients(&after))
        };
        self.replace(&text, &sealed_for, opened.stamp.as_ref()).map_err(fail)?;
        Ok(true)
    }

    /// Encrypts the text as it stands for `add` too and for `remove` no longer; without either nothing
    /// is written. Gives for whom the file is encrypted now.
    pub fn recipients(&self, add: &[String], remove: &[String]) -> Result<Vec<String>, Report> {
        let fail = |fault| self.report(fault);
        let key = self.key().map_err(fail)?;
        let opened = self.open(&key).map_err(fail)?;
        let document = Document::read(&opened.plain).map_err(fail)?;
        let mut recipients = all(&key, &document, add);
        shuts_nobody_out(&opened, &recipients).map_err(fail)?;
        if add.is_empty() && remove.is_empty() {
            return Ok(recipients);
        }
        for who in remove {
            can_leave(who, &recipients, &key)?;
        }
        recipients.retain(|one| !remove.contains(one));
        let text = prefixed(&Document::remember(&recipients), &without_recipients(&opened.plain));
        self.replace(&text, &recipients, opened.stamp.as_ref()).map_err(fail)?;
        Ok(recipients)
    }

    fn until_it_reads(
        &self,
        desk: &Desk,
        editor: &OsString,
    ) -> Result<(SecretBytes, Document), Report> {
        loop {
            desk.edit(editor)?;
            let text = desk.text()?;
            match Document::read(&text) {
                Ok(document) => return Ok((text, document)),
                Err(fault) => {
                    let report = self.report(fault);
                    if !wants_to_try_again(&report) {
                        return Err(report);
                    }
                }
            }
        }
    }

    /// What is not as safe as it could be.
    pub fn remark(&self) -> Option<Report> {
        key_remark(self.key_file)
    }

    fn key(&self) -> Result<Key, LocalFault> {
        let read = Door::open(self.key_file).and_then(|door| door.read(MAX_KEY));
        let mut text = read.map_err(|error| LocalFault::KeyUnreadable(error.kind()))?;
        let key = Key::parse(&text);
        text.zeroize();
        key
    }

    fn open(&self, key: &Key) -> Result<Opened, LocalFault> {
        let unreadable = |error: io::Error| LocalFault::FileUnreadable(error.kind());
        let door = Door::open(self.file).map_err(unreadable)?;
        let stamp = Some(door.stamp().map_err(unreadable)?);
        let sealed = door.read(MAX_STORE).map_err(unreadable)?;
        Ok(Opened { plain: key.open(&sealed)?, recipients: count_recipients(&sealed), stamp })
    }

    /// Writes the new file beside the old one and renames it: a reader sees one or the other.
    fn replace(
        &self,
        text: &SecretBytes,
        recipients: &[String],
        before: Option<&Stamp>,
    ) -> Result<(), LocalFault> {
        let sealed = seal(text, recipients)?;
        // A link stays, and what it leads to is replaced.
        let file = std::fs::canonicalize(self.file).unwrap_or_else(|_| self.file.to_owned());
        let now = Door::open(&file).and_then(|door| door.stamp()).ok();
        if now.as_ref() != before {
            return Err(LocalFault::Changed);
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let new = file.with_file_name(format!(".{name}.{}", std::process::id()));
        let write = || -> io::Result<()> {
            let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new);
            let mut created: File = created?;
            created.write_all(&sealed)?;
            created.sync_all()?;
            std::fs::rename(&new, &file)
        };
        write().map_err(|error| {
            let _ = std::fs::remove_file(&new);
            LocalFault::Unwritable(error.kind())
        })
    }

    fn report(&self, fault: LocalFault) -> Report {
        LocalError {
            file: self.file.to_owned(),
            key_file: self.key_file.to_owned(),
            fault: Box::new(fault),
        }
        .report()
    }
}

/// Everybody a file is sealed for, each once: our own key, those it remembers, and `more`.
fn all(key: &Key, document: &Document, more: &[String]) -> Vec<String> {
    let mut all = key.recipients();
    for one in document.recipients.iter().chain(more) {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
    all
}

/// An age file does not name its recipients. One that was made elsewhere for others too must not be
/// sealed for us alone without a word.
fn shuts_nobody_out(opened: &Opened, recipients: &[String]) -> Result<(), LocalFault> {
    let (sealed_for, known) = (opened.recipients, recipients.len());
    if sealed_for > known {
        return Err(LocalFault::RecipientsUnknown { sealed_for, known });
    }
    Ok(())
}

/// `NAME.FIELD` at the first dot, as references have it.
fn split(name: &str) -> (&str, Option<&str>) {
    name.split_once('.').map_or((name, None), |(name, field)| (name, Some(field)))
}

/// Whether somebody can be taken off the list: whoever is on it, but for the key at hand.
fn can_leave(who: &str, recipients: &[String], key: &Key) -> Result<(), Report> {
    let refuse = |why: &str, hint: String| {
        let what = format!("`{}` can't be removed", who.escape_debug());
        Err(Report::new(Reason::ConfigInvalid, what, why).hint(hint))
    };
    if key.recipients().iter().any(|own| own == who) {
        let why = "it is the key at hand, which could not read what it writes then";
        return refuse(why, "let somebody remove it who has another key".to_owned());
    }
    if !recipients.iter().any(|one| one == who) {
        let hint = format!("it is encrypted for {}", recipients.join(", "));
        return refuse("the file is not encrypted for it", hint);
    }
    Ok(())
}

/// The text without the lines that remember recipients; everything else as it stands.
fn without_recipients(text: &SecretBytes) -> SecretBytes {
    let mut out = Vec::with_capacity(text.len());
    for line in text.expose().split_inclusive(|&byte| byte == b'\n') {
        if !line.starts_with(Document::RECIPIENTS.as_bytes()) {
            out.extend(line);
        }
    }
    SecretBytes::from(out)
}

fn prefixed(line: &str, text: &SecretBytes) -> SecretBytes {
    let mut out = Vec::with_capacity(line.len() + text.len());
    out.extend(line.as_bytes());
    out.extend(text.expose());
    SecretBytes::from(out)
}

/// Where an editor's file may stand, the user's own place first.
fn places_in_memory() -> impl Iterator<Item = PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime.into_iter().chain([PathBuf::from("/dev/shm")])
}

/// Shows what is wrong and, at a terminal, asks whether to open the editor again.
fn wants_to_try_again(report: &Report) -> bool {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return false;
    }
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{report}\nPress Enter to edit again, or Ctrl-D to give up.");
    let mut line = String::new();
    stdin.read_line(&mut line).is_ok_and(|length| length > 0)
}

/// Reads a value: all of stdin, or one line without echo at a terminal.
pub fn read_value(prompt: &str) -> io::Result<SecretBytes> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        let mut bytes = Vec::with_capacity(64 * 1024);
        stdin.lock().take(MAX_STORE as u64 + 1).read_to_end(&mut bytes)?;
        let value = SecretBytes::from(bytes);
        return if value.len() > MAX_STORE {
            Err(io::ErrorKind::FileTooLarge.into())
        } else {
            Ok(value)
        };
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
