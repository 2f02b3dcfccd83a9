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
    /// It never moves: a pinned version, or a lease, whose own life decides.
    Pinned,
    /// The store changes it by itself, in `left` from the answer on (a rotating static role).
    Turns {
        /// What the store said.
        left: Duration,
    },
    /// It has dates of its own: a certificate.
    Dated {
        /// From its first to its last moment.
        life: Duration,
        /// How much of that is over already.
        age: Duration,
    },
}

/// How much of an interval the jitter takes: a tenth, so that pods drift apart and the mean stays.
const JITTER: f64 = 0.1;

/// No interval is shorter, whatever the config says.
const SHORTEST: Duration = Duration::from_millis(100);

/// After the store's own change: `ttl` is in whole seconds, and what it shows as 0 is not there yet.
const SETTLED: Duration = Duration::from_millis(300);
/// A fleet that shares a static role asks within this part of the period, …
const TURN_SPREAD: f64 = 0.1;
/// … and within these bounds.
const TURN_SPREAD_BOUNDS: [Duration; 2] = [Duration::from_millis(1_700), Duration::from_secs(10)];

/// A certificate is replaced when this part of its life is over, give or take half the jitter.
const DATED: f64 = 2.0 / 3.0;
/// One that comes old already is asked for again after this part of its life, lest we spin.
const DATED_LEAST: f64 = 0.05;

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
    let wait = match pace {
        Pace::Pinned => return None,
        Pace::Poll { refresh } => {
            let jittered = share(refresh, 1.0 - JITTER * roll.value());
            if first { phase.of(jittered) } else { jittered }
        }
        Pace::Turns { left } => {
            let spread = share(left, TURN_SPREAD);
            let spread = spread.clamp(TURN_SPREAD_BOUNDS[0], TURN_SPREAD_BOUNDS[1]);
            left.saturating_add(SETTLED).saturating_add(share(spread, roll.value()))
        }
        Pace::Dated { life, age } => {
            let part = DATED + JITTER * (roll.value() - 0.5);
            share(life, part).saturating_sub(age).max(share(life, DATED_LEAST))
        }
    };
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

    #[test]
    fn a_static_role_is_read_just_after_the_store_has_changed_it() {
        for (left, earliest, latest) in
            [(60, 60_300, 66_300), (0, 300, 2_000), (86_400, 86_400_300, 86_410_300)]
        {
            let pace = Pace::Turns { left: Duration::from_secs(left) };
            let waited = |roll| {
                let when = next(pace, true, now(), Phase::of_pod("x"), Roll::new(roll)).unwrap();
                when.0.saturating_sub(now().0).as_millis()
            };
            assert_eq!((waited(0.0), waited(1.0)), (earliest, latest), "{left}");
        }
    }

    #[test]
    fn a_certificate_is_replaced_when_two_thirds_of_its_own_life_are_over() {
        let hours = |hours: f64| Duration::from_secs_f64(hours * 3600.0);
        for (life, age, wait) in
            [(24.0, 0.0, 16.0), (24.0, 10.0, 6.0), (24.0, 16.0, 1.2), (24.0, 30.0, 1.2)]
        {
            let pace = Pace::Dated { life: hours(life), age: hours(age) };
            let when = next(pace, true, now(), Phase::of_pod("x"), Roll::new(0.5)).unwrap();
            let waited = when.0.saturating_sub(now().0).as_secs_f64() / 3600.0;
            assert!((waited - wait).abs() < 0.001, "{life} {age}: {waited}");
        }
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
