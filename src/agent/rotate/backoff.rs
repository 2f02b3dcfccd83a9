//! How long to wait after a failure.

use std::time::Duration;

use crate::agent::store::Retry;

use super::{Roll, Timestamp, share};

/// The first wait after a failure, at the most.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait after something that may pass by itself.
const LONGEST: Duration = Duration::from_secs(60);
/// The longest wait after something that somebody must change.
const LONGEST_PERMANENT: Duration = Duration::from_secs(300);
/// A refusal for load waits at least this long, and at most [`LONGEST`] …
const OVERLOAD: Duration = Duration::from_secs(1);
/// … unless the store asks for more, which is believed up to here (catalogue row 5).
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// A sealed store is asked between these two: nothing but a person opens it (catalogue row 8).
const SEALED: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(30)];

/// Failures in a row, and the waits that follow from them.
///
/// Doubling waits with full jitter: the n-th is uniform in `[0, 250 ms · 2ⁿ]`, as in *Exponential
/// Backoff And Jitter* (AWS Architecture Blog, 2015), with a tenth of the span as its floor so that
/// two tries never fall together; once they have grown to the longest, half of it is the floor, so
/// that an outage of a day is two requests a minute and no more. A refusal for load waits uniformly in 1 to 60 s even when
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
            Retry::Transient if doubled >= LONGEST => between(LONGEST / 2, LONGEST, roll),
            Retry::Transient => spread(doubled, roll),
            Retry::Permanent => spread(doubled.saturating_mul(20).min(LONGEST_PERMANENT), roll),
            Retry::Sealed => between(SEALED[0], SEALED[1], roll),
            Retry::Overload { after } => {
                let asked = after.unwrap_or_default().min(LONGEST_ASKED);
                let ours = between(OVERLOAD, LONGEST, roll);
                // Longer than ours: what was asked, and a tenth on top to spread the fleet.
                if asked > ours { between(asked, share(asked, 1.1), roll) } else { ours }
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
    between(share(span, 0.1), span, roll)
}

fn between(least: Duration, most: Duration, roll: Roll) -> Duration {
    least + share(most.saturating_sub(least), roll.value())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wait(backoff: &mut Backoff, retry: Retry, roll: f64) -> Duration {
        backoff.failed(retry, Timestamp(Duration::ZERO), Roll::new(roll)).0
    }

    fn any_retry() -> impl Strategy<Value = Retry> {
        prop_oneof![
            Just(Retry::Transient),
            Just(Retry::Permanent),
            Just(Retry::Sealed),
            prop::option::of(any::<Duration>()).prop_map(|after| Retry::Overload { after }),
        ]
    }

    #[test]
    fn waits_double_from_250_ms_to_a_minute() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = (0..11)
            .map(|_| (wait(&mut backoff, Retry::Transient, 1.0).as_micros() + 500) / 1000)
            .collect();
        assert_eq!(waits[..4], [250, 500, 1000, 2000]);
        assert_eq!(waits[8..], [60_000; 3]);
        backoff.succeeded();
        assert!(wait(&mut backoff, Retry::Transient, 1.0) <= FIRST);
    }

    #[test]
    fn what_somebody_must_change_is_asked_for_every_five_minutes_in_the_end() {
        let mut backoff = Backoff { failures: 30 };
        assert_eq!(wait(&mut backoff, Retry::Permanent, 0.0), LONGEST_PERMANENT / 10);
        assert_eq!((wait(&mut backoff, Retry::Permanent, 1.0).as_millis() + 500) / 1000, 300);
    }

    #[test]
    fn a_refusal_for_load_spreads_over_a_minute_even_when_the_store_names_one_second() {
        let mut backoff = Backoff::default();
        let retry = Retry::Overload { after: Some(Duration::from_secs(1)) };
        assert_eq!(wait(&mut backoff, retry, 0.0), Duration::from_secs(1));
        assert_eq!(wait(&mut backoff, retry, 0.5).as_millis(), 30_500);
        assert!(wait(&mut backoff, retry, 1.0) > Duration::from_secs(59));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn a_refusal_for_load_waits_at_least_a_second_and_what_was_asked(
            failures: u32, roll in 0.0..1.0_f64, after in prop::option::of(0_u64..300),
        ) {
            let mut backoff = Backoff { failures };
            let after = after.map(Duration::from_secs);
            let waited = wait(&mut backoff, Retry::Overload { after }, roll);
            prop_assert!(waited >= OVERLOAD.max(after.unwrap_or_default()));
            prop_assert!(waited <= Duration::from_secs(330));
        }

        #[test]
        fn a_sealed_store_is_asked_every_15_to_30_seconds(failures: u32, roll in 0.0..1.0_f64) {
            let waited = wait(&mut Backoff { failures }, Retry::Sealed, roll);
            prop_assert!(waited >= SEALED[0] && waited <= SEALED[1]);
        }

        #[test]
        fn no_wait_is_zero_or_longer_than_its_bound(failures: u32, roll in 0.0..1.0_f64) {
            let mut backoff = Backoff { failures };
            let waited = wait(&mut backoff, Retry::Transient, roll);
            prop_assert!(waited >= FIRST / 11 && waited <= LONGEST);
            let mut backoff = Backoff { failures };
            prop_assert!(wait(&mut backoff, Retry::Permanent, roll) <= LONGEST_PERMANENT);
        }

        #[test]
        fn one_more_failure_never_makes_the_wait_shorter(failures: u32, roll in 0.0..1.0_f64) {
            let mut backoff = Backoff { failures };
            for retry in [Retry::Transient, Retry::Permanent] {
                prop_assert!(wait(&mut backoff, retry, roll) <= wait(&mut backoff, retry, roll));
            }
        }

        #[test]
        fn no_number_however_absurd_ends_the_agent_or_the_waiting(
            failures: u32, roll: f64, now: Duration, retry in any_retry(),
        ) {
            let now = Timestamp(now);
            let when = Backoff { failures }.failed(retry, now, Roll::new(roll));
            prop_assert!(when > now || now.after(Duration::from_millis(1)) == Timestamp(Duration::MAX));
            prop_assert!(when <= now.after(Duration::from_secs(330)));
        }
    }
}
