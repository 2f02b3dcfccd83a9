//! Chance that is the same each time, for simulations.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::time::Duration;

use sidekey::agent::rotate::Roll;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// In `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    pub(crate) fn part(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(crate) fn one_in(&mut self, cases: u64) -> bool {
        self.bits().is_multiple_of(cases)
    }

    pub(crate) fn roll(&mut self) -> Roll {
        Roll::new(self.part())
    }

    pub(crate) fn below(&mut self, most: Duration) -> Duration {
        most.mul_f64(self.part())
    }
}
