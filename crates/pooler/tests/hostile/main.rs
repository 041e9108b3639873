//! What strangers and bad neighbours may cost: nothing that others notice.
//!
//! Each test drives a real process and asks the kernel what it costs: memory, descriptors,
//! processor. Laws are about amounts and endings; how long things took is printed, and decides
//! nothing, because machines differ.
//!
//! `HEADPOND_TEST_MALFORMED=1000000`, `HEADPOND_TEST_FLOOD=1000000`, `HEADPOND_TEST_IDLE=5000`,
//! `HEADPOND_TEST_HALF_OPEN=5000` and `HEADPOND_TEST_ROOM=1000` are the full runs.
//! Not here: what each malformed packet is answered (`headpond_wire::startup`, `login`).

mod canary;
mod crowd;
mod flood;
mod idle;
mod malformed;
mod names;
mod packet;
mod parrot;
mod raw;
mod secrets;
mod slow;
#[path = "../support/mod.rs"]
mod support;
mod usage;
mod vault;

/// Returns the number that an environment variable holds, or else `usual`.
fn wished(name: &str, usual: usize) -> usize {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number")),
        Err(_) => usual,
    }
}
