//! One scan: open, read, attribute, judge, write.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use super::args::Scan;
use super::error::Failure;
use super::source::{self, Origin};
use crate::scan::detect::{Detector, Pick, RuleSet};
use crate::scan::finding::{
    Fingerprints, Gate, Keep, RuleInfo, ScanReport, SourceKind, Tool, Verdict,
};
use crate::scan::limits::{Deadline, Limits};
use crate::scan::report::{self, Format, Options};
use crate::scan::scan::attribute::{Asked, Terms, attribute};
use crate::scan::scan::collect::Collected;
use crate::scan::scan::drive::{Drive, Source};
use crate::secret::SecretBytes;

/// Runs a scan and says with which code to exit.
pub fn scan(
    args: &Scan,
    terminal: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let outputs = outputs(args)?;
    let rules = RuleSet::built_in().map_err(|error| bad_rules(&error))?;
    let pick = Pick { only: args.only.clone(), skip: args.skip.clone(), now: now() };
    let detector = Detector::build(&rules, &pick).map_err(|error| bad_rules(&error))?;
    let limits = limits(args);
    let mut asked = Vec::new();
    let collected = Mutex::new(Collected::default());
    let tell = |message| collected.lock().unwrap_or_else(PoisonError::into_inner).take(message);
    let drive = Drive {
        detector: &detector,
        limits: &limits,
        deadline: Deadline::after(Instant::now(), limits.time),
        wanted: &args.platform,
        jobs: args.jobs.map_or_else(processors, usize::from),
        room: 16 << 20,
        known: Mutex::new(BTreeSet::new()),
        tell: &tell,
    };
    for (number, text) in args.images.iter().enumerate() {
        let wanted = source::parse(text, &|path: &Path| path.exists());
        if let Some(remark) = wanted.remark.filter(|_| !args.quiet) {
            let _ = writeln!(err, "note: {remark}");
        }
        let Origin::Path(path, _) = wanted.origin else {
            return Err(Failure::new("can't read that", "not yet", "use a path"));
        };
        let file = File::open(&path).map_err(|error| {
            Failure::new(format!("can't open `{text}`"), error, "name a file that is there")
        })?;
        asked.push(Asked { reference: text.clone(), source: SourceKind::DockerArchive });
        drive.source(number, Source::Archive(file));
    }
    let collected = collected.into_inner().unwrap_or_else(PoisonError::into_inner);
    let infos: Vec<RuleInfo> = rules.rules.iter().map(|rule| rule.info.clone()).collect();
    let excluded =
        |path: &[u8]| args.exclude.iter().any(|glob| super::glob::fits(glob.as_bytes(), path));
    let terms = Terms {
        rules: &infos,
        prints: &fingerprints(args)?,
        keep: &keep(args, &limits),
        limits: &limits,
        base: None,
        excluded: &excluded,
    };
    let mut report = ScanReport {
        tool: tool(detector.count()),
        gate: gate(args),
        verdict: Verdict::Failed,
        images: attribute(&collected, &asked, &terms),
    };
    report.judge();
    write(args, &report, &outputs, terminal, out)?;
    Ok(report.exit_code())
}

fn bad_rules(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        "the rules can't be used",
        error,
        "`sidekey-scan --help` names the options for rules",
    )
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn limits(args: &Scan) -> Limits {
    Limits { memory: args.memory, depth: args.max_depth, time: args.timeout, ..Limits::default() }
}

fn keep(args: &Scan, limits: &Limits) -> Keep {
    Keep {
        min_confidence: args.min_confidence,
        findings: limits.findings,
        places: limits.places,
        inline_allow: args.inline_allow,
    }
}

fn gate(args: &Scan) -> Gate {
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

fn tool(rules: usize) -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        rules: u32::try_from(rules).unwrap_or(u32::MAX),
        rules_digest: String::new(),
    }
}

fn fingerprints(args: &Scan) -> Result<Fingerprints, Failure> {
    let Some(path) = &args.fingerprint_key else { return Ok(Fingerprints::public()) };
    let failed = |why: &dyn std::fmt::Display| {
        let hint = "make one with `head -c 32 /dev/urandom > FILE`";
        Failure::new("can't use the key of the fingerprints", why, hint)
    };
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    Fingerprints::private(SecretBytes::from(bytes)).map_err(|error| failed(&error))
}

/// Where which form goes.
fn outputs(args: &Scan) -> Result<Vec<(Format, PathBuf)>, Failure> {
    let parse = |text: &std::ffi::OsString| {
        let plain = || (args.format, PathBuf::from(text));
        let Some((format, path)) = text.to_str().and_then(|text| text.split_once('=')) else {
            return Ok(plain());
        };
        match format.parse() {
            Ok(format) => Ok((format, PathBuf::from(path))),
            Err(error) if !format.contains('/') && !format.contains('.') => Err(Failure::new(
                format!("`{format}` is no form of a report"),
                error,
                "write `--output FORMAT=FILE`",
            )),
            Err(_) => Ok(plain()),
        }
    };
    args.output.iter().map(parse).collect()
}

fn write(
    args: &Scan,
    report: &ScanReport,
    outputs: &[(Format, PathBuf)],
    terminal: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let colour = match args.color {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
    };
    let options = Options { reveal: args.reveal, ..Options::default() };
    if outputs.is_empty() {
        let options = Options { colour, ..options };
        report::write(args.format, report, &options, out).and_then(|()| out.flush()).map_err(
            |error| {
                Failure::new("can't write the report", error, "write to a file with `--output`")
            },
        )?;
    }
    for (format, path) in outputs {
        let failed = |error: std::io::Error| {
            let what = format!("can't write `{}`", path.display());
            Failure::new(what, error, "name a file in a directory that is there and may be written")
        };
        let mut options_of_file = OpenOptions::new();
        let file = options_of_file.write(true).create(true).truncate(true).mode(0o600);
        let mut file = std::io::BufWriter::new(file.open(path).map_err(failed)?);
        report::write(*format, report, &options, &mut file)
            .and_then(|()| file.flush())
            .map_err(failed)?;
    }
    Ok(())
}
