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
/// A refusal for load waits at least this long, or what the store asks for, …
const OVERLOAD: Duration = Duration::from_secs(1);
/// … which is believed up to here (catalogue row 5), …
const LONGEST_ASKED: Duration = Duration::from_secs(300);
/// … and up to this much longer: what a fleet that starts at once needs to come through.
const OVERLOAD_SPREAD: Duration = Duration::from_secs(59);
/// The first wait for a sealed store, at the most: nothing but a person opens it (catalogue row 8).
const SEALED: Duration = Duration::from_secs(30);

/// Failures in a row, and the waits that follow from them.
///
/// Doubling waits with full jitter: the n-th is uniform in `[0, 250 ms · 2ⁿ]`, as in *Exponential
/// Backoff And Jitter* (AWS Architecture Blog, 2015), with a tenth of the span as its floor so that
/// two tries never fall together; once they have grown to the longest, half of it is the floor, so
/// that an outage of a day is two requests a minute and no more.
///
/// A refusal for load waits uniformly in 1 to 60 s even when `Retry-After` is shorter, because ten
/// thousand pods that all come back after one second are the same load again. One that asks for more
/// gets that and the same 59 s of spread on top, for the same reason.
///
/// A sealed store is asked after 15 to 30 s, and then every 30 to 60 s like one that is away: ten
/// thousand pods that go on with the former are 444 requests a second while it is sealed, and 1,300
/// for twenty seconds when somebody opens it. `tests/fleet.rs` has the numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
    /// How many of them, since the last of another kind, were of a sealed store.
    sealed: u32,
}

impl Backoff {
    /// When to try again after a failure at `now`.
    pub fn failed(&mut self, retry: Retry, now: Timestamp, roll: Roll) -> Timestamp {
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        let sealed = SEALED.saturating_mul(2_u32.saturating_pow(self.sealed)).min(LONGEST);
        self.sealed = if retry == Retry::Sealed { self.sealed.saturating_add(1) } else { 0 };
        self.failures = self.failures.saturating_add(1);
        let wait = match retry {
            Retry::Transient if doubled >= LONGEST => between(LONGEST / 2, LONGEST, roll),
            Retry::Transient => spread(doubled, roll),
            Retry::Permanent => spread(doubled.saturating_mul(20).min(LONGEST_PERMANENT), roll),
            Retry::Sealed => between(sealed / 2, sealed, roll),
            Retry::Overload { after } => {
                let asked = after.unwrap_or_default().clamp(OVERLOAD, LONGEST_ASKED);
                between(asked, asked + OVERLOAD_SPREAD, roll)
            }
        };
        now.after(wait)
    }

    /// Begins anew.
    pub fn succeeded(&mut self) {
        *self = Backoff::default();
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
        let mut backoff = Backoff { failures: 30, sealed: 0 };
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
            let mut backoff = Backoff { failures, sealed: 0 };
            let after = after.map(Duration::from_secs);
            let waited = wait(&mut backoff, Retry::Overload { after }, roll);
            prop_assert!(waited >= OVERLOAD.max(after.unwrap_or_default()));
            prop_assert!(waited <= OVERLOAD.max(after.unwrap_or_default()) + OVERLOAD_SPREAD);
        }

        #[test]
        fn a_sealed_store_is_asked_after_15_to_30_seconds_and_then_every_30_to_60(
            failures: u32, sealed in 1..u32::MAX, roll in 0.0..1.0_f64,
        ) {
            // Of a store that was away before, too: it is started again, and about to be opened.
            let (mut first, mut later) = (Backoff { failures, sealed: 0 }, Backoff { failures, sealed });
            let first = wait(&mut first, Retry::Sealed, roll).as_secs_f64();
            prop_assert!((15.0..=30.0).contains(&first), "{}", first);
            let seconds = wait(&mut later, Retry::Sealed, roll).as_secs_f64();
            prop_assert!((30.0..=60.0).contains(&seconds), "{}", seconds);
            wait(&mut later, Retry::Transient, roll);
            prop_assert!(wait(&mut later, Retry::Sealed, roll).as_secs_f64() <= 30.0);
        }

        #[test]
        fn no_wait_is_zero_or_longer_than_its_bound(failures: u32, roll in 0.0..1.0_f64) {
            let mut backoff = Backoff { failures, sealed: 0 };
            let waited = wait(&mut backoff, Retry::Transient, roll);
            prop_assert!(waited >= FIRST / 11 && waited <= LONGEST);
            let mut backoff = Backoff { failures, sealed: 0 };
            prop_assert!(wait(&mut backoff, Retry::Permanent, roll) <= LONGEST_PERMANENT);
        }

        #[test]
        fn one_more_failure_never_makes_the_wait_shorter(failures: u32, roll in 0.0..1.0_f64) {
            let mut backoff = Backoff { failures, sealed: 0 };
            for retry in [Retry::Transient, Retry::Permanent] {
                prop_assert!(wait(&mut backoff, retry, roll) <= wait(&mut backoff, retry, roll));
            }
        }

        #[test]
        fn no_number_however_absurd_ends_the_agent_or_the_waiting(
            failures: u32, roll: f64, now: Duration, retry in any_retry(),
        ) {
            let now = Timestamp(now);
            let when = Backoff { failures, sealed: 0 }.failed(retry, now, Roll::new(roll));
            prop_assert!(when > now || now.after(Duration::from_millis(1)) == Timestamp(Duration::MAX));
            prop_assert!(when <= now.after(LONGEST_ASKED + OVERLOAD_SPREAD));
        }
    }
}
