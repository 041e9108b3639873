//! `cargo xtask sim`: the pooler's simulation test, optimised, with as many seeds as asked for.
//!
//! Not here: the simulation itself, which is a test of the pooler.

use crate::{succeed, tree};

/// Runs the simulation in profile `checked`; a seed replays one run exactly.
pub fn run(arguments: &[String]) -> Result<(), String> {
    let mut cargo = tree::cargo();
    cargo.args(["test", "--profile", "checked", "--package", "headpond-pooler", "--test", "sim"]);
    cargo.env("HEADPOND_SIM_SEEDS", "10000");
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a number"))?;
        match word.as_str() {
            "--seeds" => cargo.env("HEADPOND_SIM_SEEDS", value),
            "--seed" => cargo.env("HEADPOND_SIM_SEED", value),
            _ => return Err(format!("unknown option {word}: --seeds N or --seed N")),
        };
    }
    cargo.args(["--", "--nocapture"]);
    succeed(&mut cargo, "sim")
}
