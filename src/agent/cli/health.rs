//! `health`: asks a running agent how it is, as a probe in an image without a shell.

use super::{HealthArgs, complain, load, print};
use crate::agent::observe::{Question, ask};
use crate::agent::reason::{Exit, Reason, Report, system_word};

pub(super) fn health(args: &HealthArgs) -> Exit {
    let (_, parsed) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    let question = match (args.startup, args.live) {
        (true, _) => Question::Startup,
        (_, true) => Question::Live,
        _ => Question::Ready,
    };
    match ask(&parsed.config.health.listen, question) {
        Ok(answer) => {
            print(&format!("{}\n", answer.body));
            if answer.yes { Exit::Done } else { Exit::No }
        }
        Err(error) => {
            complain(
                &Report::new(
                    Reason::Starting,
                    "no agent answers on the health address",
                    system_word(error.kind()),
                )
                .hint("start `sidekey run` with the same config, or correct `health.listen`"),
            );
            Exit::No
        }
    }
}
