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

    /// The store answered, whatever it said.
    pub fn answered(&mut self) {
        self.backoff.succeeded();
        self.opens = None;
    }
}
