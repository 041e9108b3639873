//! Signals, as PgBouncer has understood them since 1.23.
//!
//! Invariant: the second SIGTERM or SIGINT ends the process at once.
//! Not here: what pausing and draining mean (`control.rs`).

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::StartError;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// HUP.
    Reload,
    /// TERM: wait for clients.
    WaitForClients,
    /// INT: wait for servers.
    WaitForServers,
    /// QUIT.
    StopNow,
    /// USR1.
    Pause,
    /// USR2.
    Resume,
}

/// The signals this process listens to.
pub struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
    quit: Signal,
    usr1: Signal,
    usr2: Signal,
}

impl Signals {
    /// Starts to listen.
    ///
    /// # Errors
    /// The system refuses a handler.
    pub fn new() -> Result<Self, StartError> {
        let on = |kind| signal(kind).map_err(StartError::system("signal handlers"));
        Ok(Self {
            hup: on(SignalKind::hangup())?,
            term: on(SignalKind::terminate())?,
            int: on(SignalKind::interrupt())?,
            quit: on(SignalKind::quit())?,
            usr1: on(SignalKind::user_defined1())?,
            usr2: on(SignalKind::user_defined2())?,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// No signal is lost when the future is dropped.
    pub async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.hup.recv() => Asked::Reload,
            _ = self.term.recv() => Asked::WaitForClients,
            _ = self.int.recv() => Asked::WaitForServers,
            _ = self.quit.recv() => Asked::StopNow,
            _ = self.usr1.recv() => Asked::Pause,
            _ = self.usr2.recv() => Asked::Resume,
        }
    }
}
