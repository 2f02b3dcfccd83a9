//! Ten thousand pods in virtual time, with the real arithmetic of `rotate`: what a store has to bear
//! when they start, when it comes back, when it is unsealed, and when all machines wake up. DESIGN.md
//! section 9 has the numbers.

#![cfg(feature = "vault")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "support/chance.rs"]
mod chance;
#[path = "support/herd.rs"]
mod herd;

use std::time::Duration;

use herd::{BEGIN, Herd, Store, Trouble, at};

const PODS: usize = 10_000;
/// One login and three reads each.
const NEEDED: u32 = 40_000;
const MINUTE: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(300);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn ten_thousand_pods_that_start_at_once_come_through_a_store_of_500_requests_a_second() {
    for (seed, within, retry_after) in
        [(1, 0, None), (2, 0, Some(1)), (3, 0, Some(1)), (4, 5, None), (5, 10, Some(1))]
    {
        let mut store = Store::serving(500);
        if let Some(after) = retry_after {
            store = store.naming(seconds(after));
        }
        let mut herd = Herd::new(PODS, seconds(within), store, seed);
        herd.pass_until(at(125 + within));
        assert_eq!(herd.stale(BEGIN), 0, "{seed}: pods that are not ready");
        herd.pass_until(at(3600));
        let (all, later) = (herd.load(0..3600), herd.load(10..3600));
        assert!(all.requests <= NEEDED * 3 / 2, "{seed}: {all:?}");
        assert!(later.worst <= 1000, "{seed}: {later:?}");
        assert_eq!(herd.logins, 10_000, "{seed}: one login for each pod");
    }
}

#[test]
fn a_store_that_names_a_longer_time_does_not_get_everybody_back_at_its_end() {
    for (seed, named) in [(1, 10), (2, 30), (3, 60), (4, 300)] {
        let store = Store::serving(500).naming(seconds(named));
        let mut herd = Herd::new(PODS, Duration::ZERO, store, seed);
        herd.pass_until(at(125 + 2 * named));
        assert_eq!(herd.stale(BEGIN), 0, "{named}: pods that are not ready");
        let (all, later) = (herd.load(0..3600), herd.load(10..3600));
        assert!(all.requests <= NEEDED * 3 / 2, "{named}: {all:?}");
        assert!(later.worst <= 1000, "{named}: {later:?}");
    }
}

/// A fleet that has run for a while, and a store that is in trouble for ten minutes.
///
/// With tokens that outlive that, each pod needs three reads in the end; else a login as well.
fn ten_minutes_of(trouble: Trouble, tokens: Duration, seed: u64) -> Herd {
    let store = Store::serving(500).suffering(trouble, at(1000)..at(1600));
    let mut herd =
        Herd::new(PODS, REFRESH, store, seed).polling_every(REFRESH).with_tokens_of(tokens);
    herd.pass_until(at(1000));
    assert_eq!(herd.load(400..1000).refused, 0, "a fleet that runs is no burden");
    herd.pass_until(at(1600 + 125));
    assert_eq!(herd.stale(at(1600)), 0, "pods that are not up to date");
    herd
}

#[test]
fn a_store_that_was_away_for_ten_minutes_is_not_run_over_when_it_comes_back() {
    for (seed, tokens) in [(1, Duration::MAX), (2, seconds(900))] {
        let herd = ten_minutes_of(Trouble::Away, tokens, seed);
        let (away, back) = (herd.load(1060..1600), herd.load(1600..1725));
        assert!(away.worst <= 600 && back.worst <= 1000, "{away:?} {back:?}");
        assert!(back.refused * 2 <= back.requests - back.refused, "{back:?}");
    }
}

#[test]
fn a_store_that_was_sealed_for_ten_minutes_is_asked_slowly_and_not_run_over_when_it_opens() {
    for (seed, tokens) in [(1, Duration::MAX), (2, seconds(900))] {
        let herd = ten_minutes_of(Trouble::Sealed, tokens, seed);
        let (sealed, open) = (herd.load(1060..1600), herd.load(1600..1725));
        assert!(sealed.worst <= 400 && open.worst <= 1000, "{sealed:?} {open:?}");
        assert!(open.refused * 2 <= open.requests - open.refused, "{open:?}");
    }
}

#[test]
fn pods_that_start_before_their_store_does_come_through_when_it_is_there() {
    for (seed, trouble) in [(1, Trouble::Away), (2, Trouble::Sealed)] {
        let store = Store::serving(500).suffering(trouble, BEGIN..at(600));
        let mut herd = Herd::new(PODS, Duration::ZERO, store, seed);
        herd.pass_until(at(600 + 125));
        assert_eq!(herd.stale(BEGIN), 0, "{trouble:?}: pods that are not ready");
        let there = herd.load(600..725);
        assert!(there.worst <= 1000, "{trouble:?}: {there:?}");
        assert!(there.requests <= NEEDED * 3 / 2, "{trouble:?}: {there:?}");
    }
}

#[test]
fn machines_that_slept_for_hours_ask_once_for_each_secret_and_not_all_at_once() {
    let (asleep, awake) = (1000, 1000 + 3 * 3600);
    let mut herd = Herd::new(PODS, REFRESH, Store::default(), 1)
        .polling_every(REFRESH)
        .with_tokens_of(seconds(3600))
        .sleeping(at(asleep)..at(awake));
    let second = |seconds: u64| usize::try_from(seconds).unwrap();
    herd.pass_until(at(awake + 60));
    assert_eq!(herd.stale(at(awake)), 0, "pods that are not up to date");
    assert_eq!(herd.load(second(asleep) + 1..second(awake)).requests, 0);
    assert_eq!(herd.logins, 20_000, "one login for each pod, and one more afterwards");
    let woken = herd.load(second(awake)..second(awake + 60));
    assert!(woken.requests <= NEEDED, "more than each secret once and one login: {woken:?}");
    assert!(woken.worst <= 2000, "{woken:?}");
}

#[test]
fn a_day_of_outage_is_two_requests_a_minute_and_is_over_within_a_minute() {
    const DAY: u64 = 24 * 3600;
    let (begin, end) = (at(1000), at(1000 + DAY));
    for trouble in [Trouble::Away, Trouble::Sealed] {
        let store = Store::default().suffering(trouble, begin..end);
        let mut herd = Herd::new(100, REFRESH, store, 1)
            .polling_every(seconds(10))
            .with_tokens_of(seconds(3600))
            .remembering();
        herd.pass_until(end);
        for visits in herd.visits.as_ref().unwrap() {
            let after_a_minute = begin.after(seconds(10) + MINUTE);
            let visits: Vec<_> = visits.iter().filter(|visit| **visit >= after_a_minute).collect();
            let crowded = visits.windows(3).find(|three| *three[2] < three[0].after(MINUTE));
            assert_eq!(crowded, None, "{trouble:?}: three requests within a minute");
            assert!(visits.len() > 24 * 60, "{trouble:?}: only {} requests", visits.len());
        }
        herd.pass_until(end.after(MINUTE + seconds(1)));
        assert_eq!(herd.stale(end), 0, "{trouble:?}: pods that are not up to date");
    }
}

/// What AWS publishes for an account in one region, in requests a second: `DescribeSecret` and
/// `GetSecretValue` together, and Parameter Store with its standard throughput.
#[cfg(feature = "aws")]
const SECRETS_MANAGER: u32 = 10_000;
#[cfg(feature = "aws")]
const PARAMETER_STORE: u32 = 40;

#[cfg(feature = "aws")]
#[test]
fn ten_thousand_pods_fit_the_quota_of_secrets_manager_when_they_start_and_when_they_poll() {
    let store = Store::serving(SECRETS_MANAGER);
    let mut herd =
        Herd::new(PODS, Duration::ZERO, store, 1).polling_every(REFRESH).failing_as(herd::aws);
    herd.pass_until(at(65));
    assert_eq!(herd.stale(BEGIN), 0, "pods that are not ready");
    herd.pass_until(at(3600));
    assert!(herd.load(0..65).requests <= NEEDED * 3 / 2, "{:?}", herd.load(0..65));
    assert_eq!(herd.load(65..3600).refused, 0, "a fleet that polls is no burden");
}

#[cfg(feature = "aws")]
#[test]
fn a_thousand_pods_come_through_the_standard_throughput_of_parameter_store() {
    let store = Store::serving(PARAMETER_STORE);
    let mut herd =
        Herd::new(1000, Duration::ZERO, store, 2).polling_every(REFRESH).failing_as(herd::aws);
    // Four requests each: a hundred seconds at the least.
    herd.pass_until(at(600));
    assert_eq!(herd.stale(BEGIN), 0, "pods that are not ready");
    let start = herd.load(0..600);
    assert!(start.requests <= 3 * 4000, "{start:?}");
    herd.pass_until(at(3600));
    assert_eq!(herd.load(900..3600).refused, 0, "a fleet that polls is no burden");
}
