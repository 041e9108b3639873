//! Seeded randomness, so that a failure can be had again.

/// A splitmix64 generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Takes the seed from `HEADPOND_TEST_SEED` or the clock, and prints it.
    pub fn seed() -> u64 {
        let seed = match std::env::var("HEADPOND_TEST_SEED") {
            Ok(text) => text.parse().expect("HEADPOND_TEST_SEED is a number"),
            Err(_) => {
                let now = std::time::UNIX_EPOCH.elapsed().expect("the clock is after 1970");
                now.as_secs() ^ u64::from(now.subsec_nanos())
            }
        };
        println!("HEADPOND_TEST_SEED={seed}");
        seed
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// Returns true once in `n` times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// Returns `count`, multiplied by `HEADPOND_TEST_SCALE` (default 1; 0.1 or 20 are fine).
pub fn scaled(count: usize) -> usize {
    let scale: f64 = match std::env::var("HEADPOND_TEST_SCALE") {
        Ok(text) => text.parse().expect("HEADPOND_TEST_SCALE is a number"),
        Err(_) => 1.0,
    };
    ((count as f64 * scale) as usize).max(1)
}
