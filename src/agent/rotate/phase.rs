//! A pod's own place in the fleet, so that timers of ten thousand pods don't fire together.

use std::time::Duration;

use super::share;

/// Where in any interval this pod acts: a number in `[0, 1)` that stays the same for its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Phase(f64);

impl Phase {
    /// The phase of a pod with this identity (its uid, or its host name): FNV-1a over it
    /// (<http://www.isthe.com/chongo/tech/comp/fnv/>), the bits mixed as SplitMix64 does, since names
    /// that differ in their last letter only must land far apart.
    pub fn of_pod(identity: &str) -> Phase {
        let hash = identity.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let mixed = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // 53 bits are what an f64 holds exactly.
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
        Phase(((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64)
    }

    /// This pod's share of `interval`.
    pub fn of(self, interval: Duration) -> Duration {
        share(interval, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_whose_names_count_up_spread_evenly() {
        let mut tenths = [0_u32; 10];
        for n in 0..10_000 {
            let phase = Phase::of_pod(&format!("orders-7d9f-{n}"));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "in [0, 10)"
            )]
            let tenth = (phase.0 * 10.0) as usize;
            tenths[tenth] += 1;
        }
        assert!(tenths.iter().all(|&count| (850..1150).contains(&count)), "{tenths:?}");
    }

    #[test]
    fn a_pod_keeps_its_phase() {
        assert_eq!(Phase::of_pod("a"), Phase::of_pod("a"));
        assert_ne!(Phase::of_pod("a"), Phase::of_pod("b"));
    }
}
