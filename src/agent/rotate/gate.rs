//! A store that does not answer is asked for one secret, not for all of them.

use crate::agent::store::Retry;

use super::{Backoff, Roll, Timestamp};

/// Closed while a store does not answer; whoever passes it first after the wait asks for everybody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gate {
    backoff: Backoff,
    opens: Option<Timestamp>,
}

impl Gate {
    /// Whether the store may be asked at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.opens.is_none_or(|opens| opens <= now)
    }

    /// When it opens again, while it is closed.
    pub fn opens(&self) -> Option<Timestamp> {
        self.opens
    }

    /// The store did not answer, or asked for less.
    pub fn failed(&mut self, retry: Retry, now: Timestamp, roll: Roll) {
        self.opens = Some(self.backoff.failed(retry, now, roll));
    }

    /// Opens at that moment at the latest, if it is closed.
    pub fn hurry(&mut self, by: Timestamp) {
        self.opens = self.opens.map(|opens| opens.min(by));
    }

    /// The store answered, whatever it said.
    pub fn answered(&mut self) {
        self.backoff.succeeded();
        self.opens = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(Duration::from_secs(seconds))
    }

    #[test]
    fn a_store_that_nobody_asked_yet_may_be_asked() {
        assert!(Gate::default().is_open(at(0)));
    }

    #[test]
    fn a_store_that_does_not_answer_is_left_alone_longer_and_longer_and_asked_again() {
        let mut gate = Gate::default();
        let mut now = at(100);
        let mut waits = Vec::new();
        for _ in 0..20 {
            gate.failed(Retry::Transient, now, Roll::new(1.0));
            let opens = gate.opens().unwrap();
            assert!(!gate.is_open(now) && gate.is_open(opens), "closed at once, open in time");
            waits.push(opens.0.saturating_sub(now.0));
            now = opens;
        }
        assert!(waits.is_sorted(), "{waits:?}");
        assert!(waits.last().is_some_and(|wait| wait.as_secs() >= 59), "{waits:?}");
    }

    #[test]
    fn an_answer_opens_it_at_once_and_forgets_the_failures() {
        let mut gate = Gate::default();
        for _ in 0..20 {
            gate.failed(Retry::Transient, at(100), Roll::new(1.0));
        }
        gate.answered();
        assert!(gate.is_open(at(100)) && gate.opens().is_none());
        gate.failed(Retry::Transient, at(100), Roll::new(1.0));
        assert!(gate.is_open(at(101)), "the first wait again");
    }

    #[test]
    fn a_sealed_store_is_asked_slowly_from_the_first_time_on() {
        let mut gate = Gate::default();
        gate.failed(Retry::Sealed, at(100), Roll::new(0.0));
        assert!(!gate.is_open(at(114)) && gate.is_open(at(115)));
    }
}
