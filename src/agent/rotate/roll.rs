//! Chance, as a value that is handed in.

/// A number in `[0, 1)`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Roll(f64);

impl Roll {
    /// Takes any number into `[0, 1)`.
    pub fn new(value: f64) -> Roll {
        Roll(if value.is_finite() { value.clamp(0.0, 1.0 - f64::EPSILON) } else { 0.0 })
    }

    /// The number.
    pub fn value(self) -> f64 {
        self.0
    }
}

/// Where rolls come from while the program runs: seeded by the operating system, good enough to
/// spread timers, of no use for keys.
#[derive(Debug, Default)]
pub struct Rolls(fastrand::Rng);

impl Rolls {
    /// The next one.
    pub fn roll(&mut self) -> Roll {
        Roll::new(self.0.f64())
    }
}
