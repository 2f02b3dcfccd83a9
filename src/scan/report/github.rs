//! Annotations in the log of a GitHub workflow.

use std::io::{self, Write};

use super::escape::plain;
use super::sarif::uri;
use super::text::spot;
use super::{Options, worst_first};
use crate::scan::finding::{ScanReport, Severity};

/// GitHub shows ten of each level in a step; a few more are of use in the log.
const ANNOTATIONS: usize = 50;

/// Writes one command a line.
pub fn write(report: &ScanReport, _options: &Options, out: &mut dyn Write) -> io::Result<()> {
    let all: Vec<_> =
        worst_first(report).into_iter().filter(|(_, found)| found.suppressed.is_none()).collect();
    for (image, found) in all.iter().take(ANNOTATIONS) {
        let level = match found.severity {
            _ if !report.gate.counts(found) => "notice",
            Severity::Critical | Severity::High => "error",
            _ => "warning",
        };
        let place = found.places.first();
        let line = place.and_then(|place| place.line);
        let line = line.map_or(String::new(), |line| format!(",line={line}"));
        writeln!(
            out,
            "::{level} file={}{line},title={}::{}",
            property(&place.map(uri).unwrap_or_default()),
            property(&format!("{} ({})", found.title, found.severity)),
            data(&format!(
                "{} in {}. {} {}",
                place.map(spot).unwrap_or_default(),
                image.reference,
                found.fix.remove,
                found.fingerprint
            )),
        )?;
    }
    if all.len() > ANNOTATIONS {
        writeln!(out, "::notice title=sidekey-scan::{} further findings", all.len() - ANNOTATIONS)?;
    }
    for image in report.images.iter().filter(|image| !image.complete) {
        let why = match &image.error {
            Some(error) => format!("{}: {}", error.what, error.why),
            None => "not everything was read".to_owned(),
        };
        writeln!(
            out,
            "::error title=sidekey-scan::{}",
            data(&format!("{}: {why}", image.reference))
        )?;
    }
    Ok(())
}

/// After the second `::`.
fn data(text: &str) -> String {
    plain(text).replace('%', "%25")
}

/// Between the two.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_begins_another_command() {
        assert_eq!(data("a\n::error::b"), "a\\n::error::b");
        assert_eq!(data("##[set-env name=X]y"), "##\\x5bset-env name=X]y");
        assert_eq!(property("a,file=x::y%0A"), "a%2Cfile=x%3A%3Ay%250A");
    }
}
