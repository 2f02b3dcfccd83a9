//! Changes that come together are one rotation.

use std::time::Duration;

use super::Timestamp;

/// How long after the first change the window stays open: all changes in it are one generation and
/// one notification.
pub const SETTLE: Duration = Duration::from_secs(1);

/// The window. It begins with the first change and is not made longer by later ones, so that a
/// change never waits longer than [`SETTLE`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Settle {
    ends: Option<Timestamp>,
}

impl Settle {
    /// Something changed at `now`.
    pub fn changed(&mut self, now: Timestamp) {
        self.ends.get_or_insert(now.after(SETTLE));
    }

    /// What changed can't wait: the window ends at `by`.
    pub fn hurry(&mut self, by: Timestamp) {
        self.ends = Some(self.ends.map_or(by, |ends| ends.min(by)));
    }

    /// Ends the window before its time. Says whether there was one.
    pub fn close(&mut self) -> bool {
        self.ends.take().is_some()
    }

    /// When the window ends, while it is open.
    pub fn ends(&self) -> Option<Timestamp> {
        self.ends
    }

    /// Whether a window has ended by `now`; it is closed then.
    pub fn is_over(&mut self, now: Timestamp) -> bool {
        self.ends.take_if(|ends| *ends <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp(Duration::from_millis(millis))
    }

    #[test]
    fn changes_within_a_second_are_one_and_none_waits_longer() {
        let mut settle = Settle::default();
        assert!(!settle.is_over(at(0)));
        settle.changed(at(0));
        settle.changed(at(900));
        assert!(!settle.is_over(at(999)));
        assert!(settle.is_over(at(1000)));
        assert!(!settle.is_over(at(5000)), "one window ends once");
        settle.changed(at(5000));
        assert!(settle.is_over(at(6000)));
    }

    #[test]
    fn what_cannot_wait_ends_the_window_early() {
        let at = |millis| Timestamp(Duration::from_millis(millis));
        let mut settle = Settle::default();
        settle.changed(at(5000));
        settle.hurry(at(5100));
        settle.hurry(at(5200));
        assert_eq!(settle.ends(), Some(at(5100)));
    }
}
