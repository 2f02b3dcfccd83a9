//! For people: grouped by severity, coloured on a terminal, readable without.

mod style;

use std::io::{self, Write};

use super::Options;
use super::escape::{plain, plain_bytes};
use crate::scan::finding::{
    Finding, Gate, ImageReport, Inside, Place, PlaceKind, ScanReport, Severity, State, Verdict,
};
use style::{Style, bytes, count, thousands};

/// Places told of a finding; the rest are counted, and in the other forms.
const PLACES_SHOWN: usize = 4;

/// Skips told of an image; the rest are counted, and in the other forms.
const SKIPS_SHOWN: usize = 8;

/// Writes the whole report.
pub fn write(report: &ScanReport, options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let page = Page { options, gate: &report.gate, style: Style { colour: options.colour } };
    for image in &report.images {
        page.image(image, out)?;
    }
    page.baseline(report, out)?;
    page.verdict(report, out)
}

struct Page<'a> {
    options: &'a Options,
    gate: &'a Gate,
    style: Style,
}

impl Page<'_> {
    fn image(&self, image: &ImageReport, out: &mut dyn Write) -> io::Result<()> {
        let platform = image.platform.as_deref().map(|name| format!(", {}", plain(name)));
        writeln!(
            out,
            "{} ({}{})",
            self.style.bold(&plain(&image.reference)),
            image.source,
            platform.unwrap_or_default(),
        )?;
        if let Some(digest) = &image.digest {
            writeln!(out, "  {}", self.style.dim(&plain(digest)))?;
        }
        if let Some(error) = &image.error {
            let word = self.style.severity(Severity::Critical, "error");
            writeln!(out, "  {word}: {}", plain(&error.what))?;
            writeln!(out, "    why: {}", plain(&error.why))?;
            return writeln!(out, "   hint: {}\n", plain(&error.hint));
        }
        let unpacked: u64 = image.layers.iter().map(|layer| layer.unpacked).sum();
        let seen = &image.coverage;
        writeln!(
            out,
            "  {}, {} unpacked; {} and {} read",
            count(image.layers.len() as u64, "layer"),
            bytes(unpacked),
            count(seen.files_seen, "file"),
            bytes(seen.bytes_seen),
        )?;
        writeln!(out)?;
        for &severity in Severity::ALL {
            self.group(image, severity, out)?;
        }
        self.suppressed(image, out)?;
        self.coverage(image, out)
    }

    fn group(
        &self,
        image: &ImageReport,
        severity: Severity,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let counts = |found: &&Finding| found.severity == severity && found.suppressed.is_none();
        let group: Vec<_> = image.findings.iter().filter(counts).collect();
        if group.is_empty() {
            return Ok(());
        }
        let head = format!("{} ({})", severity.word().to_uppercase(), group.len());
        writeln!(out, "{}\n", self.style.severity(severity, &head))?;
        group.into_iter().try_for_each(|found| self.finding(found, out))
    }

    fn finding(&self, found: &Finding, out: &mut dyn Write) -> io::Result<()> {
        let counts = if self.gate.counts(found) { "" } else { ", does not fail the scan" };
        let mark = self.style.severity(found.severity, "●");
        writeln!(
            out,
            "  {mark} {}  {}",
            self.style.bold(&plain(&found.title)),
            self.style.dim(&format!("{}, {}{counts}", found.rule, sureness(found))),
        )?;
        let secret = if self.options.reveal {
            plain_bytes(found.secret.expose())
        } else {
            plain(&found.preview).into_owned()
        };
        self.row("secret", &format!("{secret}  {}", self.style.dim(&found.fingerprint)), out)?;
        for place in found.places.iter().take(PLACES_SHOWN) {
            self.place(place, out)?;
        }
        let shown = found.places.len().min(PLACES_SHOWN) as u64;
        if found.places_total > shown {
            self.row("", &format!("and {} more", count(found.places_total - shown, "place")), out)?;
        }
        self.wrapped("why", &found.grants, out)?;
        self.wrapped("revoke", &found.fix.revoke, out)?;
        if let Some(url) = &found.fix.rotate_url {
            self.row("", &self.style.dim(&plain(url)), out)?;
        }
        self.wrapped("remove", &found.fix.remove, out)?;
        let explain = format!("sidekey-scan explain {} REPORT.json", found.id);
        self.row("more", &self.style.dim(&explain), out)?;
        writeln!(out)
    }

    fn place(&self, place: &Place, out: &mut dyn Write) -> io::Result<()> {
        let state = match (place.state, place.removed_by) {
            (State::Present, _) => String::new(),
            (state, Some(by)) => format!(", {state} by layer {by}"),
            (state, None) => format!(", {state}"),
        };
        let layer = match place.introduced.layer {
            Some(layer) => format!("layer {layer}"),
            None => "config".to_owned(),
        };
        let base = if place.introduced.base { ", base image" } else { "" };
        let line = format!("{}  {}", spot(place), self.style.dim(&format!("{layer}{base}{state}")));
        self.row("at", &line, out)?;
        match &place.introduced.instruction {
            Some(instruction) => {
                let room = self.options.width.saturating_sub(14).max(20);
                self.row("", &self.style.dim(&cut(&plain(instruction), room)), out)
            }
            None => Ok(()),
        }
    }

    fn suppressed(&self, image: &ImageReport, out: &mut dyn Write) -> io::Result<()> {
        let silenced = || image.findings.iter().filter_map(|f| Some((f, f.suppressed.as_ref()?)));
        if silenced().next().is_none() {
            return Ok(());
        }
        writeln!(out, "{}\n", self.style.bold(&format!("SUPPRESSED ({})", silenced().count())))?;
        for (found, why) in silenced() {
            let spot = found.places.first().map(spot).unwrap_or_default();
            let until = why.until.as_deref().map(|day| format!(" until {}", plain(day)));
            let until = until.unwrap_or_default();
            let reason = plain(&why.reason);
            writeln!(
                out,
                "  ○ {}  {spot}\n    by {}{until}: {reason}",
                plain(&found.title),
                why.by
            )?;
        }
        writeln!(out)
    }

    fn coverage(&self, image: &ImageReport, out: &mut dyn Write) -> io::Result<()> {
        let coverage = &image.coverage;
        if coverage.findings_dropped > 0 {
            let more = count(coverage.findings_dropped, "further finding");
            writeln!(out, "{} counted and not kept.", self.style.bold(&more))?;
        }
        let mut skips: Vec<_> = coverage.skips.iter().collect();
        skips.sort_by_key(|skip| (!self.gate.is_gap(skip.reason), skip.reason));
        if !skips.is_empty() {
            let gaps = skips.iter().filter(|skip| self.gate.is_gap(skip.reason)).count();
            let head = if gaps > 0 { "NOT READ" } else { "NOTES" };
            let head = format!("{head} ({})", thousands(coverage.skips_total));
            writeln!(out, "{}\n", self.style.bold(&head))?;
        }
        for skip in skips.iter().take(SKIPS_SHOWN) {
            let layer = skip.layer.map_or("config".to_owned(), |layer| format!("layer {layer}"));
            let path = skip.path.as_deref().map(plain_bytes).unwrap_or_default();
            let detail = skip.detail.as_deref().map(|d| format!(": {}", plain(d)));
            let line = format!("{layer}  {path}{}", inside(&skip.inside));
            let mark = if self.gate.is_gap(skip.reason) { "!" } else { "·" };
            writeln!(out, "  {mark} {}{}  {line}", skip.reason, detail.unwrap_or_default())?;
        }
        let hidden = coverage.skips_total.saturating_sub(skips.len().min(SKIPS_SHOWN) as u64);
        if hidden > 0 {
            writeln!(out, "    and {} more", thousands(hidden))?;
        }
        if !skips.is_empty() {
            writeln!(out)?;
        }
        for lack in &coverage.sandbox {
            writeln!(out, "{}\n", self.style.dim(&format!("sandbox: {}", plain(lack))))?;
        }
        Ok(())
    }

    fn baseline(&self, report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
        let Some(known) = &report.baseline else { return Ok(()) };
        for entry in &known.expired {
            let word = self.style.severity(Severity::Medium, "expired");
            writeln!(
                out,
                "baseline, line {}: {word} on {}: {}",
                entry.line,
                entry.until,
                plain(&entry.reason)
            )?;
        }
        for entry in &known.unused {
            writeln!(out, "baseline, line {}: fits nothing: {}", entry.line, plain(&entry.reason))?;
        }
        if known.expired.is_empty() && known.unused.is_empty() {
            return Ok(());
        }
        writeln!(out)
    }

    fn verdict(&self, report: &ScanReport, out: &mut dyn Write) -> io::Result<()> {
        let all = || report.images.iter().flat_map(|image| &image.findings);
        let counted = all().filter(|found| self.gate.counts(found));
        let mut parts: Vec<String> = Vec::new();
        for &severity in Severity::ALL {
            let number = counted.clone().filter(|found| found.severity == severity).count();
            if number > 0 {
                parts.push(format!("{number} {severity}"));
            }
        }
        let suppressed = all().filter(|found| found.suppressed.is_some()).count();
        let other = all().count() - counted.clone().count() - suppressed;
        if other > 0 {
            parts.push(format!("{other} below the threshold"));
        }
        if suppressed > 0 {
            parts.push(format!("{suppressed} suppressed"));
        }
        let gaps = report.images.iter().filter(|image| !image.complete).count();
        if gaps > 0 {
            parts.push(format!("{} not read completely", count(gaps as u64, "image")));
        }
        let parts =
            if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
        let word = match report.verdict {
            Verdict::Clean => self.style.good("clean"),
            Verdict::Findings => self.style.severity(Severity::Critical, "findings"),
            verdict => self.style.severity(Severity::Medium, verdict.word()),
        };
        writeln!(out, "{word}{parts}")?;
        if counted.count() > 0 {
            let first =
                "rotate first: a layer can't be unpublished, and whoever has pulled it has it";
            writeln!(out, "{}", self.style.dim(first))?;
        }
        Ok(())
    }

    /// A line that begins with `::` after its spaces is a command in the log of a GitHub workflow.
    fn row(&self, label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let text =
            if text.starts_with("::") { format!("\\x3a{}", &text[1..]) } else { text.into() };
        writeln!(out, "    {} {text}", self.style.dim(&format!("{label:<7}")))
    }

    fn wrapped(&self, label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
        let room = self.options.width.saturating_sub(12).max(40);
        let mut label = label;
        for line in wrap(&plain(text), room) {
            self.row(label, &line, out)?;
            label = "";
        }
        Ok(())
    }
}

fn sureness(found: &Finding) -> String {
    if found.proof.is_empty() {
        return found.confidence.word().to_owned();
    }
    format!("{} ({})", found.confidence, plain(&found.proof.join(", ")))
}

/// `app/.env:3:5 → config.json`, `env DB_PASSWORD`.
pub fn spot(place: &Place) -> String {
    let path = place.path.as_deref().map(plain_bytes).unwrap_or_default();
    let inner = inside(&place.inside);
    match place.kind {
        PlaceKind::File => {
            let line = place.line.map_or(String::new(), |line| format!(":{line}"));
            let column = place.column.filter(|_| place.line.is_some());
            let column = column.map_or(String::new(), |column| format!(":{column}"));
            let at = if line.is_empty() { format!("@{}", place.offset) } else { String::new() };
            format!("{path}{inner}{line}{column}{at}")
        }
        kind if path.is_empty() => format!("{kind}{inner}"),
        kind => format!("{kind} {path}{inner}"),
    }
}

fn inside(steps: &[Inside]) -> String {
    let step = |inside: &Inside| match inside.name.as_deref() {
        Some(name) => format!(" → {}", plain_bytes(name)),
        None => format!(" → {}", inside.via),
    };
    steps.iter().map(step).collect()
}

fn cut(text: &str, room: usize) -> String {
    match text.char_indices().nth(room) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn wrap(text: &str, room: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}
