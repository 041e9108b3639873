//! Random schedules through the fuzzing shell, so that it runs without a fuzzer, too.
//!
//! `HEADPOND_SCHEDULES` sets how many; each is named by its seed when it fails.

use headpond_core::{Random, fuzzing};

#[test]
fn every_schedule_keeps_the_laws() {
    let schedules = std::env::var("HEADPOND_SCHEDULES").ok().and_then(|text| text.parse().ok());
    for seed in 0..schedules.unwrap_or(2_000) {
        let mut random = Random::new(seed);
        let length = random.up_to(600);
        let bytes: Vec<u8> = (0..length).map(|_| random.next_u64().to_le_bytes()[0]).collect();
        let outcome = std::panic::catch_unwind(|| fuzzing::verbs(&bytes));
        assert!(outcome.is_ok(), "schedule {seed} breaks a law");
    }
}
