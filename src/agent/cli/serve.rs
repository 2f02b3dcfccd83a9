//! `init` and `run`: config → helper → listeners → build → lock in → the loop → exit code.

use std::rc::Rc;

use tokio::sync::Notify;

use super::{ConfigArg, LogFormat, LogLevel, Logging, complain, load, lock, with_surroundings};
use crate::agent::config::{self, Config, Origin, Source};
use crate::agent::hook::{self, Helper};
use crate::agent::observe::{self, Event, Listeners, Observe, Server};
use crate::agent::pipeline::{
    self, ConfigSource, Ending, Mode, Pipeline, Program, Runner, Signals,
};
use crate::agent::reason::{Exit, Reason, Report, system_word};
use crate::sandbox::arena::{self, MemoryLevel};
use crate::sandbox::door::Door;
use crate::sandbox::not_locked_in;

pub(super) fn init(args: &ConfigArg, logging: Logging<'_>) -> Exit {
    serve(args, logging, Mode::Once)
}

pub(super) fn run(args: &ConfigArg, logging: Logging<'_>) -> Exit {
    serve(args, logging, Mode::Stay)
}

fn serve(args: &ConfigArg, logging: Logging<'_>, mode: Mode) -> Exit {
    let (source, parsed) = match load(args) {
        Ok(loaded) => loaded,
        Err(exit) => return exit,
    };
    if parsed.config.files.is_empty() {
        let why = "`files:` is empty, and files are what `init` and `run` are for";
        return fail(&[Report::new(Reason::ConfigInvalid, "there is nothing to deliver", why)
            .hint("add a file: `files: { NAME: { from: SECRET.FIELD } }`")]);
    }
    if mode == Mode::Once
        && let Some(report) = nobody_renews(&parsed.config)
    {
        return fail(&[report]);
    }
    let command = if mode == Mode::Once { "init" } else { "run" };
    let (observe, say) = begin(&logging, command);
    let ending = deliver(&parsed.config, &source, &observe, mode, None);
    ending.reports.iter().for_each(say);
    ending.exit
}

/// Begins logging, and says how errors are told: whoever reads JSON lines reads nothing else.
pub(super) fn begin(logging: &Logging<'_>, command: &'static str) -> (Observe, fn(&Report)) {
    let level = match logging.level {
        LogLevel::Error => observe::Level::ERROR,
        LogLevel::Warn => observe::Level::WARN,
        LogLevel::Info => observe::Level::INFO,
        LogLevel::Debug => observe::Level::DEBUG,
        LogLevel::Trace => observe::Level::TRACE,
    };
    let format = logging.format.map(|format| match format {
        LogFormat::Text => observe::Format::Text,
        LogFormat::Json => observe::Format::Json,
    });
    let format = observe::init_log(format, level);
    let observe = Observe::new();
    observe.say(&Event::Started { command });
    for missing in &logging.hardened.missing {
        observe.say(&Event::Degraded { what: &missing.to_string() });
    }
    if arena::level() != MemoryLevel::SecretMemory {
        observe.say(&Event::Degraded { what: "root and its tools can read the secrets in memory" });
    }
    let say = if format == observe::Format::Json { observe::log_report } else { complain };
    (observe, say)
}

/// `init` alone delivers no lease: nobody would renew it.
fn nobody_renews(config: &Config) -> Option<Report> {
    let used = pipeline::used_secrets(config);
    let leased = config.secrets.iter().filter(|(name, secret)| {
        used.contains(name) && secret.leased && !secret.allow_expiry && config.state.is_none()
    });
    let names: Vec<String> = leased.map(|(name, _)| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        Report::new(
            Reason::ConfigInvalid,
            format!("`init` can't deliver {}", names.join(", ")),
            "it comes with a lease, and without `state` nobody could take it over and renew it",
        )
        .hint("give `state: { path: … }` and let `run` follow; or say `allow_expiry: true` on the secret if the work is over before the lease is")
    })
}

fn fail(reports: &[Report]) -> Exit {
    reports.iter().for_each(complain);
    Exit::of_all(reports.iter().map(|report| report.reason))
}

/// The command that `exec` runs, and whether the process is to become it.
pub(super) type Wanted = (Program, bool);

/// Carries secrets along the road, to its end.
pub(super) fn deliver(
    config: &Config,
    source: &Source,
    observe: &Observe,
    mode: Mode,
    program: Option<Wanted>,
) -> Ending {
    try_to_deliver(config, source, observe, mode, program).unwrap_or_else(Ending::failed)
}

/// Everything that forks, binds or opens, then the lock, then the loop.
fn try_to_deliver(
    config: &Config,
    source: &Source,
    observe: &Observe,
    mode: Mode,
    program: Option<Wanted>,
) -> Result<Ending, Vec<Report>> {
    let one = |report| vec![report];
    // First, while nothing is open and no secret is in memory: the helper inherits what there is.
    let wanted = mode == Mode::Stay && hook::need_helper(&config.on_change);
    let helper = wanted.then(|| Helper::fork(&config.on_change)).transpose();
    let helper = helper.map_err(|error| vec![no_helper(&error)])?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|_| {
            vec![Report::new(Reason::Bug, "can't start", "the kernel gives no event queue")]
        })?;
    let signals = {
        let _inside = runtime.enter();
        Signals::listen().map_err(one)?
    };
    // What `exec` runs was put together from more than the config, so it is not read again.
    let is_exec = program.is_some();
    let watched = match mode {
        Mode::Stay if !is_exec => config_source(source),
        _ => None,
    };
    let tasks = tokio::task::LocalSet::new();
    let runner = {
        let _inside = (runtime.enter(), tasks.enter());
        program.map(|(program, replace)| Runner::new(program, replace))
    };
    let pipeline = Pipeline::build(config.clone(), watched, helper, mode, observe.clone(), runner)?;
    // Only now: whoever has the lock of the volume may take over the sockets that are left there.
    let listeners = match mode {
        // On a laptop several commands may run beside each other; probes are for pods.
        Mode::Stay if is_exec => Listeners::bind(&config.health, config.metrics).ok(),
        Mode::Stay => Some(Listeners::bind(&config.health, config.metrics).map_err(one)?),
        Mode::Once => None,
    };
    // What confines us would confine the command, too.
    let locked = if is_exec { not_locked_in() } else { lock::lock(config, source, observe) };
    let ending = tasks.block_on(&runtime, async {
        let quit = match listeners {
            Some(listeners) => {
                Server::start(listeners, observe)
                    .map_err(|_| {
                        vec![Report::new(
                            Reason::Bug,
                            "can't serve probes",
                            "the listener can't be used",
                        )]
                    })?
                    .quit
            }
            None => Rc::new(Notify::new()),
        };
        Ok(pipeline.run(mode, locked, signals, quit).await)
    });
    // A name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    ending
}

fn no_helper(error: &std::io::Error) -> Report {
    Report::new(Reason::HookFailed, "can't fork the helper for hooks", system_word(error.kind()))
        .hint("raise the limit of processes of the container")
}

/// Where a changed config is read again; a config from a variable never changes.
fn config_source(source: &Source) -> Option<ConfigSource> {
    let Origin::File(path) = &source.origin else { return None };
    let door = Door::open(path).ok()?;
    let origin = source.origin.clone();
    Some(ConfigSource::new(
        door,
        Box::new(move |door| {
            let source = config::read_again(&origin, door)?;
            let parsed = with_surroundings(|around| config::parse(&source, around));
            parsed.map(|parsed| parsed.config).map_err(|mistakes| mistakes.report())
        }),
    ))
}
