//! Hits become findings: one secret is one finding, with every place it was seen. Pure; the order of
//! the hits does not matter.
//!
//! 1. A generic hit that overlaps a specific one in the same bytes is dropped.
//! 2. Hits of one value are one group. A value that could be guessed must also have the same name.
//! 3. The surest rule names the group; its places are put in order, the most visible first.
//! 4. What a later layer copied up was brought in by the first one.
//! 5. Groups are put in order, the worst first, and cut to what is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::fix::fix;
use super::preview::preview;
use super::{
    Confidence, Finding, Fingerprints, Hit, Located, Place, PlaceKind, Redactor, RuleInfo,
    Severity, State, Suppressed, SuppressedBy,
};

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// This sure or surer.
    pub min_confidence: Confidence,
    /// So many findings; the rest are counted.
    pub findings: usize,
    /// So many places of a finding; the rest are counted.
    pub places: usize,
    /// A comment beside a secret may silence it.
    pub inline_allow: bool,
}

/// What came of the hits.
pub struct Assembled {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// Findings beyond what is kept.
    pub dropped: u64,
    /// Knows every secret that was seen, also those not kept: for the text around them.
    pub redactor: Redactor,
}

/// Makes findings of hits. `rules` is indexed by the hits' rule.
pub fn assemble(
    located: Vec<Located>,
    rules: &[RuleInfo],
    prints: &Fingerprints,
    keep: &Keep,
) -> Assembled {
    let maker = Maker { rules, prints, keep, unknown: RuleInfo::default() };
    let mut told = Told { redactor: maker.redactor(&located), known: BTreeMap::new() };
    let groups = maker.groups(without_echoes(located));
    let mut findings: Vec<(Finding, BTreeSet<Site>)> =
        groups.into_values().filter_map(|group| maker.finding(group, &mut told)).collect();
    findings.sort_by_cached_key(|(finding, _)| rank(finding));
    let dropped = findings.len().saturating_sub(keep.findings) as u64;
    findings.truncate(keep.findings);
    relate(&mut findings);
    let mut findings: Vec<Finding> = findings.into_iter().map(|(finding, _)| finding).collect();
    name(&mut findings);
    Assembled { findings, dropped, redactor: told.redactor }
}

/// The bytes around a hit: a file in a layer, a variable of the config.
type Site = (Option<u32>, PlaceKind, Option<Vec<u8>>);

fn site(place: &Place) -> Site {
    (place.introduced.layer, place.kind, place.path.clone())
}

/// The order of a finding's places: the most visible, then the earliest.
fn place_order(place: &Place) -> impl Ord + use<> {
    let layer = place.introduced.layer.unwrap_or(u32::MAX);
    let within = (place.inside.clone(), place.offset, place.length);
    (place.state, layer, place.kind, place.path.clone(), within)
}

/// The order of the findings: the worst, surest, most visible first. The fingerprint settles ties.
fn rank(finding: &Finding) -> impl Ord + use<> {
    let first = finding.places.first();
    (
        (finding.severity, finding.confidence, first.map(|place| place.state)),
        finding.rule.clone(),
        finding.fingerprint.clone(),
        first.map(place_order),
    )
}

/// Step 1.
fn without_echoes(mut located: Vec<Located>) -> Vec<Located> {
    let mut strong: BTreeMap<_, Vec<(u64, u64)>> = BTreeMap::new();
    for Located { hit, place } in located.iter().filter(|located| !located.hit.weak) {
        if hit.confidence <= Confidence::Likely {
            let spans = strong.entry((site(place), place.inside.clone())).or_default();
            spans.push((place.offset, place.offset.saturating_add(place.length)));
        }
    }
    located.retain(|Located { hit, place }| {
        let end = place.offset.saturating_add(place.length);
        let echoed = || {
            let spans = strong.get(&(site(place), place.inside.clone()));
            spans.is_some_and(|spans| spans.iter().any(|&(a, b)| a < end && place.offset < b))
        };
        !hit.weak || !echoed()
    });
    located
}

/// The surest rule first; then the worst, the one with a place earlier, the name.
fn by_standing(a: &Located, b: &Located) -> std::cmp::Ordering {
    let standing = |located: &Located| {
        let hit = &located.hit;
        (hit.weak, hit.confidence, hit.severity, hit.rule)
    };
    standing(a).cmp(&standing(b)).then_with(|| place_order(&a.place).cmp(&place_order(&b.place)))
}

struct Maker<'a> {
    rules: &'a [RuleInfo],
    prints: &'a Fingerprints,
    keep: &'a Keep,
    unknown: RuleInfo,
}

impl Maker<'_> {
    fn info(&self, hit: &Hit) -> &RuleInfo {
        self.rules.get(usize::from(hit.rule.0)).unwrap_or(&self.unknown)
    }

    fn redactor(&self, located: &[Located]) -> Redactor {
        let mut redactor = Redactor::default();
        let mut known = BTreeSet::new();
        for Located { hit, .. } in located {
            if known.insert(self.prints.identity("", hit.secret.expose())) {
                redactor.add(&hit.secret);
            }
        }
        redactor
    }

    /// Step 2.
    fn groups(&self, located: Vec<Located>) -> BTreeMap<[u8; 16], Vec<Located>> {
        let value = |hit: &Hit| self.prints.identity("", hit.secret.expose());
        let strong: BTreeSet<_> =
            located.iter().filter(|l| !l.hit.weak).map(|l| value(&l.hit)).collect();
        let mut groups: BTreeMap<_, Vec<Located>> = BTreeMap::new();
        for one in located {
            let mut identity = value(&one.hit);
            if !strong.contains(&identity) {
                let name = one.hit.key_name.as_deref().unwrap_or(&self.info(&one.hit).id);
                identity = self.prints.identity(&name.to_lowercase(), one.hit.secret.expose());
            }
            groups.entry(identity).or_default().push(one);
        }
        groups
    }

    /// Step 3.
    fn finding(
        &self,
        mut group: Vec<Located>,
        told: &mut Told,
    ) -> Option<(Finding, BTreeSet<Site>)> {
        group.sort_by(by_standing);
        let confidence = group.iter().map(|located| located.hit.confidence).min()?;
        if confidence > self.keep.min_confidence {
            return None;
        }
        let severity = group.iter().map(|located| located.hit.severity).min()?;
        let allowed = group.iter().all(|located| located.hit.allowed_inline);
        let proof: BTreeSet<_> = group.iter().flat_map(|l| l.hit.proof.iter().cloned()).collect();
        let sites = group.iter().map(|located| site(&located.place)).collect();
        let mut hits = Vec::with_capacity(group.len());
        let mut places = Vec::with_capacity(group.len());
        for Located { hit, place } in group {
            hits.push(hit);
            places.push(place);
        }
        let hit = hits.swap_remove(0);
        let (places, places_total) = self.places(places);
        let shown: Vec<Place> = places.into_iter().map(|place| told.place(place)).collect();
        let first = shown.first()?;
        let info = self.info(&hit);
        let finding = Finding {
            id: String::new(),
            rule: info.id.clone(),
            title: info.title.clone(),
            grants: info.grants.clone(),
            severity: severity_of(&hit, severity),
            confidence,
            proof: proof.iter().map(ToString::to_string).collect(),
            fingerprint: self.fingerprint(&hit, info, first),
            preview: preview(&info.prefixes, hit.secret.expose(), hit.weak),
            fix: fix(info, hit.key_name.as_deref(), first),
            places: shown,
            places_total,
            related: Vec::new(),
            suppressed: (allowed && self.keep.inline_allow).then(inline),
            secret: hit.secret,
        };
        Some((finding, sites))
    }

    fn fingerprint(&self, hit: &Hit, info: &RuleInfo, first: &Place) -> String {
        let value = hit.secret.expose();
        if hit.weak {
            let key_name = hit.key_name.as_deref().unwrap_or_default();
            return self.prints.weak(
                &info.id,
                key_name,
                first.path.as_deref().unwrap_or_default(),
                value,
            );
        }
        let family = if info.family.is_empty() { &info.id } else { &info.family };
        self.prints.strong(family, value)
    }

    /// In order, each once, cut to what is kept; and how many there were.
    fn places(&self, mut places: Vec<Place>) -> (Vec<Place>, u64) {
        places.sort_by_cached_key(place_order);
        places.dedup();
        carry_up(&mut places);
        let total = places.len() as u64;
        places.truncate(self.keep.places);
        (places, total)
    }
}

/// What it grants is what the surest rule says, unless that one only names it.
fn severity_of(hit: &Hit, worst: Severity) -> Severity {
    if hit.confidence == Confidence::Proved { hit.severity } else { worst }
}

fn inline() -> Suppressed {
    let reason = "a comment beside it says `sidekey:allow`".to_owned();
    Suppressed { by: SuppressedBy::Inline, reason, until: None }
}

/// Step 4: follows each place back through the copies it replaced.
fn carry_up(places: &mut [Place]) {
    let replaced: BTreeMap<_, _> = places
        .iter()
        .filter(|place| {
            place.state == State::Overwritten && place.removed_by != place.introduced.layer
        })
        .filter_map(|place| {
            let by = place.removed_by?;
            Some(((by, place.kind, place.path.clone()), place.introduced.clone()))
        })
        .collect();
    for place in places {
        while let Some(layer) = place.introduced.layer {
            let key = (layer, place.kind, place.path.clone());
            let Some(earlier) = replaced.get(&key).filter(|earlier| earlier.layer < Some(layer))
            else {
                break;
            };
            place.introduced = earlier.clone();
        }
    }
}

/// What may be told of a place. An instruction names what brought the secret in, and may hold it; so
/// may the name of a file. Thousands of places have the same instruction.
struct Told {
    redactor: Redactor,
    known: BTreeMap<Arc<str>, Arc<str>>,
}

impl Told {
    fn place(&mut self, mut place: Place) -> Place {
        if let Some(instruction) = place.introduced.instruction.take() {
            place.introduced.instruction = Some(self.instruction(instruction));
        }
        if place.kind == PlaceKind::Filename {
            place.path = place.path.map(|path| self.redactor.bytes(&path));
            for inside in &mut place.inside {
                inside.name = inside.name.take().map(|name| self.redactor.bytes(&name));
            }
        }
        place
    }

    fn instruction(&mut self, instruction: Arc<str>) -> Arc<str> {
        if let Some(told) = self.known.get(&instruction) {
            return told.clone();
        }
        let told: Arc<str> = self.redactor.text(&instruction).into();
        self.known.insert(instruction, told.clone());
        told
    }
}

/// Findings that stand in the same file belong together if they are of one kind of service.
fn relate(findings: &mut [(Finding, BTreeSet<Site>)]) {
    let mut by_site: BTreeMap<(&Site, &str), Vec<usize>> = BTreeMap::new();
    for (index, (finding, sites)) in findings.iter().enumerate() {
        for site in sites {
            by_site.entry((site, service(&finding.rule))).or_default().push(index);
        }
    }
    let mut related: Vec<BTreeSet<usize>> = vec![BTreeSet::new(); findings.len()];
    for together in
        by_site.values().filter(|together| (2..=RELATED_AT_MOST).contains(&together.len()))
    {
        for &one in together {
            related[one].extend(together.iter().filter(|&&other| other != one));
        }
    }
    let names: Vec<String> = findings.iter().map(|(found, _)| found.fingerprint.clone()).collect();
    for ((finding, _), others) in findings.iter_mut().zip(related) {
        finding.related = others.iter().map(|&other| names[other].clone()).collect();
    }
}

/// A file with more findings of one service is a list, not a pair.
const RELATED_AT_MOST: usize = 8;

/// `aws` of `aws-access-key-id`.
fn service(rule: &str) -> &str {
    rule.split('-').next().unwrap_or(rule)
}

/// Short names from the fingerprints; the second of the same one gets a number.
fn name(findings: &mut [Finding]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for finding in findings {
        let short: String = finding.fingerprint.chars().skip(3).take(12).collect();
        let count = seen.entry(short.clone()).or_default();
        *count += 1;
        finding.id = if *count == 1 { short } else { format!("{short}-{count}") };
    }
}
