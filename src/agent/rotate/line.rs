//! Who may ask a store now: a few at a time, one while it is in trouble, nobody while it was asked
//! to be left alone.

use crate::agent::store::{Retry, Scope};

use super::{Gate, Roll, Timestamp};

/// Requests at one store at the same time, once it answers: enough to keep its answers and our work
/// from waiting for each other, too few to be a burden.
const AT_ONCE: usize = 4;

/// The requests to one store.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// Closed while the store does not answer.
    gate: Gate,
    /// Requests that are out.
    out: usize,
    /// Whether its last answer was one. Until then one request stands for all.
    answers: bool,
}

impl Line {
    /// Whether one more request may go out. A store that is in trouble, or that nobody has logged in
    /// to yet, meets one at a time.
    pub fn is_free(&self, now: Timestamp) -> bool {
        !self.is_full() && self.gate.is_open(now)
    }

    /// Whether as many requests are out as may be.
    pub fn is_full(&self) -> bool {
        self.out >= if self.answers { AT_ONCE } else { 1 }
    }

    /// When it opens again, while it is closed.
    pub fn opens(&self) -> Option<Timestamp> {
        self.gate.opens()
    }

    /// A request goes out.
    pub fn asked(&mut self) {
        self.out += 1;
    }

    /// A request came back, with whom its failure concerns if it is one.
    pub fn heard(&mut self, failure: Option<(Scope, Retry)>, now: Timestamp, roll: Roll) {
        self.out = self.out.saturating_sub(1);
        match failure {
            Some((Scope::Store, retry)) => {
                self.answers = false;
                // Of several requests that met the same trouble, one counts.
                if self.gate.is_open(now) {
                    self.gate.failed(retry, now, roll);
                }
            }
            // It was on its way when the store asked to be left alone, and says nothing of now.
            _ if !self.gate.is_open(now) => {}
            _ => {
                self.answers = true;
                self.gate.answered();
            }
        }
    }

    /// Something ends soon that only the store can make longer: it is asked by then, see
    /// [`Life::hurry`](super::Life::hurry).
    pub fn hurry(&mut self, by: Timestamp) {
        self.gate.hurry(by);
    }

    /// Something changed at the store: it may be asked at once.
    pub fn reopen(&mut self) {
        self.gate.answered();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_request_finds_out_whether_a_store_answers_and_then_four_may_go_at_once() {
        let (now, roll) = (Timestamp(Duration::from_secs(100)), Roll::new(0.5));
        let mut line = Line::default();
        line.asked();
        assert!(line.is_full(), "nobody knows yet whether it answers");
        line.heard(None, now, roll);
        for _ in 0..AT_ONCE {
            assert!(line.is_free(now));
            line.asked();
        }
        assert!(!line.is_free(now));
        for _ in 0..AT_ONCE {
            line.heard(Some((Scope::Store, Retry::Transient)), now, roll);
        }
        let opens = line.opens().unwrap();
        assert!(opens <= now.after(Duration::from_millis(250)), "four failures at once are one");
        assert!(!line.is_free(now) && line.is_free(opens));
        line.asked();
        assert!(line.is_full(), "one request probes for all");
        line.heard(Some((Scope::Secret, Retry::Permanent)), opens, roll);
        assert!(line.is_free(opens), "a refusal is an answer");
    }

    #[test]
    fn a_store_is_asked_earlier_for_what_ends_soon_and_never_later() {
        let at = |seconds| Timestamp(Duration::from_secs(seconds));
        let roll = Roll::new(0.5);
        let mut line = Line::default();
        line.hurry(at(1));
        assert_eq!(line.opens(), None, "nobody waits");
        for now in 100..120 {
            line.asked();
            line.heard(Some((Scope::Store, Retry::Transient)), at(60 * now), roll);
        }
        let opens = line.opens();
        line.hurry(at(60 * 119 + 50));
        assert_eq!(line.opens(), opens, "it would have been asked before");
        line.hurry(at(60 * 119 + 2));
        assert!(!line.is_free(at(60 * 119 + 1)) && line.is_free(at(60 * 119 + 2)));
    }

    #[test]
    fn an_answer_that_was_on_its_way_does_not_call_off_the_wait_that_the_store_asked_for() {
        let (now, roll) = (Timestamp(Duration::from_secs(100)), Roll::new(0.5));
        let mut line = Line::default();
        line.asked();
        line.heard(None, now, roll);
        line.asked();
        line.asked();
        line.heard(Some((Scope::Store, Retry::Overload { after: None })), now, roll);
        let opens = line.opens();
        line.heard(None, now.after(Duration::from_millis(1)), roll);
        assert!(opens > Some(now) && line.opens() == opens, "the second answer opens nothing");
    }
}
