//! One scan: open, read, attribute, judge, write.

use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::args::Scan;
use super::base::Bases;
use super::config;
use super::error::Failure;
use super::known;
use super::open::{self, Opened};
use super::progress::Progress;
use super::setup;
use crate::scan::finding::{
    Day, ImageReport, RuleInfo, ScanReport, Skip, SkipReason, Trouble, Verdict, write_baseline,
};
use crate::scan::image::index;
use crate::scan::report::{self, Format, Options};
use crate::scan::scan::attribute::{Asked, Terms, attribute};
use crate::scan::scan::collect::Collected;
use crate::scan::scan::nursery::Nursery;
use crate::scan::scan::parser::{self, Setup, Shape};
use crate::scan::scan::reading;
use crate::scan::source::{Door, registry, wanted};

/// Runs a scan and says with which code to exit.
pub fn scan(
    args: &Scan,
    terminal: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, Failure> {
    let started = setup::now();
    let outputs = setup::outputs(args)?;
    let baseline = args.baseline.as_deref().map(known::read).transpose()?;
    let prints = setup::fingerprints(args)?;
    let config = args.config.as_deref().map(config::read).transpose()?.unwrap_or_default();
    let setup = setup::setup(args, &config)?;
    // Before anything is opened and any thread is started.
    index::prepare();
    let nursery = Nursery::start(|channel| parser::live(channel, &setup)).map_err(no_parser)?;
    let registries = setup::registries(args)?;
    let mut images = opened(args, &registries, err)?;
    let shown = io::stderr().is_terminal() && !args.quiet;
    let mut progress = Progress::new(shown.then_some(&mut *err));
    let collected = read(&nursery, &mut images, false, &mut |so_far| progress.look(so_far))?;
    drop(progress);
    let bases = Bases::find(args, &nursery, &collected, &images, &registries)?;
    nursery.close();
    let infos: Vec<RuleInfo> = setup.rules.rules.iter().map(|rule| rule.info.clone()).collect();
    let globs: Vec<&String> = args.exclude.iter().chain(&config.exclude).collect();
    let terms = Terms {
        rules: &infos,
        prints: &prints,
        keep: &setup::keep(args, &setup.limits),
        limits: &setup.limits,
        base: &|asked, planned| bases.of(asked, planned),
        excluded: &|path| globs.iter().any(|glob| super::glob::fits(glob.as_bytes(), path)),
    };
    let asked: Vec<Asked> = images.iter().map(|image| image.asked.clone()).collect();
    let mut reports = attribute(&collected, &asked, &terms);
    add_unread(&images, &mut reports);
    add_trouble(&images, &mut reports);
    let mut report = judged(args, &setup, reports);
    report.judge();
    if let Some(baseline) = &baseline {
        baseline.apply(&mut report, Day::of_unix(started));
    }
    if let Some(path) = &args.write_baseline {
        let text = write_baseline(&report, Day::of_unix(started));
        to_file(path, |file| file.write_all(text.as_bytes()))?;
    }
    let options = Options {
        reveal: args.reveal,
        width: if terminal { width() } else { Options::default().width },
        started,
        ended: setup::now(),
        ..Options::default()
    };
    write(args, &report, &options, &outputs, terminal, out)?;
    Ok(report.exit_code())
}

/// Columns of the terminal, in bounds in which text can be read.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(std::io::stdout());
    size.map_or(Options::default().width, |size| usize::from(size.ws_col).clamp(60, 140))
}

fn no_parser(error: io::Error) -> Failure {
    let hint = "allow this user one more process; `--memory` needs at least 32MiB";
    Failure::new("can't start the process that reads images", error, hint)
}

fn judged(args: &Scan, setup: &Setup, images: Vec<ImageReport>) -> ScanReport {
    ScanReport {
        tool: setup::tool(setup),
        gate: setup::gate(args),
        verdict: Verdict::Failed,
        baseline: None,
        images,
    }
}

/// Reads images, or only their documents.
pub fn read(
    nursery: &Nursery,
    images: &mut [Opened],
    plan_only: bool,
    watch: &mut dyn FnMut(&Collected),
) -> Result<Collected, Failure> {
    let shapes: Vec<Shape> = images.iter().map(|image| image.shape).collect();
    let mut open = |source: usize, name: &_| match images.get_mut(source) {
        Some(image) => image.door.open(name),
        None => Err(io::ErrorKind::NotFound.into()),
    };
    reading::read(nursery, &shapes, plan_only, &mut open, watch).map_err(no_parser)
}

/// Every image that was named.
fn opened(
    args: &Scan,
    registries: &registry::Options,
    err: &mut dyn Write,
) -> Result<Vec<Opened>, Failure> {
    let mut images = Vec::new();
    for text in setup::images(args)? {
        let wanted = wanted::parse(&text, &|path: &Path| path.exists());
        if let Some(remark) = wanted.remark.as_ref().filter(|_| !args.quiet) {
            let _ = writeln!(err, "note: {remark}");
        }
        let image = open::open(&wanted, registries);
        if let Some(failure) = &image.failure {
            let _ = writeln!(err, "{failure}");
        }
        images.push(image);
    }
    Ok(images)
}

/// What the file system refused of a file tree.
fn add_unread(images: &[Opened], reports: &mut [ImageReport]) {
    for image in images {
        let Door::Tree(tree) = &image.door else { continue };
        let unread = tree.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same = |report: &&mut ImageReport| report.reference == image.asked.reference;
        let Some(report) = reports.iter_mut().find(same) else { continue };
        for (path, kind) in unread.iter() {
            use std::os::unix::ffi::OsStrExt;
            report.coverage.skips_total += 1;
            report.coverage.files_skipped += 1;
            report.coverage.skips.push(Skip {
                reason: SkipReason::Io,
                layer: None,
                path: Some(path.as_os_str().as_bytes().to_vec()),
                inside: Vec::new(),
                detail: Some(kind.to_string()),
            });
        }
    }
}

/// Why a registry or daemon gave nothing.
fn add_trouble(images: &[Opened], reports: &mut [ImageReport]) {
    for image in images {
        let same = |report: &&mut ImageReport| report.reference == image.asked.reference;
        if let Some(Failure { what, why, hint, .. }) = image.failure.clone() {
            for report in reports.iter_mut().filter(same) {
                report.error =
                    Some(Trouble { what: what.clone(), why: why.clone(), hint: hint.clone() });
            }
            continue;
        }
        let Some(why) = image.door.trouble() else { continue };
        for report in reports.iter_mut().filter(same) {
            if let Some(error) = &mut report.error {
                error.why.clone_from(&why);
                "see that the name is right and that this user may read it; `docker login` keeps a \
                 password for a registry"
                    .clone_into(&mut error.hint);
            }
        }
    }
}

fn write(
    args: &Scan,
    report: &ScanReport,
    options: &Options,
    outputs: &[(Format, PathBuf)],
    terminal: bool,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let colour = match args.color {
        clap::ColorChoice::Always => true,
        clap::ColorChoice::Never => false,
        clap::ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
    };
    if outputs.is_empty() {
        let options = Options { colour, ..*options };
        let written = report::write(args.format, report, &options, out).and_then(|()| out.flush());
        match written {
            // Whoever reads has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written.map_err(|error| {
                Failure::new("can't write the report", error, "write to a file with `--output`")
            })?,
        }
    }
    for (format, path) in outputs {
        to_file(path, |file| report::write(*format, report, options, file))?;
    }
    Ok(())
}

/// A report may hold secrets or lead to them: it is its owner's.
pub fn to_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let written = open().and_then(|file| {
        let mut file = io::BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|error| {
        let what = format!("can't write `{}`", path.display());
        Failure::new(what, error, "name a file in a directory that is there and may be written")
    })
}
