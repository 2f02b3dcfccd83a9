//! `inject`: manifests in, the same out, with Sidekey in every pod that asks for it.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use super::args::InjectArgs;
use super::{complain, print};
use crate::agent::reason::{Exit, Reason, Report, system_word};
use crate::kube::manifest::{self, Done, Options};
use crate::kube::{Operator, Version, diff, yaml};

/// What a file in a directory is called to be read.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

pub(super) fn inject(args: &InjectArgs) -> Exit {
    let done =
        options(args).map_err(|report| (vec![report], Exit::Usage)).and_then(|(op, ways)| {
            let options = Options { operator: &op, templates: &ways, remove: args.remove };
            let inputs = inputs(&args.file).map_err(|reports| (reports, Exit::Config))?;
            edit_all(&inputs, &options).map(|done| (inputs, done)).map_err(|r| (r, Exit::Config))
        });
    let (inputs, done) = match done {
        Ok(done) => done,
        Err((reports, exit)) => {
            reports.iter().for_each(complain);
            return exit;
        }
    };
    for report in done.iter().flat_map(|done| &done.remarks) {
        let warning = report.to_string().replacen("error:", "warning:", 1);
        let _ = writeln!(std::io::stderr().lock(), "{warning}");
    }
    if args.write && !args.diff {
        return write_back(&inputs, &done);
    }
    print(&output(args.diff, &inputs, &done));
    Exit::Done
}

/// A manifest and what it is called.
struct Input {
    /// Nothing: stdin.
    path: Option<PathBuf>,
    text: String,
}

impl Input {
    fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| "stdin".to_owned(), |path| path.display().to_string())
    }
}

/// Where kinds have their pods: each a kind and a way.
type Ways = Vec<(String, Vec<String>)>;

fn options(args: &InjectArgs) -> Result<(Operator, Ways), Report> {
    let usage = |what: String, why: &str, hint: &str| {
        Report::new(Reason::ConfigInvalid, what, why).hint(hint)
    };
    let version = Version::parse(&args.kube_version).ok_or_else(|| {
        let what = format!("`{}` is no version of Kubernetes", args.kube_version.escape_debug());
        usage(what, "it is two numbers and a dot", "write for example `--kube-version 1.29`")
    })?;
    let way = |text: &String| {
        let (kind, way) = text.split_once('=')?;
        let steps = way.trim_start_matches(['.', '/']).split(['.', '/']);
        let steps: Vec<String> = steps.map(str::to_owned).collect();
        let good = !kind.is_empty() && steps.iter().all(|step| !step.is_empty());
        good.then(|| (kind.to_owned(), steps))
    };
    let ways = args.template_path.iter().map(|text| {
        way(text).ok_or_else(|| {
            let what = format!("`{}` says not where a kind has its pods", text.escape_debug());
            let hint = "write for example `--template-path Widget=spec.podTemplate`";
            usage(what, "it is KIND=PATH", hint)
        })
    });
    let ways = ways.collect::<Result<Ways, Report>>()?;
    if args.write && args.file.iter().all(|path| path.as_os_str() == "-") {
        let what = "there is no file to write back to".to_owned();
        return Err(usage(what, "`--write` changes files where they are", "name them with `-f`"));
    }
    let operator = Operator {
        image: args.image.clone(),
        pull_secrets: args.image_pull_secret.clone(),
        version,
    };
    Ok((operator, ways))
}

/// Reads everything; every file that can't be read is told.
fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>, Vec<Report>> {
    let mut inputs = Vec::new();
    let mut reports = Vec::new();
    if paths.is_empty() {
        inputs.push(None);
    }
    for path in paths {
        match files(path) {
            Ok(files) => inputs.extend(files),
            Err(error) => reports.push(unreadable(&path.display().to_string(), error.kind())),
        }
    }
    let read = |path: Option<PathBuf>| {
        let name = path.as_ref().map_or_else(|| "stdin".to_owned(), |p| p.display().to_string());
        read(path.as_deref())
            .map(|text| Input { path, text })
            .map_err(|e| unreadable(&name, e.kind()))
    };
    let mut good = Vec::new();
    for input in inputs {
        match read(input) {
            Ok(input) => good.push(input),
            Err(report) => reports.push(report),
        }
    }
    if reports.is_empty() { Ok(good) } else { Err(reports) }
}

/// The manifests at a path: of a directory those in it, in the order of their names.
fn files(path: &Path) -> std::io::Result<Vec<Option<PathBuf>>> {
    if path.as_os_str() == "-" {
        return Ok(vec![None]);
    }
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![Some(path.to_owned())]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if ENDINGS.contains(&ending) && file.is_file() {
            found.push(Some(file));
        }
    }
    found.sort();
    Ok(found)
}

fn read(path: Option<&Path>) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let limit = yaml::MAX_BYTES as u64 + 1;
    match path {
        Some(path) => std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?,
        None if std::io::stdin().is_terminal() => {
            return Err(std::io::ErrorKind::NotConnected.into());
        }
        None => std::io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
    };
    if bytes.len() > yaml::MAX_BYTES {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
}

fn unreadable(name: &str, kind: std::io::ErrorKind) -> Report {
    let (why, hint) = match kind {
        std::io::ErrorKind::NotConnected => (
            "it is a terminal".to_owned(),
            "name a file with `-f`, or pipe one in: `kustomize build . | sidekey inject`",
        ),
        std::io::ErrorKind::FileTooLarge => {
            ("it has more than 16 MiB".to_owned(), "inject it in parts")
        }
        std::io::ErrorKind::InvalidData => {
            ("it is no text in UTF-8".to_owned(), "give manifests in YAML or JSON")
        }
        kind => (system_word(kind), "name a manifest, a directory of them, or `-` for stdin"),
    };
    Report::new(Reason::ConfigInvalid, format!("can't read {name}"), why).hint(hint)
}

fn edit_all(inputs: &[Input], options: &Options<'_>) -> Result<Vec<Done>, Vec<Report>> {
    let mut done = Vec::new();
    let mut reports = Vec::new();
    for input in inputs {
        match manifest::edit(&input.name(), &input.text, options) {
            Ok(edited) => done.push(edited),
            Err(more) => reports.extend(more),
        }
    }
    if reports.is_empty() { Ok(done) } else { Err(reports) }
}

/// The manifests one behind the other, or what changed in them.
fn output(as_diff: bool, inputs: &[Input], done: &[Done]) -> String {
    let mut out = String::new();
    for (input, done) in inputs.iter().zip(done) {
        if as_diff {
            out.push_str(&diff::unified(&input.name(), &input.text, &done.text));
            continue;
        }
        if !out.is_empty() {
            if !out.ends_with('\n') {
                out.push('\n');
            }
            if !done.text.starts_with("---") {
                out.push_str("---\n");
            }
        }
        out.push_str(&done.text);
    }
    out
}

/// Each changed file back to where it was, whole or not at all.
fn write_back(inputs: &[Input], done: &[Done]) -> Exit {
    for (input, done) in inputs.iter().zip(done) {
        let Some(path) = input.path.as_ref().filter(|_| input.text != done.text) else { continue };
        if let Err(error) = replace(path, &done.text) {
            let what = format!("can't write {}", path.display());
            complain(
                &Report::new(Reason::VolumeRefused, what, system_word(error.kind()))
                    .hint("without `--write` the manifests go to stdout"),
            );
            return Exit::Volume;
        }
    }
    Exit::Done
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let path = path.canonicalize()?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".sidekey-new");
    let new = path.with_file_name(name);
    std::fs::write(&new, text)?;
    std::fs::set_permissions(&new, std::fs::metadata(&path)?.permissions())?;
    std::fs::rename(&new, &path)
}
