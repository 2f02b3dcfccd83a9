//! When the next thing happens. Everything but [`clock`] and [`roll`] is arithmetic: time and chance
//! are arguments, so that a table can say it all.

mod backoff;
mod clock;
mod gate;
mod life;
mod line;
mod phase;
mod roll;
mod schedule;
mod settle;
mod went_back;

use std::time::Duration;

pub use backoff::Backoff;
pub use clock::{Clocks, Timestamp, now, sleep_until, unix_now};
pub use gate::Gate;
pub use life::{Kind, Life, Step};
pub use line::Line;
pub use phase::Phase;
pub use roll::{Roll, Rolls};
pub use schedule::{Pace, next};
pub use settle::{SETTLE, Settle};
pub use went_back::WentBack;

/// A share of a span, however long it is: numbers that a store sends may be absurd, and arithmetic on
/// them must not end the agent.
fn share(span: Duration, part: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * part).unwrap_or(Duration::MAX)
}
