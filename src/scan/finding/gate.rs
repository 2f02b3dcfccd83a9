//! What counts, and what the run as a whole says.

use super::words::words;
use super::{
    Confidence, Coverage, Finding, ImageReport, ScanReport, Severity, SkipReason, State, Verdict,
};

words! {
    /// In which state a finding counts.
    StateGate {
        /// Only what a container sees.
        Present = "present",
        /// Also what a later layer hid: whoever has the image still has it.
        Any = "any",
    }
}

words! {
    /// Whose findings count.
    OriginGate {
        /// Only those that are not the base image's.
        Own = "own",
        /// All.
        Any = "any",
    }
}

/// What counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// This bad or worse.
    pub fail_on: Severity,
    /// This sure or surer; what is less sure is not reported.
    pub min_confidence: Confidence,
    /// In which state.
    pub state: StateGate,
    /// Whose.
    pub origin: OriginGate,
    /// Findings and gaps do not change the exit code.
    pub exit_zero: bool,
    /// A note is as bad as a gap.
    pub strict: bool,
    /// Reasons that are notes although they are gaps.
    pub accept: Vec<SkipReason>,
}

impl Default for Gate {
    fn default() -> Gate {
        Gate {
            fail_on: Severity::Low,
            min_confidence: Confidence::Likely,
            state: StateGate::Any,
            origin: OriginGate::Any,
            exit_zero: false,
            strict: false,
            accept: Vec::new(),
        }
    }
}

impl Gate {
    /// Whether `finding` changes the exit code.
    pub fn counts(&self, finding: &Finding) -> bool {
        finding.suppressed.is_none()
            && finding.severity <= self.fail_on
            && finding.places.iter().any(|place| {
                (self.state == StateGate::Any || place.state == State::Present)
                    && (self.origin == OriginGate::Any || !place.introduced.base)
            })
    }

    /// Whether a skip for `reason` is a gap.
    pub fn is_gap(&self, reason: SkipReason) -> bool {
        (self.strict || reason.is_incomplete()) && !self.accept.contains(&reason)
    }

    fn covers(&self, coverage: &Coverage) -> bool {
        let hidden = coverage.skips_total > coverage.skips.len() as u64;
        let dropped = coverage.findings_dropped > 0 && self.is_gap(SkipReason::Limit);
        let gap = coverage.skips.iter().any(|skip| self.is_gap(skip.reason));
        !(gap || dropped || (hidden && coverage.gap_not_kept))
    }

    /// The exit code: a failure over findings over gaps over nothing.
    pub fn exit_code(&self, verdict: Verdict) -> u8 {
        match verdict {
            Verdict::Failed => 2,
            Verdict::Findings | Verdict::Incomplete if self.exit_zero => 0,
            Verdict::Findings => 1,
            Verdict::Incomplete => 3,
            Verdict::Clean => 0,
        }
    }

    fn verdict(&self, images: &[ImageReport]) -> Verdict {
        if images.iter().any(|image| image.error.is_some()) {
            Verdict::Failed
        } else if images.iter().flat_map(|image| &image.findings).any(|found| self.counts(found)) {
            Verdict::Findings
        } else if images.iter().any(|image| !image.complete) {
            Verdict::Incomplete
        } else {
            Verdict::Clean
        }
    }
}

impl ScanReport {
    /// Says what `images` come to under the report's gate. Again after anything was suppressed.
    pub fn judge(&mut self) {
        for image in &mut self.images {
            image.complete = image.error.is_none() && self.gate.covers(&image.coverage);
        }
        self.verdict = self.gate.verdict(&self.images);
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        self.gate.exit_code(self.verdict)
    }
}
