//! What a rule is, as it is written in a rules file and as the detector relies on it.

use serde::Deserialize;

use super::class::Class;
use super::gate::{Literal, SHORTEST};
use super::pair::Half;
use super::problem::RulesError;
use super::proof::Check;
use super::special::Special;
use crate::scan::finding::{Confidence, RuleInfo, Severity};

/// The files that are compiled in.
const BUILT_IN: &[(&str, &str)] = &[
    ("rules/keys.toml", include_str!("../../../rules/keys.toml")),
    ("rules/cloud.toml", include_str!("../../../rules/cloud.toml")),
    ("rules/ai.toml", include_str!("../../../rules/ai.toml")),
    ("rules/source.toml", include_str!("../../../rules/source.toml")),
    ("rules/application.toml", include_str!("../../../rules/application.toml")),
    ("rules/commands.toml", include_str!("../../../rules/commands.toml")),
    ("rules/generic.toml", include_str!("../../../rules/generic.toml")),
];

/// What a user may write: providers, each with rules.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    provider: Vec<RawProvider>,
}

/// Who hands out the credential. What stands here holds for its rules unless they say otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvider {
    name: String,
    family: String,
    grants: String,
    revoke: String,
    url: Option<String>,
    #[serde(default)]
    rule: Vec<RawRule>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
struct RawRule {
    id: String,
    title: String,
    severity: String,
    confidence: Option<String>,
    family: Option<String>,
    grants: Option<String>,
    revoke: Option<String>,
    url: Option<String>,
    /// What every credential of the kind begins with.
    #[serde(default)]
    prefix: Vec<String>,
    /// A literal inside the credential or just before it.
    #[serde(default)]
    anchor: Vec<String>,
    /// The same, as bytes in hexadecimal.
    #[serde(default)]
    bytes: Vec<String>,
    /// The pattern is the whole content of a file with one of the `paths`.
    #[serde(default)]
    whole: bool,
    /// How far before its anchor a match may begin.
    #[serde(default)]
    back: usize,
    /// Words in the name that the value is assigned to.
    #[serde(default)]
    key: Vec<String>,
    /// The word alone in that name is not enough: one of these has to be there too.
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    pattern: String,
    special: Option<Special>,
    check: Option<Check>,
    half: Option<Half>,
    #[serde(default)]
    entropy: f32,
    #[serde(default)]
    weak: bool,
    /// Letters of either case are equal in `anchor`.
    #[serde(default)]
    fold: bool,
    /// Classes in which the rule speaks; all, if none is named.
    #[serde(default)]
    classes: Vec<Class>,
    /// Ends of paths, one of which the file has to have.
    #[serde(default)]
    paths: Vec<String>,
    /// The path of the examples.
    at: Option<String>,
    examples: Vec<String>,
    #[serde(default)]
    counterexamples: Vec<String>,
}

/// How a rule recognises its credential.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shape {
    /// The pattern begins at the anchor.
    Token,
    /// The pattern contains the anchor and begins at most so far before it.
    Near(usize),
    /// The pattern is the whole value of a name that contains one of the keys.
    Keyed,
    /// The pattern is all that is in the file.
    Whole,
    /// Code of its own.
    Special(Special),
}

impl Shape {
    /// Which rule speaks where several see the same: the most particular first.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Shape::Token | Shape::Near(_) | Shape::Whole => 0,
            Shape::Special(Special::Password | Special::Key | Special::Url | Special::Login) => 3,
            Shape::Special(_) => 1,
            Shape::Keyed => 2,
        }
    }
}

/// A rule that the detector relies on.
#[derive(Debug, Clone)]
pub struct Rule {
    /// What a report says of it.
    pub info: RuleInfo,
    /// What it grants.
    pub severity: Severity,
    /// How sure a match is without a proof.
    pub confidence: Confidence,
    /// Each of these is found, with `{…}` expanded by [`super::template::expand`].
    pub examples: Vec<String>,
    /// None of these is found.
    pub counterexamples: Vec<String>,
    /// The path of the examples.
    pub at: String,
    /// The pattern, for those who want to read it.
    pub pattern: String,
    pub(super) shape: Shape,
    pub(super) anchors: Vec<Literal>,
    pub(super) keys: Vec<String>,
    pub(super) also: Vec<String>,
    pub(super) check: Option<Check>,
    pub(super) half: Option<Half>,
    pub(super) entropy: f32,
    pub(super) weak: bool,
    pub(super) classes: Vec<Class>,
    pub(super) paths: Vec<String>,
}

/// Rules, checked.
#[derive(Debug, Clone, Default)]
pub struct RuleSet {
    /// In the order of their numbers.
    pub rules: Vec<Rule>,
}

impl RuleSet {
    /// The rules that are compiled in.
    pub fn built_in() -> Result<RuleSet, RulesError> {
        let mut set = RuleSet::default();
        for (name, text) in BUILT_IN {
            set.add(name, text)?;
        }
        Ok(set)
    }

    /// Adds the rules of a file. `name` is for messages only.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), RulesError> {
        let file: RawFile = toml::from_str(text).map_err(|error| RulesError::Syntax {
            file: name.to_owned(),
            line: error.span().map_or(0, |span| line_of(text, span.start)),
        })?;
        for provider in &file.provider {
            for raw in &provider.rule {
                let rule = build(provider, raw).map_err(|why| RulesError::Rule {
                    file: name.to_owned(),
                    id: raw.id.clone(),
                    why,
                })?;
                if self.rules.iter().any(|other| other.info.id == rule.info.id) {
                    return Err(RulesError::Twice { id: rule.info.id });
                }
                self.rules.push(rule);
            }
        }
        match u16::try_from(self.rules.len()) {
            Ok(_) => Ok(()),
            Err(_) => Err(RulesError::TooMany),
        }
    }

    /// The rule of that name.
    pub fn named(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.info.id == id)
    }

    /// What a report needs, by the rule's number.
    pub fn infos(&self) -> Vec<RuleInfo> {
        self.rules.iter().map(|rule| rule.info.clone()).collect()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|&b| b == b'\n').count()
}

fn build(provider: &RawProvider, raw: &RawRule) -> Result<Rule, &'static str> {
    let shape = shape(raw)?;
    let anchors = anchors(raw);
    if shape == Shape::Whole && raw.paths.is_empty() {
        return Err("looks at whole files, but names no paths");
    }
    if shape != Shape::Whole && anchors.is_empty()
        || anchors.iter().any(|anchor| anchor.text.len() < SHORTEST)
    {
        return Err("needs anchors of at least four bytes");
    }
    if raw.examples.is_empty() {
        return Err("has no example");
    }
    let severity = raw.severity.parse().map_err(|_| "has an unknown severity")?;
    let confidence = raw.confidence.as_deref().unwrap_or("likely");
    let or = |own: &Option<String>, shared: &str| own.clone().unwrap_or_else(|| shared.to_owned());
    Ok(Rule {
        info: RuleInfo {
            id: raw.id.clone(),
            title: format!("{} {}", provider.name, raw.title).trim().to_owned(),
            grants: or(&raw.grants, &provider.grants),
            revoke: or(&raw.revoke, &provider.revoke),
            revoke_url: raw.url.clone().or_else(|| provider.url.clone()),
            family: or(&raw.family, &provider.family),
            prefixes: raw.prefix.clone(),
        },
        severity,
        confidence: confidence.parse().map_err(|_| "has an unknown confidence")?,
        examples: raw.examples.clone(),
        counterexamples: raw.counterexamples.clone(),
        at: raw.at.clone().unwrap_or_else(|| "srv/app/settings.conf".to_owned()),
        pattern: pattern(raw, &shape),
        shape,
        anchors,
        keys: raw.key.iter().map(|key| key.to_ascii_lowercase()).collect(),
        also: raw.also.iter().map(|key| key.to_ascii_lowercase()).collect(),
        check: raw.check,
        half: raw.half,
        entropy: raw.entropy,
        weak: raw.weak,
        classes: raw.classes.clone(),
        paths: raw.paths.clone(),
    })
}

fn shape(raw: &RawRule) -> Result<Shape, &'static str> {
    let anchored = !raw.anchor.is_empty() || !raw.bytes.is_empty();
    if raw.whole {
        return Ok(Shape::Whole);
    }
    let has = (!raw.prefix.is_empty(), anchored, !raw.key.is_empty());
    match (raw.special, has) {
        (Some(special), (false, true, _)) => Ok(Shape::Special(special)),
        (None, (true, false, false)) => Ok(Shape::Token),
        (None, (false, true, false)) => Ok(Shape::Near(raw.back)),
        (None, (false, false, true)) => Ok(Shape::Keyed),
        _ => Err("needs exactly one of prefix, anchor and key"),
    }
}

fn anchors(raw: &RawRule) -> Vec<Literal> {
    let exact = raw.prefix.iter().map(|text| Literal::exact(text));
    let keyed = raw.special.is_none();
    let folded = raw.key.iter().filter(|_| keyed).map(|text| Literal::folded(text));
    let near = raw
        .anchor
        .iter()
        .map(|text| if raw.fold { Literal::folded(text) } else { Literal::exact(text) });
    let bytes = raw.bytes.iter().map(|hex| Literal { text: unhex(hex), fold: false });
    exact.chain(folded).chain(near).chain(bytes).collect()
}

fn unhex(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
    let pairs = hex.as_bytes().chunks_exact(2);
    pairs.map(|pair| (digit(pair[0]) * 16 + digit(pair[1])).to_le_bytes()[0]).collect()
}

/// The whole expression: a token's includes its prefixes, a value's is anchored at both ends.
fn pattern(raw: &RawRule, shape: &Shape) -> String {
    match shape {
        Shape::Token => {
            let prefixes: Vec<String> = raw.prefix.iter().map(|p| regex::escape(p)).collect();
            format!("^(?:{}){}", prefixes.join("|"), raw.pattern)
        }
        Shape::Near(_) | Shape::Whole => raw.pattern.clone(),
        Shape::Keyed => format!("^(?:{})$", raw.pattern),
        Shape::Special(_) => raw.pattern.clone(),
    }
}
