//! `sidekey-scan explain FINGERPRINT REPORT`.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use super::args::Explain;
use super::error::Failure;
use crate::scan::report::explain;

/// A report of ten thousand findings with a thousand places each is far below.
const AT_MOST: u64 = 1 << 30;

/// Explains, and says with which code to exit.
pub fn run(args: &Explain, out: &mut dyn Write) -> Result<u8, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        let what = format!("can't read `{}`", args.report.display());
        Failure::new(what, why, "name a report in JSON, or `-` for standard input")
    };
    let mut bytes = Vec::new();
    let source: Box<dyn Read> = if args.report == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&args.report).map_err(|error| failed(&error))?)
    };
    let size = source.take(AT_MOST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    if size as u64 > AT_MOST {
        return Err(failed(&"it is larger than 1 GiB"));
    }
    let text = explain(&args.finding, &bytes)
        .map_err(|error| Failure::several([error.trouble()].into_iter()))?;
    out.write_all(text.as_bytes()).map_err(|error| failed(&error))?;
    Ok(0)
}
