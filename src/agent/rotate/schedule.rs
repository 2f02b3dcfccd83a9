//! When a secret is asked for next, after an answer.

use std::time::Duration;

use super::{Phase, Roll, Timestamp};

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
    let jittered = refresh.mul_f64(1.0 - JITTER * roll.value());
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

    proptest! {
        #[test]
        fn the_next_poll_is_within_the_interval_and_never_in_the_past(
            refresh in 0_u64..=u64::MAX / 4, roll in 0.0..1.0_f64, first: bool, pod in "[a-z0-9]{1,8}",
        ) {
            let refresh = Duration::from_millis(refresh);
            let pace = Pace::Poll { refresh };
            let when = next(pace, first, now(), Phase::of_pod(&pod), Roll::new(roll)).unwrap();
            prop_assert!(when > now());
            prop_assert!(when <= now().after(refresh.max(SHORTEST)));
            if !first {
                prop_assert!(when >= now().after(refresh.mul_f64(0.899)));
            }
        }
    }
}
