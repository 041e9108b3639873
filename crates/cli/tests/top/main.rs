//! `headpond top` on a terminal, as somebody on call has it: keys, faults, and how it leaves.
//!
//! The terminal is a real one (a pty), the program the real binary; the pooler is one that says
//! what the test wants, and in `pooling.rs` a real one with a real PostgreSQL.

mod endpoint;
mod leaving;
mod living;
mod pooling;
mod terminal;

// Files of the pooler's tests, of which a part is used here.
#[allow(dead_code)]
#[path = "../../../pooler/tests/support/pooler.rs"]
mod pooler;
#[allow(dead_code)]
#[path = "../../../pooler/tests/support/postgres.rs"]
mod postgres;
#[allow(dead_code)]
#[path = "../../../pooler/tests/support/process.rs"]
mod process;

use std::process::Command;

use terminal::{Program, Terminal};

/// Returns the command for the screen of an endpoint.
fn top(url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headpond"));
    command.args(["top", "--url", url, "--every", "0.1"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("HEADPOND_TOKEN_FILE");
    command
}

/// Starts it on a terminal of the usual size and waits for a pool.
fn shown(url: &str, pool: &str) -> (Terminal, Program) {
    let terminal = Terminal::new(80, 24);
    let program = terminal.run(&top(url));
    terminal.wait_for(pool);
    (terminal, program)
}
