//! How long a lease or a token lives, what keeps it alive, and when something new must take its
//! place. DESIGN.md section 5 is the table; this is the arithmetic.

use std::time::Duration;

use crate::agent::store::Retry;

use super::{Roll, Timestamp, share};

/// Renewals come when this part of what was granted is over.
const RENEW: f64 = 2.0 / 3.0;
/// Give or take, so that a fleet drifts apart.
const JITTER: f64 = 0.05;
/// What can't be renewed is replaced between these two.
const REPLACE: [f64; 2] = [0.85, 0.90];
/// A renewal that failed again and again is given up here, and something new is asked for.
const LAST_CALL: f64 = 0.90;
/// In a life of seconds earlier, for the room that a rotation needs; but renewals come first.
const LAST_CALL_LEAST: f64 = 0.80;
/// A renewal that grants less than this part of the first grant was cut by a maximum: it stopped
/// growing.
const GROWS: f64 = 0.9;
/// What stopped growing is replaced when as much is left as when it would have been renewed.
const LEAD: f64 = 1.0 - RENEW;
/// What a rotation needs, from the answer to the last reader: changes settle for 1 s, and generations
/// come no closer than 2 s. A life of seconds is replaced early enough for that, …
const ROOM: Duration = Duration::from_secs(3);
/// … but not before this part of it is over, or nothing would ever be in use.
const SHORT: f64 = 0.4;

/// What fails is tried again when this part of what is left is over, at the latest: halving finds a
/// store that is back with any time left, and costs a few requests at the end of each life.
const HURRY: f64 = 0.5;
/// … but not sooner than this.
const HURRY_LEAST: Duration = Duration::from_millis(250);

/// What lives: they differ in what happens when they can't be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A lease; what was made under it is asked for anew.
    Lease,
    /// A login's token; what was made under it has to be replaced too, so that begins earlier.
    Token,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask for more time.
    Renew,
    /// Ask for a new one, and let the old one overlap.
    Replace,
}

/// A life that a store granted, and how it went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// What was granted at first; `None`: without an end that we know of.
    first: Option<Duration>,
    /// What was granted last …
    last: Option<Duration>,
    /// … and when.
    at: Timestamp,
    renewable: bool,
    /// Whether the last renewal brought as much as the first grant.
    grows: bool,
}

impl Life {
    /// A life of `span`, granted at `at`.
    pub fn new(span: Option<Duration>, renewable: bool, at: Timestamp) -> Life {
        Life { first: span, last: span, at, renewable, grows: true }
    }

    /// Takes over a life that was granted `first`, and `last` at `at`: after a restart.
    pub fn resumed(
        first: Option<Duration>,
        last: Option<Duration>,
        renewable: bool,
        at: Timestamp,
    ) -> Life {
        Life { first, ..Life::new(last, renewable, at) }.judged()
    }

    /// Notes what a renewal brought: what was returned counts, not what was asked for.
    ///
    /// A life that had an end goes on having one. What is left before a maximum is told in whole
    /// seconds, so that no time means the last second here, and not a life without an end.
    pub fn renewed(&mut self, span: Option<Duration>, renewable: bool, at: Timestamp) {
        let span = span.or_else(|| self.last.and(Some(Duration::ZERO)));
        *self =
            Life { first: self.first.or(span), last: span, at, renewable, grows: true }.judged();
    }

    fn judged(mut self) -> Life {
        self.grows = match (self.first, self.last) {
            (Some(first), Some(last)) => last >= share(first, GROWS),
            _ => true,
        };
        self
    }

    /// What was granted first and last, and when the last was.
    pub fn grants(&self) -> (Option<Duration>, Option<Duration>, Timestamp) {
        (self.first, self.last, self.at)
    }

    /// Whether the store would make it longer, as far as we know.
    pub fn is_renewable(&self) -> bool {
        self.renewable
    }

    /// When it ends; `None`: never, as far as we know.
    pub fn ends(&self) -> Option<Timestamp> {
        Some(self.at.after(self.last?))
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.ends().is_some_and(|ends| ends <= now)
    }

    /// Whether renewals go on bringing something.
    pub fn grows(&self) -> bool {
        self.renewable && self.grows
    }

    /// What to do next, and when. `idle` is how often a life without a known end is renewed, to
    /// notice that it was ended by somebody else.
    pub fn next(
        &self,
        kind: Kind,
        idle: Option<Duration>,
        roll: Roll,
    ) -> Option<(Timestamp, Step)> {
        let around = RENEW - JITTER + 2.0 * JITTER * roll.value();
        let Some(last) = self.last else {
            let idle = idle.filter(|_| self.renewable)?;
            return Some((self.at.after(share(idle, around)), Step::Renew));
        };
        if self.grows() {
            return Some((self.at.after(share(last, around)), Step::Renew));
        }
        let first = self.first.unwrap_or(last);
        let wait = if self.renewable {
            // It was cut by a maximum: as much time as a renewal would have had.
            last.saturating_sub(share(first, LEAD + JITTER * roll.value()).max(ROOM))
        } else if kind == Kind::Token {
            with_room(share(last, around), last)
        } else {
            with_room(share(last, REPLACE[0] + (REPLACE[1] - REPLACE[0]) * roll.value()), last)
        };
        Some((self.at.after(wait), Step::Replace))
    }

    /// When a life whose renewals fail is replaced all the same.
    pub fn last_call(&self) -> Option<Timestamp> {
        let last = self.last?;
        let early = last.saturating_sub(ROOM).max(share(last, LAST_CALL_LEAST));
        Some(self.at.after(share(last, LAST_CALL).min(early)))
    }

    /// When to try again at the latest, after a failure at `now` of what keeps it alive or takes its
    /// place; `None`: whenever the waits after failures say so.
    ///
    /// Those waits grow to a minute and more, whatever ends meanwhile: a store that was away for five
    /// seconds would cost a lease of a minute. A store that is sealed or asks for less is not hurried.
    pub fn hurry(&self, retry: Retry, now: Timestamp) -> Option<Timestamp> {
        match retry {
            Retry::Sealed | Retry::Overload { .. } => return None,
            Retry::Transient | Retry::Permanent => {}
        }
        let left = self.ends()?.0.checked_sub(now.0).filter(|left| !left.is_zero())?;
        Some(now.after(share(left, HURRY).max(HURRY_LEAST)))
    }

    /// When to try again after a failure at `now`, if the waits say `again`.
    pub fn hurried(&self, again: Timestamp, retry: Retry, now: Timestamp) -> Timestamp {
        self.hurry(retry, now).map_or(again, |by| again.min(by))
    }
}

/// As much of `wait` as leaves room for a rotation before a life of `last` is over.
fn with_room(wait: Duration, last: Duration) -> Duration {
    wait.min(last.saturating_sub(ROOM).max(share(last, SHORT)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(secs(seconds))
    }

    fn next(life: &Life, kind: Kind, roll: f64) -> Option<(f64, Step)> {
        let next = life.next(kind, Some(secs(300)), Roll::new(roll));
        next.map(|(when, step)| ((when.0.as_secs_f64() * 10.0).round() / 10.0, step))
    }

    #[test]
    fn the_table_of_the_design() {
        use Kind::{Lease, Token};
        use Step::{Renew, Replace};
        let life = |span, renewable| Life::new(span, renewable, at(1000));
        let renewed = |to| {
            let mut life = life(Some(secs(600)), true);
            life.renewed(Some(secs(to)), true, at(1400));
            life
        };
        for (what, life, kind, earliest, latest) in [
            (
                "a renewable lease",
                life(Some(secs(600)), true),
                Lease,
                Some((1370.0, Renew)),
                Some((1430.0, Renew)),
            ),
            (
                "a lease that can't be renewed",
                life(Some(secs(600)), false),
                Lease,
                Some((1510.0, Replace)),
                Some((1540.0, Replace)),
            ),
            (
                "a token",
                life(Some(secs(600)), true),
                Token,
                Some((1370.0, Renew)),
                Some((1430.0, Renew)),
            ),
            (
                "a batch token",
                life(Some(secs(600)), false),
                Token,
                Some((1370.0, Replace)),
                Some((1430.0, Replace)),
            ),
            (
                "a renewal in full",
                renewed(600),
                Lease,
                Some((1770.0, Renew)),
                Some((1830.0, Renew)),
            ),
            (
                "a renewal in full but for a second",
                renewed(599),
                Lease,
                Some((1769.4, Renew)),
                Some((1829.3, Renew)),
            ),
            (
                "a renewal that was cut",
                renewed(400),
                Lease,
                Some((1600.0, Replace)),
                Some((1570.0, Replace)),
            ),
            (
                "a renewal that brought nothing",
                renewed(200),
                Lease,
                Some((1400.0, Replace)),
                Some((1400.0, Replace)),
            ),
            (
                "a token's renewal that brought nothing",
                renewed(200),
                Token,
                Some((1400.0, Replace)),
                Some((1400.0, Replace)),
            ),
            (
                "a lease of seconds",
                Life::new(Some(secs(6)), false, at(1000)),
                Lease,
                Some((1003.0, Replace)),
                Some((1003.0, Replace)),
            ),
            (
                "a lease of a second",
                Life::new(Some(secs(1)), false, at(1000)),
                Lease,
                Some((1000.4, Replace)),
                Some((1000.4, Replace)),
            ),
            ("no known end", life(None, true), Lease, Some((1185.0, Renew)), Some((1215.0, Renew))),
            ("no end at all", life(None, false), Token, None, None),
        ] {
            assert_eq!(next(&life, kind, 0.0), earliest, "{what}");
            assert_eq!(next(&life, kind, 1.0), latest, "{what}");
        }
    }

    #[test]
    fn a_renewal_that_brings_no_time_at_all_is_the_last_second_and_not_eternity() {
        let mut life = Life::new(Some(secs(2)), true, at(1000));
        life.renewed(None, true, at(1001));
        assert_eq!(next(&life, Kind::Lease, 0.5), Some((1001.0, Step::Replace)));
        let mut life = Life::new(None, true, at(1000));
        life.renewed(None, true, at(1001));
        assert_eq!(
            next(&life, Kind::Lease, 0.5),
            Some((1201.0, Step::Renew)),
            "it never had an end"
        );
    }

    #[test]
    fn what_fails_is_tried_again_before_half_of_what_is_left_is_over() {
        let life = Life::new(Some(secs(60)), true, at(1000));
        for retry in [Retry::Transient, Retry::Permanent] {
            assert_eq!(life.hurry(retry, at(1040)), Some(at(1050)));
            assert_eq!(life.hurry(retry, at(1060)), None, "it is over");
        }
        let soon = life.hurry(Retry::Transient, at(1059).after(Duration::from_millis(900)));
        assert_eq!(soon, Some(at(1060).after(Duration::from_millis(150))));
        for retry in [Retry::Sealed, Retry::Overload { after: None }] {
            assert_eq!(life.hurry(retry, at(1040)), None);
        }
        assert_eq!(Life::new(None, true, at(0)).hurry(Retry::Transient, at(1)), None);
    }

    #[test]
    fn what_is_taken_over_after_a_restart_goes_on_as_it_was() {
        let mut life = Life::new(Some(secs(600)), true, at(0));
        life.renewed(Some(secs(300)), true, at(400));
        let (first, last, when) = life.grants();
        assert_eq!(Life::resumed(first, last, true, when), life);
        assert!(!life.grows() && !life.is_over(at(699)) && life.is_over(at(700)));
    }

    #[test]
    fn absurd_spans_neither_overflow_nor_spin() {
        for span in [Duration::ZERO, Duration::from_secs(1), Duration::MAX] {
            for renewable in [true, false] {
                let life = Life::new(Some(span), renewable, at(1));
                let (when, _) = life.next(Kind::Lease, None, Roll::new(0.5)).unwrap();
                assert!(
                    when >= at(1) && life.ends() >= Some(at(1)) && life.last_call() >= Some(at(1))
                );
            }
        }
    }
}
