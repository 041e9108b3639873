//! `cargo xtask fuzz`: a mutational fuzzer on stable Rust, over every parser and both session
//! directions.
//!
//! Invariant: each input is a function of the seed and a number; a failure prints both, and the
//! smallest input found that still fails, in hex.
//! Not here: the laws. Each crate asserts its own in its `fuzzing` module.

mod corpus;
mod mutate;
mod targets;

use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use targets::Target;

const HELP: &str = "\
usage: cargo xtask fuzz [options] [TARGET …]

  --seconds N   how long each target is attacked (60)
  --seed N      the sequence of inputs (a new one each time)
  --at N        only input number N of that sequence
  --hex BYTES   only this input
  --list        the targets
";

/// One call may take this long; more is a hang or worse than linear work.
const SLOW: Duration = Duration::from_secs(5);
/// How often the time is looked at.
const BATCH: u64 = 64;

struct Options {
    seconds: u64,
    seed: u64,
    at: Option<u64>,
    hex: Option<Vec<u8>>,
    names: Vec<String>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<bool, String> {
    let all = targets::all();
    if arguments.iter().any(|word| word == "--list") {
        all.iter().for_each(|target| println!("{}", target.name));
        return Ok(true);
    }
    let options = parse(arguments)?;
    for name in &options.names {
        if !all.iter().any(|target| target.name == name) {
            return Err(format!("no target {name}; --list names them"));
        }
    }
    // A panic is a finding, told below with its input; its text comes from the usual hook then.
    let loud = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let mut sound = true;
    for target in &all {
        if !options.names.is_empty() && !options.names.iter().any(|name| name == target.name) {
            continue;
        }
        if let Some(input) = attack(target, &options) {
            let small = shrink(target, input);
            panic::set_hook(Box::new(|info| eprintln!("{info}")));
            fails(target, &small);
            panic::set_hook(Box::new(|_| {}));
            eprintln!("cargo xtask fuzz {} --hex {}", target.name, hex(&small));
            sound = false;
        }
    }
    panic::set_hook(loud);
    Ok(sound)
}

fn parse(arguments: &[String]) -> Result<Options, String> {
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    // Short seeds are easier to read out.
    let mut options =
        Options { seconds: 60, seed: random >> 40, at: None, hex: None, names: Vec::new() };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if !word.starts_with("--") {
            options.names.push(word.clone());
            continue;
        }
        let value = words.next().ok_or_else(|| HELP.to_owned())?;
        let number = value.parse::<u64>().map_err(|_| format!("{word} needs a number"));
        match word.as_str() {
            "--seconds" => options.seconds = number?,
            "--seed" => options.seed = number?,
            "--at" => options.at = Some(number?),
            "--hex" => options.hex = Some(unhex(value)?),
            _ => return Err(HELP.to_owned()),
        }
    }
    Ok(options)
}

/// Attacks one target; returns an input that makes it fail.
fn attack(target: &Target, options: &Options) -> Option<Vec<u8>> {
    if let Some(input) = &options.hex {
        return fails(target, input).then(|| input.clone());
    }
    if let Some(at) = options.at {
        let input = mutate::input(&target.corpus, options.seed, at);
        return fails(target, &input).then_some(input);
    }
    // What was recorded must pass as it is.
    if let Some(input) = target.corpus.recordings.iter().find(|input| fails(target, input)) {
        return Some(input.clone());
    }
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let deadline = Instant::now() + Duration::from_secs(options.seconds);
    let over = AtomicBool::new(false);
    let total = AtomicU64::new(0);
    let found = Mutex::new(None);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (over, total, found) = (&over, &total, &found);
            scope.spawn(move || {
                let mut number = thread;
                while !over.load(Ordering::Relaxed) && Instant::now() < deadline {
                    for _ in 0..BATCH {
                        let input = mutate::input(&target.corpus, options.seed, number);
                        if fails(target, &input) {
                            over.store(true, Ordering::Relaxed);
                            let mut found = found.lock().expect("nobody panics with it");
                            *found = Some((number, input));
                            break;
                        }
                        number += threads;
                    }
                    total.fetch_add(BATCH, Ordering::Relaxed);
                }
            });
        }
    });
    let found = found.into_inner().expect("nobody panics with it");
    let total = total.load(Ordering::Relaxed);
    let verdict = if found.is_some() { "FAILED" } else { "sound" };
    println!("{:18} seed {:8} {total:>12} inputs  {verdict}", target.name, options.seed);
    found.map(|(number, input)| {
        eprintln!("cargo xtask fuzz {} --seed {} --at {number}", target.name, options.seed);
        input
    })
}

/// Calls the target; a panic and a call that takes too long are failures.
fn fails(target: &Target, input: &[u8]) -> bool {
    let start = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    outcome.is_err() || start.elapsed() > SLOW
}

/// Takes away what is not needed for the failure: halves first, single bytes last.
fn shrink(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut step = input.len().div_ceil(2);
    while step > 0 {
        let mut at = 0;
        while at < input.len() {
            let mut shorter = input.clone();
            shorter.drain(at..(at + step).min(input.len()));
            if fails(target, &shorter) {
                input = shorter;
            } else {
                at += step;
            }
        }
        step /= 2;
    }
    input
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Result<Vec<u8>, String> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0);
    let digits = digits.ok_or("--hex needs pairs of hexadecimal digits")?;
    // Two digits below 16 make a number below 256.
    Ok(digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutate::Corpus;

    fn dislikes_exclamations(data: &[u8]) {
        assert!(!data.windows(2).any(|two| two == b"Q!"), "found");
    }

    #[test]
    fn a_failing_input_is_found_and_shrunk_to_what_fails() {
        let recordings = vec![b"abQcd!".to_vec(), b"Q\0\0\0\x05!".to_vec()];
        let corpus = Corpus { recordings, before: 0 };
        let target = Target { name: "test", run: dislikes_exclamations, corpus };
        let options = Options { seconds: 60, seed: 1, at: None, hex: None, names: Vec::new() };
        let found = attack(&target, &options).expect("a byte between two goes within a minute");
        assert_eq!(shrink(&target, found), b"Q!");
    }

    #[test]
    fn hex_is_read_as_it_is_written() {
        assert_eq!(unhex(&hex(b"\0\x7f\xff")), Ok(b"\0\x7f\xff".to_vec()));
        assert!(unhex("0").is_err() && unhex("xy").is_err());
    }
}
