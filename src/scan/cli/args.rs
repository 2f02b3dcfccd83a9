//! The arguments, and what they have to be.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::scan::finding::{Confidence, OriginGate, Severity, SkipReason, StateGate};
use crate::scan::image::platform::Wanted;
use crate::scan::report::Format;

/// Finds secrets baked into image layers, with the layer, the instruction and the way out.
#[derive(Debug, Parser)]
#[command(
    name = "sidekey-scan",
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 clean, 1 findings, 2 usage or failure, 3 not everything was read."
)]
pub struct Arguments {
    /// What to do; `scan` if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The scan.
    #[command(flatten)]
    pub scan: Scan,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Scan images (the default).
    Scan(Box<Scan>),
    /// Tells one finding of a JSON report in full: every place, and what to do.
    Explain(Explain),
    /// Lists the rules, shows one, or tests a file of rules by its examples.
    #[command(subcommand)]
    Rules(RulesCommand),
}

/// What to do with rules.
#[derive(Debug, Clone, Subcommand)]
pub enum RulesCommand {
    /// Every rule with its severity.
    List,
    /// What a rule finds, what that grants, and how to revoke it.
    Show {
        /// The name of the rule.
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Runs the examples of a file of rules.
    Test {
        /// The file, in TOML.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// One finding.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// The fingerprint (`v1:…`), its first digits, or the id.
    #[arg(value_name = "FINGERPRINT")]
    pub finding: String,

    /// A report in JSON; `-` reads standard input.
    #[arg(value_name = "REPORT")]
    pub report: PathBuf,
}

/// A scan.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Scan {
    /// A path (archive of `docker save`, OCI archive, OCI layout), `-` for an archive on standard
    /// input, a reference to a registry, or one of these with its scheme: `docker-archive:`,
    /// `oci-archive:`, `oci-dir:`, `registry:`, `docker:`, `podman:` (their daemons), `dir:` (a file
    /// tree).
    #[arg(value_name = "IMAGE", required_unless_present = "from_file")]
    pub images: Vec<String>,

    /// More images, one a line; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub from_file: Option<PathBuf>,

    /// The image that they are built upon: layers that they share are the base's.
    #[arg(long, value_name = "IMAGE")]
    pub base: Option<String>,

    /// The form of the report on standard output.
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = word::<Format>)]
    pub format: Format,

    /// Write the report to FILE; FORMAT=FILE, several times, writes several.
    #[arg(long, value_name = "FILE|FORMAT=FILE")]
    pub output: Vec<OsString>,

    /// Findings that somebody has looked at, each with a reason and a last day (TOML).
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,

    /// Write a baseline of all that counts in this scan.
    #[arg(long, value_name = "FILE")]
    pub write_baseline: Option<PathBuf>,

    /// More rules, and paths that do not count: a TOML file with the lists `rules` (files beside
    /// it), `exclude`, `only` and `skip`.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Findings this bad or worse are exit code 1.
    #[arg(long, value_name = "SEVERITY", default_value = "low", value_parser = word::<Severity>)]
    pub fail_on: Severity,

    /// Report findings this sure or surer.
    #[arg(long, value_name = "CONFIDENCE", default_value = "likely", value_parser = word::<Confidence>)]
    pub min_confidence: Confidence,

    /// In which state a finding is exit code 1.
    #[arg(long, value_name = "present|any", default_value = "any", value_parser = word::<StateGate>)]
    pub fail_on_state: StateGate,

    /// Whose findings are exit code 1.
    #[arg(long, value_name = "own|any", default_value = "any", value_parser = word::<OriginGate>)]
    pub fail_on_origin: OriginGate,

    /// Exit with 0 whatever is found or not read.
    #[arg(long)]
    pub exit_zero: bool,

    /// Notes are as bad as bytes that were not read.
    #[arg(long)]
    pub strict: bool,

    /// Reasons for which bytes may stay unread.
    #[arg(long, value_name = "REASON", value_delimiter = ',', value_parser = word::<SkipReason>)]
    pub accept: Vec<SkipReason>,

    /// Which platforms of an index: `all`, `native` or OS/ARCHITECTURE[/VARIANT].
    #[arg(long, value_name = "PLATFORM", default_value = "all", value_parser = Wanted::parse)]
    pub platform: Wanted,

    /// Only these rules.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub only: Vec<String>,

    /// Not these rules.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    pub skip: Vec<String>,

    /// What is found in these paths of a layer does not count: `*` within a name, `**` across
    /// directories.
    #[arg(long, value_name = "GLOB")]
    pub exclude: Vec<String>,

    /// Show the secrets themselves.
    #[arg(long)]
    pub reveal: bool,

    /// Layers read at once; as many as processors and memory allow.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub jobs: Option<u16>,

    /// Memory of all processes together.
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    pub memory: u64,

    /// How long it may take.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time)]
    pub timeout: Duration,

    /// Containers inside containers that are opened.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(..=32))]
    pub max_depth: u32,

    /// A comment `sidekey:allow` in an image counts.
    #[arg(long)]
    pub inline_allow: bool,

    /// A key of at least 16 bytes for the fingerprints, so that nobody else can guess what they stand for.
    #[arg(long, value_name = "FILE")]
    pub fingerprint_key: Option<PathBuf>,

    /// A registry (HOST or HOST:PORT) that may be spoken to without TLS.
    #[arg(long, value_name = "HOST")]
    pub plain_http: Vec<String>,

    /// Certificates of authorities that registries may use, besides the system's.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Vec<PathBuf>,

    /// Say nothing but the report.
    #[arg(long, short)]
    pub quiet: bool,

    /// Colours in text.
    #[arg(long, value_name = "auto|always|never", default_value = "auto")]
    pub color: clap::ColorChoice,
}

fn word<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// `64MiB`, `1G`, `1048576`.
fn size(text: &str) -> Result<u64, String> {
    let bad = || "is a number with `KiB`, `MiB` or `GiB`, 32MiB at least".to_owned();
    let (digits, factor) = unit(
        text,
        &[
            ("GiB", 1 << 30),
            ("MiB", 1 << 20),
            ("KiB", 1 << 10),
            ("G", 1 << 30),
            ("M", 1 << 20),
            ("K", 1 << 10),
            ("B", 1),
        ],
    );
    let size = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    size.filter(|size| *size >= 32 << 20).ok_or_else(bad)
}

/// `90s`, `10m`, `1h`.
fn time(text: &str) -> Result<Duration, String> {
    let (digits, factor) = unit(text, &[("h", 3600), ("m", 60), ("s", 1)]);
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    let seconds = seconds.filter(|seconds| (1..=365 * 86_400).contains(seconds));
    seconds.map(Duration::from_secs).ok_or_else(|| "is a number with `s`, `m` or `h`".to_owned())
}

fn unit<'a>(text: &'a str, units: &[(&str, u64)]) -> (&'a str, u64) {
    let fits = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    fits.unwrap_or((text, 1))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_and_times_have_units() {
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
        assert!(size("1MiB").is_err() && size("x").is_err());
        assert_eq!(time("90"), Ok(Duration::from_secs(90)));
        assert_eq!(time("2h"), Ok(Duration::from_secs(7200)));
        assert!(time("0").is_err() && time("-1s").is_err());
    }
}
