//! The JSON contract: these are its names. Fields are added, never renamed.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::Options;
use super::escape::utf8;
use crate::scan::finding::{
    BaselineUse, Coverage, Finding, Gate, Ignore, ImageReport, Inside, Introduced, LayerReport,
    Place, ScanReport, Skip, SkipReason, Suppressed, Trouble,
};

/// The version of the contract.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Serialize)]
pub struct Document<'a> {
    schema_version: u32,
    tool: Tool<'a>,
    verdict: &'static str,
    policy: Policy,
    baseline: Option<Known<'a>>,
    images: Vec<Image<'a>>,
}

#[derive(Serialize)]
pub struct Tool<'a> {
    name: &'static str,
    version: &'a str,
    rules: u32,
    rules_digest: &'a str,
}

#[derive(Serialize)]
pub struct Policy {
    fail_on: &'static str,
    min_confidence: &'static str,
    fail_on_state: &'static str,
    fail_on_origin: &'static str,
    exit_zero: bool,
    strict: bool,
    accept: Vec<&'static str>,
}

/// What came of the baseline.
#[derive(Serialize)]
pub struct Known<'a> {
    suppressed: u64,
    expired: Vec<Entry<'a>>,
    unused: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    fingerprint: &'a str,
    reason: &'a str,
    until: String,
    line: usize,
}

#[derive(Serialize)]
pub struct Image<'a> {
    #[serde(flatten)]
    head: ImageHead<'a>,
    layers: Vec<Layer<'a>>,
    findings: Vec<Found<'a>>,
    coverage: Covered<'a>,
}

/// What an image is, without what was found.
#[derive(Serialize)]
pub struct ImageHead<'a> {
    reference: &'a str,
    source: &'static str,
    index_digest: Option<&'a str>,
    digest: Option<&'a str>,
    config_digest: Option<&'a str>,
    platform: Option<&'a str>,
    base: Option<&'a str>,
    error: Option<Error<'a>>,
    complete: bool,
}

#[derive(Serialize)]
struct Error<'a> {
    what: &'a str,
    why: &'a str,
    hint: &'a str,
}

#[derive(Serialize)]
pub struct Layer<'a> {
    index: u32,
    digest: Option<&'a str>,
    diff_id: Option<&'a str>,
    media_type: Option<&'a str>,
    size: u64,
    unpacked: u64,
    instruction: Option<&'a str>,
    origin: &'static str,
}

#[derive(Serialize)]
pub struct Found<'a> {
    id: &'a str,
    rule: &'a str,
    title: &'a str,
    grants: &'a str,
    severity: &'static str,
    confidence: &'static str,
    proved: bool,
    proof: &'a [String],
    fingerprint: &'a str,
    preview: &'a str,
    fix: Fix<'a>,
    place: Option<Where<'a>>,
    introduced: Option<Origin<'a>>,
    state: Option<&'static str>,
    places: Vec<Where<'a>>,
    places_total: u64,
    related: &'a [String],
    suppressed: Option<Silenced<'a>>,
    counts: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_b64: Option<String>,
}

#[derive(Serialize)]
struct Fix<'a> {
    summary: &'a str,
    revoke: &'a str,
    rotate: &'a str,
    rotate_url: Option<&'a str>,
    remove: &'a str,
    dockerfile: &'a str,
    sidekey: &'a str,
}

#[derive(Serialize)]
struct Silenced<'a> {
    by: &'static str,
    reason: &'a str,
    until: Option<&'a str>,
}

#[derive(Serialize)]
pub struct Where<'a> {
    kind: &'static str,
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    line: Option<u64>,
    column: Option<u64>,
    offset: u64,
    length: u64,
    inside: Vec<Step<'a>>,
    introduced: Origin<'a>,
    state: &'static str,
    removed_by: Option<u32>,
}

#[derive(Serialize)]
struct Step<'a> {
    via: &'static str,
    name: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_b64: Option<String>,
    offset: u64,
}

#[derive(Serialize)]
struct Origin<'a> {
    layer: Option<u32>,
    diff_id: Option<&'a str>,
    instruction: Option<&'a str>,
    base: bool,
}

#[derive(Serialize)]
pub struct Covered<'a> {
    bytes_seen: u64,
    bytes_skipped: u64,
    files_seen: u64,
    files_skipped: u64,
    skips: Vec<Skipped<'a>>,
    skips_total: u64,
    findings_dropped: u64,
    sandbox: &'a [String],
}

#[derive(Serialize)]
struct Skipped<'a> {
    reason: &'static str,
    incomplete: bool,
    layer: Option<u32>,
    path: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_b64: Option<String>,
    inside: Vec<Step<'a>>,
    detail: Option<&'a str>,
}

impl<'a> Document<'a> {
    pub fn of(report: &'a ScanReport, options: &Options) -> Document<'a> {
        let images = report.images.iter().map(|image| Image::of(image, &report.gate, options));
        Document {
            schema_version: SCHEMA_VERSION,
            tool: Tool::of(report),
            verdict: report.verdict.word(),
            policy: Policy::of(&report.gate),
            baseline: report.baseline.as_ref().map(Known::of),
            images: images.collect(),
        }
    }
}

impl<'a> Tool<'a> {
    pub fn of(report: &'a ScanReport) -> Tool<'a> {
        let tool = &report.tool;
        Tool {
            name: "sidekey-scan",
            version: &tool.version,
            rules: tool.rules,
            rules_digest: &tool.rules_digest,
        }
    }
}

impl Policy {
    pub fn of(gate: &Gate) -> Policy {
        Policy {
            fail_on: gate.fail_on.word(),
            min_confidence: gate.min_confidence.word(),
            fail_on_state: gate.state.word(),
            fail_on_origin: gate.origin.word(),
            exit_zero: gate.exit_zero,
            strict: gate.strict,
            accept: gate.accept.iter().copied().map(SkipReason::word).collect(),
        }
    }
}

impl<'a> Known<'a> {
    pub fn of(known: &'a BaselineUse) -> Known<'a> {
        let entries = |those: &'a [Ignore]| those.iter().map(Entry::of).collect();
        Known {
            suppressed: known.suppressed,
            expired: entries(&known.expired),
            unused: entries(&known.unused),
        }
    }
}

impl<'a> Entry<'a> {
    fn of(entry: &'a Ignore) -> Entry<'a> {
        Entry {
            fingerprint: &entry.fingerprint,
            reason: &entry.reason,
            until: entry.until.to_string(),
            line: entry.line,
        }
    }
}

impl<'a> Image<'a> {
    fn of(image: &'a ImageReport, gate: &Gate, options: &Options) -> Image<'a> {
        Image {
            head: ImageHead::of(image),
            layers: image.layers.iter().map(Layer::of).collect(),
            findings: image.findings.iter().map(|found| Found::of(found, gate, options)).collect(),
            coverage: Covered::of(&image.coverage, gate),
        }
    }
}

impl<'a> ImageHead<'a> {
    pub fn of(image: &'a ImageReport) -> ImageHead<'a> {
        ImageHead {
            reference: &image.reference,
            source: image.source.word(),
            index_digest: image.index_digest.as_deref(),
            digest: image.digest.as_deref(),
            config_digest: image.config_digest.as_deref(),
            platform: image.platform.as_deref(),
            base: image.base.as_deref(),
            error: image.error.as_ref().map(Error::of),
            complete: image.complete,
        }
    }
}

impl<'a> Error<'a> {
    fn of(Trouble { what, why, hint }: &'a Trouble) -> Error<'a> {
        Error { what, why, hint }
    }
}

impl<'a> Layer<'a> {
    pub fn of(layer: &'a LayerReport) -> Layer<'a> {
        Layer {
            index: layer.index,
            digest: layer.digest.as_deref(),
            diff_id: layer.diff_id.as_deref(),
            media_type: layer.media_type.as_deref(),
            size: layer.size,
            unpacked: layer.unpacked,
            instruction: layer.instruction.as_deref(),
            origin: layer.origin.word(),
        }
    }
}

impl<'a> Found<'a> {
    pub fn of(found: &'a Finding, gate: &Gate, options: &Options) -> Found<'a> {
        let first = found.places.first();
        let revealed = options.reveal.then(|| text_or_base64(found.secret.expose()));
        let (secret, secret_b64) = revealed.unwrap_or_default();
        Found {
            id: &found.id,
            rule: &found.rule,
            title: &found.title,
            grants: &found.grants,
            severity: found.severity.word(),
            confidence: found.confidence.word(),
            proved: found.is_proved(),
            proof: &found.proof,
            fingerprint: &found.fingerprint,
            preview: &found.preview,
            fix: Fix::of(&found.fix),
            place: first.map(Where::of),
            introduced: first.map(|place| Origin::of(&place.introduced)),
            state: first.map(|place| place.state.word()),
            places: found.places.iter().map(Where::of).collect(),
            places_total: found.places_total,
            related: &found.related,
            suppressed: found.suppressed.as_ref().map(Silenced::of),
            counts: gate.counts(found),
            secret,
            secret_b64,
        }
    }
}

impl<'a> Fix<'a> {
    fn of(fix: &'a crate::scan::finding::Fix) -> Fix<'a> {
        Fix {
            summary: &fix.summary,
            revoke: &fix.revoke,
            rotate: &fix.rotate,
            rotate_url: fix.rotate_url.as_deref(),
            remove: &fix.remove,
            dockerfile: &fix.dockerfile,
            sidekey: &fix.sidekey,
        }
    }
}

impl<'a> Silenced<'a> {
    fn of(suppressed: &'a Suppressed) -> Silenced<'a> {
        Silenced {
            by: suppressed.by.word(),
            reason: &suppressed.reason,
            until: suppressed.until.as_deref(),
        }
    }
}

impl<'a> Where<'a> {
    pub fn of(place: &'a Place) -> Where<'a> {
        let (path, path_b64) = name(place.path.as_deref());
        Where {
            kind: place.kind.word(),
            path,
            path_b64,
            line: place.line,
            column: place.column,
            offset: place.offset,
            length: place.length,
            inside: place.inside.iter().map(Step::of).collect(),
            introduced: Origin::of(&place.introduced),
            state: place.state.word(),
            removed_by: place.removed_by,
        }
    }
}

impl<'a> Step<'a> {
    fn of(inside: &'a Inside) -> Step<'a> {
        let (name, name_b64) = name(inside.name.as_deref());
        Step { via: inside.via.word(), name, name_b64, offset: inside.offset }
    }
}

impl<'a> Origin<'a> {
    fn of(introduced: &'a Introduced) -> Origin<'a> {
        Origin {
            layer: introduced.layer,
            diff_id: introduced.diff_id.as_deref(),
            instruction: introduced.instruction.as_deref(),
            base: introduced.base,
        }
    }
}

impl<'a> Covered<'a> {
    pub fn of(coverage: &'a Coverage, gate: &Gate) -> Covered<'a> {
        Covered {
            bytes_seen: coverage.bytes_seen,
            bytes_skipped: coverage.bytes_skipped,
            files_seen: coverage.files_seen,
            files_skipped: coverage.files_skipped,
            skips: coverage.skips.iter().map(|skip| Skipped::of(skip, gate)).collect(),
            skips_total: coverage.skips_total,
            findings_dropped: coverage.findings_dropped,
            sandbox: &coverage.sandbox,
        }
    }
}

impl<'a> Skipped<'a> {
    fn of(skip: &'a Skip, gate: &Gate) -> Skipped<'a> {
        let (path, path_b64) = name(skip.path.as_deref());
        Skipped {
            reason: skip.reason.word(),
            incomplete: gate.is_gap(skip.reason),
            layer: skip.layer,
            path,
            path_b64,
            inside: skip.inside.iter().map(Step::of).collect(),
            detail: skip.detail.as_deref(),
        }
    }
}

/// A name as text, and in base64 where it is none.
fn name(bytes: Option<&[u8]>) -> (Option<Cow<'_, str>>, Option<String>) {
    let exact = bytes.filter(|bytes| std::str::from_utf8(bytes).is_err());
    (bytes.map(utf8), exact.map(|bytes| STANDARD.encode(bytes)))
}

fn text_or_base64(bytes: &[u8]) -> (Option<Cow<'_, str>>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(Cow::Borrowed(text)), None),
        Err(_) => (None, Some(STANDARD.encode(bytes))),
    }
}
