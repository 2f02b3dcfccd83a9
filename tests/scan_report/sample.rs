//! A report with everything that can be in one, and the same with the names that an attacker gives.

use std::sync::Arc;

use sidekey::scan::finding::{
    Confidence, Coverage, Fingerprints, Gate, Hit, ImageReport, Inside, Introduced, Keep,
    LayerReport, Located, Origin, Place, PlaceKind, Proof, RuleId, RuleInfo, ScanReport, Severity,
    Skip, SkipReason, SourceKind, State, Tool, Trouble, Verdict, Via, assemble,
};
use sidekey::secret::SecretBytes;

/// In parts, so that no scanner blocks this repository.
pub fn github_token() -> String {
    ["gh", "p_", "0123456789abcdefghij", "ABCDEFGHIJ012345"].concat()
}

/// The same.
pub fn aws_id() -> String {
    ["AK", "IA", "Z7RE0F0R7E57ID00"].concat()
}

/// A value that could be guessed.
pub const PASSWORD: &str = "correct-horse-7";

/// An AWS secret.
pub fn aws_secret() -> String {
    ["wJalrXUt", "nFEMIK7MDENG", "bPxRfiCYzzzzzzTESTzz"].concat()
}

pub fn rules() -> Vec<RuleInfo> {
    let rule =
        |id: &str, title: &str, grants: &str, revoke: &str, url: Option<&str>, prefix: &str| {
            RuleInfo {
                id: id.to_owned(),
                title: title.to_owned(),
                grants: grants.to_owned(),
                revoke: revoke.to_owned(),
                revoke_url: url.map(str::to_owned),
                family: id.split('-').next().unwrap_or(id).to_owned(),
                prefixes: if prefix.is_empty() { Vec::new() } else { vec![prefix.to_owned()] },
            }
        };
    vec![
        rule(
            "github-pat",
            "GitHub personal access token",
            "Whatever its owner may do on GitHub, within the scopes of the token.",
            "Delete it in the developer settings of its owner.",
            Some("https://github.com/settings/tokens"),
            "ghp_",
        ),
        rule(
            "aws-access-key-id",
            "AWS access key",
            "With its secret half: whatever the IAM user may do.",
            "Deactivate the key of the IAM user, then delete it.",
            Some("https://console.aws.amazon.com/iam/"),
            "AKIA",
        ),
        rule(
            "aws-secret-access-key",
            "AWS secret access key",
            "Whatever the IAM user may do.",
            "Deactivate the key of the IAM user, then delete it.",
            None,
            "",
        ),
        rule("generic-password", "password", "Whatever it opens.", "", None, ""),
    ]
}

/// What one hit of the samples differs in.
pub struct At<'a> {
    pub rule: u16,
    pub secret: String,
    pub kind: PlaceKind,
    pub path: &'a [u8],
    pub layer: Option<u32>,
    pub instruction: Option<&'a str>,
    pub line: Option<u64>,
    pub state: State,
    pub removed_by: Option<u32>,
    pub inside: Vec<Inside>,
}

impl Default for At<'_> {
    fn default() -> Self {
        At {
            rule: 0,
            secret: github_token(),
            kind: PlaceKind::File,
            path: b"app/.env",
            layer: Some(2),
            instruction: Some("COPY . /app"),
            line: Some(3),
            state: State::Present,
            removed_by: None,
            inside: Vec::new(),
        }
    }
}

pub fn located(at: At<'_>) -> Located {
    let length = at.secret.len() as u64;
    let weak = at.rule == 3;
    let severity = [Severity::High, Severity::Critical, Severity::Critical, Severity::Medium];
    let column = at.line.map(|_| 14);
    let hit = Hit {
        rule: RuleId(at.rule),
        offset: 45,
        length,
        line: at.line,
        column,
        inside: Vec::new(),
        secret: SecretBytes::from(at.secret),
        confidence: if weak { Confidence::Likely } else { Confidence::Proved },
        severity: severity[usize::from(at.rule)],
        proof: [&[Proof::Checksum][..], &[Proof::Paired], &[Proof::Paired], &[]]
            [usize::from(at.rule)]
        .to_vec(),
        weak,
        key_name: weak.then(|| "DB_PASSWORD".to_owned()),
        allowed_inline: false,
    };
    let place = Place {
        kind: at.kind,
        path: (!at.path.is_empty()).then(|| at.path.to_vec()),
        line: at.line,
        column,
        offset: 45,
        length,
        inside: at.inside,
        introduced: Introduced {
            layer: at.layer,
            diff_id: at.layer.map(|layer| Arc::from(digest('d', layer))),
            instruction: at.instruction.map(Arc::from),
            base: at.layer == Some(0),
        },
        state: at.state,
        removed_by: at.removed_by,
    };
    Located { hit, place }
}

fn digest(kind: char, number: u32) -> String {
    format!("sha256:{}{number:063x}", if kind == 'd' { 'd' } else { 'b' })
}

fn layer(index: u32, size: u64, instruction: &str) -> LayerReport {
    LayerReport {
        index,
        digest: Some(digest('b', index)),
        diff_id: Some(digest('d', index)),
        media_type: Some("application/vnd.oci.image.layer.v1.tar+gzip".to_owned()),
        size,
        unpacked: size * 3,
        instruction: Some(instruction.to_owned()),
        origin: if index == 0 { Origin::Base } else { Origin::Own },
    }
}

/// An image of which `hits` were found.
pub fn image(reference: &str, hits: Vec<Located>) -> ImageReport {
    let keep = Keep {
        min_confidence: Confidence::Likely,
        findings: 10_000,
        places: 1_000,
        inline_allow: false,
    };
    let assembled = assemble(hits, &rules(), &Fingerprints::public(), &keep);
    let mut layers = vec![
        layer(0, 29_000_000, "ADD rootfs.tar.xz / # debian"),
        layer(1, 51_400_000, "RUN apt-get update && apt-get install -y nginx"),
        layer(2, 1_730_000, "COPY . /app"),
        layer(3, 460, "RUN rm /app/.git-credentials"),
    ];
    for layer in &mut layers {
        layer.instruction = layer.instruction.take().map(|text| assembled.redactor.text(&text));
    }
    ImageReport {
        reference: reference.to_owned(),
        source: SourceKind::OciArchive,
        index_digest: None,
        digest: Some(digest('b', 77)),
        config_digest: Some(digest('b', 78)),
        platform: Some("linux/amd64".to_owned()),
        base: Some("debian:12".to_owned()),
        error: None,
        complete: true,
        layers,
        findings: assembled.findings,
        coverage: Coverage { bytes_seen: 246_391_380, files_seen: 9_412, ..Coverage::default() },
    }
}

pub fn report(images: Vec<ImageReport>) -> ScanReport {
    let mut report = ScanReport {
        tool: Tool { version: "0.1.0".into(), rules: 4, rules_digest: "sha256:0000".into() },
        gate: Gate::default(),
        verdict: Verdict::Clean,
        baseline: None,
        images,
    };
    report.judge();
    report
}

/// Nothing was found.
pub fn clean() -> ScanReport {
    report(vec![image("registry.example/clean:1", Vec::new())])
}

/// Everything that can be in a report.
pub fn full() -> ScanReport {
    let nested = vec![
        Inside { via: Via::Zip, name: Some(b"BOOT-INF/application.yml".to_vec()), offset: 8_192 },
        Inside { via: Via::Base64, name: None, offset: 120 },
    ];
    let hits = vec![
        located(At::default()),
        located(At {
            path: b"app/.git-credentials",
            line: Some(1),
            state: State::Deleted,
            removed_by: Some(3),
            ..At::default()
        }),
        located(At { path: b"app/app.jar", line: None, inside: nested, ..At::default() }),
        located(At {
            rule: 1,
            secret: aws_id(),
            path: b"root/.aws/credentials",
            layer: Some(0),
            line: Some(2),
            instruction: None,
            ..At::default()
        }),
        located(At {
            rule: 2,
            secret: aws_secret(),
            path: b"root/.aws/credentials",
            layer: Some(0),
            instruction: None,
            ..At::default()
        }),
        located(At {
            rule: 3,
            secret: PASSWORD.to_owned(),
            kind: PlaceKind::Env,
            path: b"DB_PASSWORD",
            layer: None,
            line: None,
            instruction: Some("ENV DB_PASSWORD=correct-horse-7"),
            ..At::default()
        }),
    ];
    let mut first = image("registry.example/shop/orders:1.4.2", hits);
    first.coverage.skips = vec![
        Skip {
            reason: SkipReason::Limit,
            layer: Some(1),
            path: Some(b"usr/share/big.zst".to_vec()),
            inside: Vec::new(),
            detail: Some("a window of 128 MiB; --memory 200MiB is enough".to_owned()),
        },
        Skip {
            reason: SkipReason::UnsupportedFormat,
            layer: Some(2),
            path: Some(b"app/assets.7z".to_vec()),
            inside: Vec::new(),
            detail: None,
        },
    ];
    first.coverage.skips_total = 2;
    first.coverage.files_skipped = 2;
    first.coverage.bytes_skipped = 150_000_000;
    first.coverage.sandbox = vec!["no Landlock in this kernel".to_owned()];
    let mut second = image("./broken.tar", Vec::new());
    second.layers.clear();
    second.platform = None;
    second.error = Some(Trouble {
        what: "`./broken.tar` is no image".to_owned(),
        why: "neither `manifest.json` nor `index.json` is in it".to_owned(),
        hint: "write one with `docker save` or `skopeo copy`".to_owned(),
    });
    report(vec![first, second])
}

/// What an attacker would call things.
pub const HOSTILE: [&str; 8] = [
    "</script><script>alert(1)</script>",
    "\x1b]52;c;ZXZpbA==\x07\x1b[2J",
    "::set-output name=x::y\n::error::pwned",
    "##[set-env name=PATH]/evil",
    "evil\u{202e}gnp.exe\u{2066}",
    "]]>&<!--\u{fffe}\u{0}",
    "\u{9b}31m\u{2028}'\"`|$(id)",
    "a\r\nb\tc\\d",
];

/// Each of [`HOSTILE`] in each place where an image's words go.
pub fn hostile() -> ScanReport {
    let mut hits = Vec::new();
    for (number, name) in HOSTILE.iter().enumerate() {
        let inside =
            vec![Inside { via: Via::Tar, name: Some(name.as_bytes().to_vec()), offset: 0 }];
        hits.push(located(At {
            path: name.as_bytes(),
            instruction: Some(name),
            inside,
            ..At::default()
        }));
        hits.push(located(At {
            rule: 3,
            secret: format!("value-{number}"),
            kind: PlaceKind::Label,
            path: name.as_bytes(),
            layer: None,
            instruction: Some(name),
            ..At::default()
        }));
    }
    hits.push(located(At { path: b"caf\xe9/\xff\xfe", ..At::default() }));
    let mut image = image(HOSTILE[0], hits);
    image.base = Some(HOSTILE[4].to_owned());
    image.platform = Some(HOSTILE[1].to_owned());
    for (layer, name) in image.layers.iter_mut().zip(HOSTILE) {
        layer.instruction = Some(name.to_owned());
        layer.media_type = Some(name.to_owned());
    }
    image.coverage.skips = HOSTILE
        .iter()
        .map(|name| Skip {
            reason: SkipReason::NestedCorrupt,
            layer: Some(1),
            path: Some(name.as_bytes().to_vec()),
            inside: Vec::new(),
            detail: Some((*name).to_owned()),
        })
        .collect();
    image.coverage.skips_total = HOSTILE.len() as u64;
    let mut broken = self::image(HOSTILE[2], Vec::new());
    broken.error = Some(Trouble {
        what: HOSTILE[1].to_owned(),
        why: HOSTILE[2].to_owned(),
        hint: HOSTILE[4].to_owned(),
    });
    report(vec![image, broken])
}
