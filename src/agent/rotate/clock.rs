//! The clocks: the boot-time clock for every timer, the wall clock for dates in certificates only.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// A moment on the boot-time clock, which goes on while the machine sleeps and which nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub Duration);

impl Timestamp {
    /// The moment `wait` later; the far future where that overflows.
    #[must_use]
    pub fn after(self, wait: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(wait))
    }
}

/// This moment.
pub fn now() -> Timestamp {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
    Timestamp(Duration::new(seconds, nanos))
}

/// Seconds since 1970 by the wall clock, to compare with dates that others wrote.
pub fn unix_now() -> i64 {
    clock_gettime(ClockId::Realtime).tv_sec
}

/// How far the wall clock is from the boot-time clock, to notice that somebody set it (catalogue
/// row 41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clocks {
    apart: i64,
}

/// Corrections of a clock are smaller than this, in seconds.
const JUMP: i64 = 60;

impl Clocks {
    /// Both clocks at one moment; the wall clock in seconds since 1970.
    pub fn at(now: Timestamp, unix_now: i64) -> Clocks {
        let boot = i64::try_from(now.0.as_secs()).unwrap_or(i64::MAX);
        Clocks { apart: unix_now.saturating_sub(boot) }
    }

    /// Whether the wall clock was set since it was last looked at.
    pub fn jumped(&mut self, now: Timestamp, unix_now: i64) -> bool {
        let before = std::mem::replace(self, Clocks::at(now, unix_now));
        self.apart.saturating_sub(before.apart).saturating_abs() > JUMP
    }
}

/// The longest single sleep. `tokio`'s timers stand still while the machine sleeps, so a long wait
/// is many short ones with a look at the boot-time clock between.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Waits until `when`, or for ever.
pub async fn sleep_until(when: Option<Timestamp>) {
    loop {
        let left = when.map_or(LONGEST_SLEEP, |when| when.0.saturating_sub(now().0));
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_far_future_is_later_than_everything_and_does_not_overflow() {
        let far = Timestamp(Duration::MAX);
        assert_eq!(now().after(Duration::MAX), far);
        assert_eq!(far.after(Duration::from_secs(1)), far);
    }

    #[test]
    fn a_wall_clock_that_is_set_is_noticed_once_and_a_sleep_is_no_jump() {
        let at = |seconds| Timestamp(Duration::from_secs(seconds));
        let mut clocks = Clocks::at(at(1_000), 50_000);
        assert!(!clocks.jumped(at(9_000), 58_030), "half a minute of drift, and a long sleep");
        assert!(clocks.jumped(at(9_001), 58_031 + 3_600));
        assert!(!clocks.jumped(at(9_002), 58_032 + 3_600));
        assert!(clocks.jumped(at(9_003), 0), "back to 1970");
    }

    #[tokio::test]
    async fn a_wait_is_never_over_before_its_time() {
        let when = now().after(Duration::from_millis(30));
        sleep_until(Some(when)).await;
        assert!(now() >= when);
    }

    #[tokio::test]
    async fn what_is_over_is_not_waited_for() {
        sleep_until(Some(Timestamp(Duration::ZERO))).await;
        sleep_until(Some(now())).await;
    }
}
