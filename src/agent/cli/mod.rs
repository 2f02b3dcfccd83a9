//! The command line: arguments in, exit code out. Each command is a file of its own.

mod args;
mod check;
mod exec;
mod get;
mod health;
#[cfg(feature = "kube")]
mod inject;
#[cfg(feature = "kube")]
mod install;
#[cfg(feature = "local")]
mod local;
mod lock;
mod seal;
mod serve;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::{ContextKind, ContextValue, ErrorKind};

pub use args::{
    CheckArgs, Cli, Command, ConfigArg, ExecArgs, GetArgs, HealthArgs, LogFormat, LogLevel,
    OutputFormat, SealArgs,
};

use super::config::{self, Parsed, Source, Surroundings};
use super::reason::{Exit, Reason, Report};
use crate::sandbox::process::Hardened;

/// Carries out one command line and says what to exit with.
///
/// The process was hardened before, and has one thread.
pub fn run(args: impl IntoIterator<Item = OsString>, hardened: &Hardened) -> ExitCode {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if let Some(hint) = hint_for(&error) {
                let _ = writeln!(std::io::stderr().lock(), "\n hint: {hint}");
            }
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return ExitCode::from(exit.code());
        }
    };
    ExitCode::from(dispatch(cli, hardened))
}

/// What a person who is new here may have meant.
fn hint_for(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else { return None };
    let is_file = [".yaml", ".yml", ".json", ".hcl"].iter().any(|end| given.ends_with(end));
    let is_file = is_file && error.kind() == ErrorKind::UnknownArgument && !given.starts_with('-');
    is_file.then(|| format!("a config is given by name: `--config {}`", given.escape_default()))
}

fn dispatch(cli: Cli, hardened: &Hardened) -> u8 {
    let logging = Logging { format: cli.log_format, level: cli.log_level, hardened };
    let exit = match cli.command {
        Command::Exec(args) => return exec::exec(&args, logging),
        Command::Init(args) => serve::init(&args, logging),
        Command::Run(args) => serve::run(&args, logging),
        Command::Get(args) => get::get(&args),
        Command::Check(args) => check::check(&args),
        Command::Health(args) => health::health(&args),
        #[cfg(feature = "local")]
        Command::Local(command) => local::local(command),
        #[cfg(feature = "kube")]
        Command::Inject(args) => inject::inject(&args),
        #[cfg(feature = "kube")]
        Command::Install(args) => install::install(&args),
        Command::Seal(args) => seal::seal(&args),
        Command::Other(args) => unknown(&args),
    };
    exit.code()
}

/// How the long-running commands log, and what there is to say at once.
#[derive(Clone, Copy)]
struct Logging<'a> {
    hardened: &'a Hardened,
    format: Option<LogFormat>,
    level: LogLevel,
}

/// Commands that the contract names and this version does not have.
const LATER: [&str; 2] = ["webhook", "migrate"];

/// Commands of the feature `kube`.
const OF_KUBE: [&str; 2] = ["inject", "install"];

fn unknown(args: &[OsString]) -> Exit {
    let name = args.first().map(|arg| arg.to_string_lossy().into_owned()).unwrap_or_default();
    if LATER.contains(&name.as_str()) {
        complain(
            &Report::new(
                Reason::NotYet,
                format!("`sidekey {name}` is not there yet"),
                format!("version {} does not bring it", env!("CARGO_PKG_VERSION")),
            )
            .hint("`sidekey --help` lists what this version can do"),
        );
        return Exit::Usage;
    }
    if OF_KUBE.contains(&name.as_str()) {
        complain(
            &Report::new(
                Reason::NotYet,
                format!("`sidekey {name}` is not built in"),
                "this binary was built without the feature `kube`",
            )
            .hint("build with `--features kube`, or use a binary with all features"),
        );
        return Exit::Usage;
    }
    let known =
        ["init", "run", "exec", "get", "check", "health", "local", "seal", "inject", "install"];
    let nearest = known
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, &name).total_cmp(&strsim::jaro_winkler(b, &name)));
    let hint = match nearest.filter(|known| strsim::jaro_winkler(known, &name) > 0.7) {
        Some(nearest) => format!("did you mean `sidekey {nearest}`?"),
        None => "`sidekey --help` lists the commands".to_owned(),
    };
    complain(
        &Report::new(
            Reason::ConfigInvalid,
            format!("`sidekey {}` is not a command", name.escape_default()),
            "the first word says what to do",
        )
        .hint(hint),
    );
    Exit::Usage
}

/// Whether a person who reads stderr sees colours and wants them (<https://no-color.org>).
fn colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let plain = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    std::io::stderr().is_terminal() && !unwanted && !plain
}

/// Writes an error for a person to stderr.
fn complain(report: &Report) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{report}");
}

/// Writes to stdout; a reader that went away is not our failure.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Finds, reads and parses the config, or says every mistake and what to exit with.
fn load(arg: &ConfigArg) -> Result<(Source, Parsed), Exit> {
    let source = read_source(arg)?;
    match with_surroundings(|around| config::parse(&source, around)) {
        Ok(parsed) => Ok((source, parsed)),
        Err(mistakes) => {
            let _ = writeln!(std::io::stderr().lock(), "{}", mistakes.render(colour()));
            Err(Exit::Config)
        }
    }
}

fn read_source(arg: &ConfigArg) -> Result<Source, Exit> {
    let env = |name: &str| std::env::var(name).ok();
    let fail = |report: Report| {
        complain(&report);
        report.reason.exit()
    };
    let origin = config::locate(arg.config.as_deref(), &env);
    config::read(origin, &env).map_err(fail)
}

fn with_surroundings<T>(use_them: impl FnOnce(&Surroundings<'_>) -> T) -> T {
    let env = |name: &str| std::env::var(name).ok();
    use_them(&Surroundings {
        env: &env,
        uid: rustix::process::geteuid().as_raw(),
        in_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
    })
}
