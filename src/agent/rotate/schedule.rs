//! When a secret is asked for next, after an answer.

use std::time::Duration;

use super::{Phase, Roll, Timestamp, share};

/// What sets the pace of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Nothing but the clock: every `refresh`.
    Poll {
        /// From the config.
        refresh: Duration,
    },
    /// It never moves: a pinned version.
    Pinned,
}

/// How much of an interval the jitter takes: a tenth, so that pods drift apart and the mean stays.
const JITTER: f64 = 0.1;

/// No interval is shorter, whatever the config says.
const SHORTEST: Duration = Duration::from_millis(100);

/// When to ask after the answer at `now`; `None`: never again.
///
/// The first interval after a start is cut by the pod's phase, which spreads a fleet over a whole
/// interval; the later ones are the interval less up to a tenth of it.
pub fn next(
    pace: Pace,
    first: bool,
    now: Timestamp,
    phase: Phase,
    roll: Roll,
) -> Option<Timestamp> {
    let Pace::Poll { refresh } = pace else { return None };
    let jittered = share(refresh, 1.0 - JITTER * roll.value());
    let wait = if first { phase.of(jittered) } else { jittered };
    Some(now.after(wait.max(SHORTEST)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pinned_version_is_never_asked_for_again() {
        let when = next(Pace::Pinned, false, now(), Phase::of_pod("x"), Roll::new(0.5));
        assert_eq!(when, None);
    }

    fn now() -> Timestamp {
        Timestamp(Duration::from_secs(1_000_000))
    }

    #[test]
    fn a_fleet_that_starts_at_once_is_spread_evenly_over_the_first_interval() {
        let refresh = Duration::from_secs(300);
        let mut seconds = vec![0_u32; 300];
        for pod in 0..100_000 {
            let phase = Phase::of_pod(&format!("orders-{pod}"));
            let when = next(Pace::Poll { refresh }, true, now(), phase, Roll::new(0.0)).unwrap();
            seconds[usize::try_from(when.0.saturating_sub(now().0).as_secs()).unwrap()] += 1;
        }
        // 333 on average, and 18 of them chance (the square root).
        assert!(seconds.iter().all(|&pods| (240..430).contains(&pods)), "{seconds:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn the_next_poll_is_within_the_interval_and_never_in_the_past(
            refresh in 0_u64..=u64::MAX / 4, roll in 0.0..1.0_f64, first: bool, pod: u64,
        ) {
            let refresh = Duration::from_millis(refresh);
            let phase = Phase::of_pod(&pod.to_string());
            let when = next(Pace::Poll { refresh }, first, now(), phase, Roll::new(roll)).unwrap();
            prop_assert!(when > now());
            prop_assert!(when <= now().after(refresh.max(SHORTEST)));
            if !first {
                prop_assert!(when >= now().after(share(refresh, 0.899)));
            }
        }

        #[test]
        fn no_refresh_however_absurd_ends_the_agent_or_spins(
            refresh: Duration, now: Duration, roll: f64, first: bool,
        ) {
            let now = Timestamp(now);
            let pace = Pace::Poll { refresh };
            let when = next(pace, first, now, Phase::of_pod("x"), Roll::new(roll)).unwrap();
            prop_assert!(when >= now.after(SHORTEST));
        }
    }
}
