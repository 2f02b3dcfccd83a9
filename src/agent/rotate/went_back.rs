//! A store that hands out an older version than before: a restored backup, or a replica that lags.

use std::time::Duration;

use super::Timestamp;

/// How many answers in a row must show the older version …
const ANSWERS: u32 = 3;
/// … and over how long, before it is believed.
const OVER: Duration = Duration::from_secs(60);

/// Doubt about an older version.
#[derive(Clone, Copy, Debug, Default)]
pub struct WentBack {
    first: Option<Timestamp>,
    answers: u32,
}

impl WentBack {
    /// Notes one more answer with the older version. Says whether it is to be believed now.
    pub fn is_confirmed(&mut self, now: Timestamp) -> bool {
        let first = *self.first.get_or_insert(now);
        self.answers = self.answers.saturating_add(1);
        self.answers >= ANSWERS && now.0.saturating_sub(first.0) > OVER
    }

    /// Whether there is doubt.
    pub fn is_doubted(&self) -> bool {
        self.first.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_is_believed_after_three_answers_over_a_minute() {
        let at = |s| Timestamp(Duration::from_secs(s));
        let mut doubt = WentBack::default();
        assert!(!doubt.is_confirmed(at(0)));
        assert!(!doubt.is_confirmed(at(10)));
        assert!(!doubt.is_confirmed(at(20)), "three answers, but too soon");
        assert!(doubt.is_confirmed(at(61)));
    }

    #[test]
    fn a_minute_alone_is_not_enough() {
        let at = |s| Timestamp(Duration::from_secs(s));
        let mut doubt = WentBack::default();
        assert!(!doubt.is_doubted());
        assert!(!doubt.is_confirmed(at(0)));
        assert!(doubt.is_doubted());
        assert!(!doubt.is_confirmed(at(3600)), "two answers");
        assert!(doubt.is_confirmed(at(3601)));
    }
}
