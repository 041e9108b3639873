//! Ctrl-C: the first ends what runs in good order, the second ends the program.
//!
//! Invariant: a program that is asked twice ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::signal::unix::{SignalKind, signal};

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Returns what is set by the first SIGINT or SIGTERM from now on.
pub fn on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let listening = runtime.and_then(|runtime| {
        // Before this function returns: whoever is interrupted right afterwards keeps results.
        let inside = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(inside);
        Ok((runtime, interrupt, terminate))
    });
    let (runtime, mut interrupt, mut terminate) = match listening {
        Ok(listening) => listening,
        Err(error) => {
            eprintln!("headpond: signals: {error}; Ctrl-C ends without results");
            return stop;
        }
    };
    let set = Arc::clone(&stop);
    // Ends with the program.
    std::thread::spawn(move || {
        runtime.block_on(async {
            for _ in 0..2 {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if set.swap(true, Relaxed) {
                    std::process::exit(INTERRUPTED);
                }
            }
        });
    });
    stop
}
