//! Chance that can be had again: every run prints its seed.

/// A generator of numbers (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// A generator with the seed of `GANGER_TEST_SEED`, or a new one; the seed is printed, and so is
    /// shown when the test fails.
    pub fn new() -> Self {
        let given = std::env::var("GANGER_TEST_SEED").ok();
        let seed = match given {
            Some(text) => text.parse().expect("GANGER_TEST_SEED is a number"),
            None => uuid::Uuid::new_v4().as_u64_pair().0,
        };
        println!("replay with GANGER_TEST_SEED={seed}");
        Self(seed)
    }

    /// A generator with this seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    /// A number from `first` up to and including `last`.
    pub fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last - first + 1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

impl Default for Chance {
    fn default() -> Self {
        Self::new()
    }
}
