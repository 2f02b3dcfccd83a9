//! How long to wait after a failure.

use std::time::Duration;

use crate::agent::store::Retry;

use super::{Roll, Timestamp};

/// The first wait after a failure, at the most.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait after something that may pass by itself.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait after something that somebody must change.
const LONGEST_PERMANENT: Duration = Duration::from_secs(300);
/// A refusal for load waits at least this long, and at most [`LONGEST`].
const OVERLOAD: Duration = Duration::from_secs(1);

/// Failures in a row, and the waits that follow from them.
///
/// Doubling waits with full jitter: the n-th is uniform in `[0, 250 ms · 2ⁿ]`, as in *Exponential
/// Backoff And Jitter* (AWS Architecture Blog, 2015), with a tenth of the span as its floor so that
/// two tries never fall together. A refusal for load waits uniformly in 1 to 60 s even when
/// `Retry-After` is shorter, because ten thousand pods that all come back after one second are the
/// same load again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// When to try again after a failure at `now`.
    pub fn failed(&mut self, retry: Retry, now: Timestamp, roll: Roll) -> Timestamp {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let wait = match retry {
            Retry::Transient => spread(doubled.min(LONGEST), roll),
            Retry::Permanent => spread(doubled.saturating_mul(20).min(LONGEST_PERMANENT), roll),
            Retry::Overload { after } => {
                let asked = after.unwrap_or_default();
                let ours = OVERLOAD + LONGEST.saturating_sub(OVERLOAD).mul_f64(roll.value());
                // Longer than ours: what was asked, and a tenth on top to spread the fleet.
                if asked > ours { asked + asked.mul_f64(0.1 * roll.value()) } else { ours }
            }
        };
        now.after(wait)
    }

    /// Begins anew.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }
}

fn spread(span: Duration, roll: Roll) -> Duration {
    span.mul_f64(0.1 + 0.9 * roll.value())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait(backoff: &mut Backoff, retry: Retry, roll: f64) -> Duration {
        backoff.failed(retry, Timestamp(Duration::ZERO), Roll::new(roll)).0
    }

    #[test]
    fn waits_double_from_250_ms_to_a_minute() {
        let mut backoff = Backoff::default();
        let mut longest =
            || wait(&mut backoff, Retry::Transient, 1.0).as_secs_f64().mul_add(1000.0, 0.5);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a minute at most"
        )]
        let waits: Vec<u64> = (0..11).map(|_| longest() as u64).collect();
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[8..], [60_000; 3]);
        backoff.succeeded();
        assert!(wait(&mut backoff, Retry::Transient, 1.0) <= FIRST);
    }

    proptest! {
        #[test]
        fn a_refusal_for_load_waits_at_least_a_second_and_what_was_asked(
            failures in 0_u32..100, roll in 0.0..1.0_f64, after in prop::option::of(0_u64..300),
        ) {
            let mut backoff = Backoff { failures };
            let after = after.map(Duration::from_secs);
            let waited = wait(&mut backoff, Retry::Overload { after }, roll);
            prop_assert!(waited >= OVERLOAD.max(after.unwrap_or_default()));
            prop_assert!(waited <= Duration::from_secs(330));
        }

        #[test]
        fn no_wait_is_zero_or_longer_than_its_bound(failures: u32, roll in 0.0..1.0_f64) {
            let mut backoff = Backoff { failures };
            let waited = wait(&mut backoff, Retry::Transient, roll);
            prop_assert!(waited >= FIRST / 11 && waited <= LONGEST);
            let mut backoff = Backoff { failures };
            prop_assert!(wait(&mut backoff, Retry::Permanent, roll) <= LONGEST_PERMANENT);
        }
    }
}
