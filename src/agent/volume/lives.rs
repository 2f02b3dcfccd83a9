//! How long a generation lives after another one took its place, and how close two rotations may
//! come. Pure arithmetic on times since boot.

use std::collections::BTreeMap;
use std::time::Duration;

use super::desired::Weight;
use super::plan::{Fate, Kept};

/// How long a generation lives at least after its successor took its place: the time in which a
/// reader that opened `..data` must have opened the files it wants.
pub const LINGER: Duration = Duration::from_secs(2);

/// How far apart two rotations are at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap(Duration);

impl Gap {
    /// As long as an old generation lives at least, so that no more than two are needed at once.
    pub const STANDARD: Gap = Gap(LINGER);

    /// Another one, for tests of many rotations. Old generations live [`LINGER`] all the same, so
    /// several of them exist at once.
    pub const fn of(time: Duration) -> Gap {
        Gap(time)
    }
}

/// The generations that were shown before and are still there.
#[derive(Debug)]
pub(super) struct Lives {
    gap: Gap,
    keep: Duration,
    old: BTreeMap<u64, Life>,
    last_swap: Option<Duration>,
    /// Something else than a generation waits to be removed.
    rest: bool,
}

#[derive(Clone, Copy, Debug)]
struct Life {
    weight: Weight,
    /// When its successor took its place.
    replaced: Duration,
    until: Duration,
}

impl Lives {
    pub(super) fn new(gap: Gap, keep_previous: Duration) -> Lives {
        let keep = keep_previous.max(LINGER);
        Lives { gap, keep, old: BTreeMap::new(), last_swap: None, rest: false }
    }

    /// A generation of an earlier run was found. Called in ascending order.
    pub(super) fn found(&mut self, number: u64, weight: Weight, now: Duration) {
        self.push_out();
        self.old.insert(number, Life { weight, replaced: now, until: now + self.keep });
    }

    /// A new generation took the place of `before`.
    pub(super) fn swapped(&mut self, before: Option<(u64, Weight)>, now: Duration) {
        self.last_swap = Some(now);
        if let Some((number, weight)) = before {
            self.found(number, weight, now);
        }
    }

    /// Only the latest of the old ones is kept for `keep_previous`; the others end when no reader
    /// can need them any more.
    fn push_out(&mut self) {
        for life in self.old.values_mut() {
            life.until = life.until.min(life.replaced + LINGER);
        }
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.old.contains_key(&number)
    }

    /// Each of them and what may become of it now.
    pub(super) fn kept(&self, now: Duration) -> BTreeMap<u64, Kept> {
        let fate = |life: &Life| match () {
            () if life.until <= now => Fate::Ended,
            () if life.replaced + LINGER <= now => Fate::Spare,
            () => Fate::Needed,
        };
        let kept = |life: &Life| Kept { weight: life.weight, fate: fate(life) };
        self.old.iter().map(|(&number, life)| (number, kept(life))).collect()
    }

    /// No rotation before this time.
    pub(super) fn earliest(&self) -> Option<Duration> {
        self.last_swap.map(|last| last + self.gap.0)
    }

    pub(super) fn something_ended(&self, now: Duration) -> bool {
        self.rest || self.old.values().any(|life| life.until <= now)
    }

    /// What ended is gone from the volume.
    pub(super) fn forget_ended(&mut self, now: Duration) {
        self.rest = false;
        self.old.retain(|_, life| life.until > now);
    }

    /// This one is no longer a generation.
    pub(super) fn forget(&mut self, number: u64) {
        self.old.remove(&number);
    }

    /// Something else than a generation is left to be removed.
    pub(super) fn leave_some(&mut self) {
        self.rest = true;
    }

    /// What ended could not be removed.
    pub(super) fn try_again(&mut self, now: Duration) {
        for life in self.old.values_mut().filter(|life| life.until <= now) {
            life.until = now + LINGER;
        }
    }

    /// When there is something to remove next.
    pub(super) fn next_end(&self, now: Duration) -> Option<Duration> {
        let rest = self.rest.then_some(now + LINGER);
        self.old.values().map(|life| life.until).chain(rest).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHT: Weight = Weight { bytes: 4096, inodes: 2 };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fates(lives: &Lives, now: u64) -> Vec<(u64, Fate)> {
        lives.kept(secs(now)).into_iter().map(|(number, kept)| (number, kept.fate)).collect()
    }

    #[test]
    fn the_generation_before_is_kept_as_long_as_the_config_says() {
        let mut lives = Lives::new(Gap::STANDARD, secs(300));
        lives.swapped(None, secs(10));
        assert_eq!((lives.next_end(secs(10)), lives.earliest()), (None, Some(secs(12))));
        lives.swapped(Some((1, WEIGHT)), secs(100));
        assert_eq!(fates(&lives, 101), [(1, Fate::Needed)]);
        assert_eq!(fates(&lives, 102), [(1, Fate::Spare)]);
        assert_eq!(fates(&lives, 399), [(1, Fate::Spare)]);
        assert_eq!(fates(&lives, 400), [(1, Fate::Ended)]);
        assert_eq!(lives.next_end(secs(101)), Some(secs(400)));
    }

    #[test]
    fn one_that_is_pushed_out_earlier_lives_two_seconds_all_the_same() {
        let mut lives = Lives::new(Gap::of(Duration::from_millis(10)), secs(300));
        lives.swapped(Some((1, WEIGHT)), secs(100));
        lives.swapped(Some((2, WEIGHT)), secs(101));
        assert_eq!(fates(&lives, 101), [(1, Fate::Needed), (2, Fate::Needed)]);
        assert_eq!(fates(&lives, 102), [(1, Fate::Ended), (2, Fate::Needed)]);
        assert_eq!(fates(&lives, 103), [(1, Fate::Ended), (2, Fate::Spare)]);
        assert!(lives.something_ended(secs(102)));
        lives.forget_ended(secs(102));
        assert!(!lives.something_ended(secs(102)));
        assert_eq!(lives.next_end(secs(102)), Some(secs(401)));
    }

    #[test]
    fn a_short_keep_previous_never_takes_a_generation_from_under_a_reader() {
        let mut lives = Lives::new(Gap::STANDARD, Duration::ZERO);
        lives.swapped(Some((1, WEIGHT)), secs(100));
        assert_eq!(lives.next_end(secs(100)), Some(secs(102)));
    }

    #[test]
    fn what_could_not_be_removed_is_tried_again_and_not_at_once() {
        let mut lives = Lives::new(Gap::STANDARD, Duration::ZERO);
        lives.swapped(Some((1, WEIGHT)), secs(100));
        lives.try_again(secs(102));
        assert_eq!(lives.next_end(secs(102)), Some(secs(104)));
        lives.forget(1);
        assert_eq!(lives.next_end(secs(102)), None);
        lives.leave_some();
        assert!(lives.something_ended(secs(102)));
        assert_eq!(lives.next_end(secs(102)), Some(secs(104)));
    }
}
