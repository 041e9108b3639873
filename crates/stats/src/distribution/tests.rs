//! Laws of distributions, checked over seeded random data.

use super::*;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Durations of all magnitudes up to two hours, often exactly on or beside a bound.
    fn nanos(&mut self) -> u64 {
        let pick = self.next();
        if pick.is_multiple_of(8) {
            let bound = BOUNDS_NANOS[(pick >> 8) as usize % BOUNDS_NANOS.len()];
            return bound - 1 + (pick >> 32) % 3;
        }
        (self.next() >> ((pick >> 8) % 44)) % 7_200_000_000_000
    }

    fn distribution(&mut self, len: usize) -> (Distribution, Vec<u64>) {
        let mut values: Vec<u64> = (0..len).map(|_| self.nanos()).collect();
        let mut all = Distribution::new();
        values.iter().for_each(|v| all.record(*v));
        values.sort_unstable();
        (all, values)
    }
}

#[test]
fn buckets_cover_all_durations_without_gap_or_overlap() {
    assert_eq!(bucket_of(0), 0);
    for bucket in 0..BUCKETS {
        let longest = longest_in(bucket);
        assert_eq!(bucket_of(longest), bucket, "longest of {bucket}");
        assert_eq!(bucket_of(longest + 1), (bucket + 1).min(BUCKETS - 1), "after {bucket}");
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
}

#[test]
fn bounds_in_seconds_and_in_nanoseconds_agree() {
    for (seconds, nanos) in BOUNDS.iter().zip(BOUNDS_NANOS) {
        assert_eq!(Duration::from_nanos(nanos).as_secs_f64(), *seconds);
    }
}

#[test]
fn a_quantile_is_never_below_the_exact_one_and_at_most_a_sixteenth_above() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let len = 1 + (random.next() % 2_000) as usize;
        let (all, sorted) = random.distribution(len);
        for q in [0.0, 0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0] {
            let rank = ((q * len as f64).ceil() as usize).clamp(1, len);
            let exact = sorted[rank - 1];
            let told = all.quantile(q).expect("something was counted");
            assert!(told >= exact, "seed {seed} q {q}: {told} < {exact}");
            // Of the last bucket only the longest value is known.
            if bucket_of(exact) + 1 < BUCKETS {
                let allowed = (exact + exact / 16).max((1 << FIRST_BITS) - 1);
                assert!(told <= allowed, "seed {seed} q {q}: {told} > {allowed} for {exact}");
            }
        }
    }
}

#[test]
fn export_at_the_standard_bounds_is_exact() {
    for seed in 0..300 {
        let (all, sorted) = Random(seed).distribution(3_000);
        for (bound, told) in BOUNDS_NANOS.iter().zip(all.at_bounds()) {
            let exact = sorted.iter().filter(|v| *v <= bound).count() as u64;
            assert_eq!(told, exact, "seed {seed} bound {bound}");
        }
        assert_eq!(all.count(), 3_000);
        assert_eq!(all.sum_nanos(), sorted.iter().sum::<u64>());
        assert_eq!(Some(&all.max_nanos()), sorted.last());
    }
}

#[test]
fn merging_is_associative_and_commutative_and_equals_recording_together() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let (a, va) = random.distribution(500);
        let (b, vb) = random.distribution(50);
        let (c, vc) = random.distribution(5);
        let merged = |parts: [&Distribution; 3]| {
            let mut sum = parts[0].clone();
            sum.merge(parts[1]);
            sum.merge(parts[2]);
            sum
        };
        let left = merged([&a, &b, &c]);
        let mut bc = b.clone();
        bc.merge(&c);
        let mut right = a.clone();
        right.merge(&bc);
        let mut together = Distribution::new();
        va.iter().chain(&vb).chain(&vc).for_each(|v| together.record(*v));
        assert!(left == right && left == merged([&c, &b, &a]) && left == together, "seed {seed}");
    }
}

#[test]
fn a_window_holds_exactly_what_came_after_the_earlier_reading() {
    for seed in 0..100 {
        let mut random = Random(seed);
        let (earlier, _) = random.distribution(400);
        let (added, values) = random.distribution(300);
        let mut later = earlier.clone();
        later.merge(&added);
        let window = later.since(&earlier);
        assert_eq!(window.buckets, added.buckets, "seed {seed}");
        assert_eq!(window.at_bounds(), added.at_bounds(), "seed {seed}");
        assert_eq!(window.sum_nanos(), added.sum_nanos(), "seed {seed}");
        assert!(window.max_nanos() >= *values.last().expect("300 values"), "seed {seed}");
    }
}

#[test]
fn an_empty_distribution_has_no_quantile() {
    assert_eq!(Distribution::new().quantile(0.5), None);
    assert_eq!(Distribution::new().at_bounds(), [0; 16]);
}
