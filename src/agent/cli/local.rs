//! `local`: the encrypted local store from the command line.

use std::io::Write;

use super::args::{LocalCommand, LocalStoreArgs};
use super::get::write;
use super::{complain, print};
use crate::agent::local::{Store, keygen, read_value};
use crate::agent::reason::{Exit, Reason, Report, system_word};

pub(super) fn local(command: LocalCommand) -> Exit {
    let done = match command {
        LocalCommand::Keygen { file } => {
            keygen(&file).map(|recipient| print(&format!("{recipient}\n")))
        }
        LocalCommand::Edit(args) => {
            let editor = ["VISUAL", "EDITOR"].into_iter().find_map(std::env::var_os);
            let editor = editor.unwrap_or_else(|| "vi".into());
            store(&args.store).edit(&editor, &args.recipient).map(|changed| {
                print(if changed { "saved\n" } else { "nothing changed\n" });
            })
        }
        LocalCommand::Recipients(args) => {
            let changed = !(args.add.is_empty() && args.remove.is_empty());
            store(&args.store).recipients(&args.add, &args.remove).map(|recipients| {
                print(&(recipients.join("\n") + "\n"));
                if changed && !args.remove.is_empty() {
                    let _ = writeln!(std::io::stderr().lock(), "{}", warning(&was_readable()));
                }
            })
        }
        LocalCommand::Set(args) => {
            let value = read_value(&args.name).map_err(|error| {
                Report::new(Reason::Bug, "can't read the value", system_word(error.kind()))
                    .hint("give it on stdin: `printf %s VALUE | sidekey local set …`")
            });
            value.and_then(|value| store(&args.store).set(&args.name, value))
        }
        LocalCommand::Get(args) => match store(&args.store).get(&args.name) {
            Ok(bytes) => return write(&bytes),
            Err(report) => Err(report),
        },
    };
    match done {
        Ok(()) => Exit::Done,
        Err(report) => {
            complain(&report);
            report.reason.exit()
        }
    }
}

fn was_readable() -> Report {
    let why = "whoever was removed may have copies of the file as it was";
    Report::new(Reason::KeyMismatch, "the secrets themselves are the same", why)
        .hint("change them where they come from, then here")
}

/// A report about something that is done all the same.
fn warning(report: &Report) -> String {
    report.to_string().replacen("error:", "warning:", 1)
}

fn store(args: &LocalStoreArgs) -> Store<'_> {
    let store = Store { file: &args.file, key_file: &args.key_file };
    if let Some(remark) = store.remark() {
        let _ = writeln!(std::io::stderr().lock(), "{}", warning(&remark));
    }
    store
}
