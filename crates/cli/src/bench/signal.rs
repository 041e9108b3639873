//! Ctrl-C: the first ends what runs in good order, the second ends the program.
//!
//! Invariant: a program that is asked twice ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What a shell reports of a program that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Returns what is set by the first SIGINT or SIGTERM.
pub fn on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&stop);
    // Ends with the program.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else {
            eprintln!("headpond: no event loop for signals: Ctrl-C ends without results");
            return;
        };
        runtime.block_on(async {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
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
