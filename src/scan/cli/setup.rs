//! From arguments to what the parts of a run rely on.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::args::Scan;
use super::config::Config;
use super::error::Failure;
use crate::scan::detect::{Pick, RuleSet};
use crate::scan::finding::{Fingerprints, Gate, Keep, Tool};
use crate::scan::limits::{Deadline, Limits};
use crate::scan::report::Format;
use crate::scan::scan::parser::Setup;
use crate::scan::source::registry::{self, Options};
use crate::secret::SecretBytes;

/// What the processes that parse need to know.
pub fn setup(args: &Scan, config: &Config) -> Result<Setup, Failure> {
    let mut rules = RuleSet::built_in().map_err(|error| bad_rules(&error))?;
    for path in &config.rules {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let what = format!("can't read the rules `{}`", path.display());
            Failure::new(what, error, "`rules` of the config names files beside it")
        })?;
        rules.add(&path.display().to_string(), &text).map_err(|error| bad_rules(&error))?;
    }
    let only = [&args.only[..], &config.only].concat();
    let skip = [&args.skip[..], &config.skip].concat();
    let pick = Pick { only, skip, now: now() };
    if let Some(id) = pick.only.iter().chain(&pick.skip).find(|id| rules.named(id).is_none()) {
        let why = format!("there is no rule `{id}`");
        let hint = "`sidekey-scan rules list` names them";
        return Err(Failure::new("the rules can't be used", why, hint));
    }
    let limits = limits(args);
    Ok(Setup {
        rules,
        pick,
        deadline: Deadline::after(Instant::now(), limits.time),
        limits,
        wanted: args.platform.clone(),
        jobs: args.jobs.map_or_else(processors, usize::from),
    })
}

fn bad_rules(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "the rules can't be used",
        error,
        "`sidekey-scan rules test FILE` says what is wrong",
    )
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn limits(args: &Scan) -> Limits {
    Limits { memory: args.memory, depth: args.max_depth, time: args.timeout, ..Limits::default() }
}

/// The images that were named, on the command line and in the file.
pub fn images(args: &Scan) -> Result<Vec<String>, Failure> {
    let mut images = args.images.clone();
    let Some(path) = &args.from_file else { return Ok(images) };
    let text = if path.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        std::fs::read_to_string(path)
    };
    let failed = |error: io::Error| {
        let what = format!("can't read the list of images `{}`", path.display());
        Failure::new(what, error, "name a file with one image a line")
    };
    let text = text.map_err(failed)?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    images.extend(lines.map(str::to_owned));
    if images.is_empty() {
        let empty = io::Error::new(io::ErrorKind::InvalidData, "there is no line in it");
        return Err(failed(empty));
    }
    Ok(images)
}

/// How registries are spoken to.
pub fn registries(args: &Scan) -> Result<Options, Failure> {
    let mut roots = Vec::new();
    for path in &args.ca_file {
        roots.extend(registry::read_roots(path).map_err(|error| {
            let what = format!("can't use the certificates of `{}`", path.display());
            Failure::new(what, error, "name a file with certificates in PEM")
        })?);
    }
    Ok(Options { plain_http: args.plain_http.iter().cloned().collect(), roots })
}

/// What is kept of the hits.
pub fn keep(args: &Scan, limits: &Limits) -> Keep {
    Keep {
        min_confidence: args.min_confidence,
        findings: limits.findings,
        places: limits.places,
        inline_allow: args.inline_allow,
    }
}

/// What counts.
pub fn gate(args: &Scan) -> Gate {
    Gate {
        fail_on: args.fail_on,
        min_confidence: args.min_confidence,
        state: args.fail_on_state,
        origin: args.fail_on_origin,
        exit_zero: args.exit_zero,
        strict: args.strict,
        accept: args.accept.clone(),
    }
}

/// Who scans.
pub fn tool(setup: &Setup) -> Tool {
    let wanted = setup.rules.rules.iter().filter(|rule| {
        let id = &rule.info.id;
        (setup.pick.only.is_empty() || setup.pick.only.contains(id))
            && !setup.pick.skip.contains(id)
    });
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut rules = 0;
    for rule in wanted {
        context.update(rule.info.id.as_bytes());
        context.update(&[0]);
        context.update(rule.pattern.as_bytes());
        context.update(&[0]);
        rules += 1;
    }
    let digest = crate::scan::image::plan::hex(context.finish().as_ref());
    Tool { version: env!("CARGO_PKG_VERSION").to_owned(), rules, rules_digest: digest }
}

/// How values get their fingerprints.
pub fn fingerprints(args: &Scan) -> Result<Fingerprints, Failure> {
    let Some(path) = &args.fingerprint_key else { return Ok(Fingerprints::public()) };
    let failed = |why: &dyn std::fmt::Display| {
        let hint = "make one with `head -c 32 /dev/urandom > FILE`";
        Failure::new("can't use the key of the fingerprints", why, hint)
    };
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    Fingerprints::private(SecretBytes::from(bytes)).map_err(|error| failed(&error))
}

/// Where which form goes.
pub fn outputs(args: &Scan) -> Result<Vec<(Format, PathBuf)>, Failure> {
    let parse = |text: &OsString| {
        let plain = || (args.format, PathBuf::from(text));
        let Some((format, path)) = text.to_str().and_then(|text| text.split_once('=')) else {
            return Ok(plain());
        };
        match format.parse() {
            Ok(format) => Ok((format, PathBuf::from(path))),
            Err(error) if format.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
                let what = format!("`{format}` is no form of a report");
                Err(Failure::new(what, error, "write `--output FORMAT=FILE`"))
            }
            Err(_) => Ok(plain()),
        }
    };
    args.output.iter().map(parse).collect()
}
