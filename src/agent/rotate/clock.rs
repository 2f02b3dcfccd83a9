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
