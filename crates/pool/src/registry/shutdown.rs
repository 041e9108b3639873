//! The orderly end: signals, and waiting for what is lent.
//!
//! Invariant: a shutdown ends by its deadline, and says who had not finished.

use std::fmt;
use std::process::ExitCode;
use std::time::Duration;

use tokio::time::Instant;

use super::Databases;
use crate::pool::Leftover;

/// Who had not finished when a shutdown's time was over.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Each database that had connections still.
    pub unfinished: Vec<Unfinished>,
}

/// A database that had connections still.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Unfinished {
    /// The database.
    pub name: String,
    /// What was left.
    pub left: Leftover,
}

impl Report {
    /// Returns whether everything had come back.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Returns 0 if everything had come back, and 1 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.is_complete() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_complete() {
            return f.write_str("every connection came back and was closed");
        }
        for (n, unfinished) in self.unfinished.iter().enumerate() {
            let Unfinished { name, left } = unfinished;
            let separator = if n == 0 { "" } else { "; " };
            write!(f, "{separator}{name}: {} connections left", left.connections)?;
            for holder in &left.holders {
                write!(f, ", {holder}")?;
            }
        }
        Ok(())
    }
}

impl Databases {
    /// Ends every pool and waits for what is lent, for `shutdown_timeout` at most.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; the pools stay closed.
    pub async fn shutdown(&self) -> Report {
        self.shutdown_within(self.shared.general.shutdown_timeout).await
    }

    /// The same, with another time.
    ///
    /// # Cancel safety
    /// Dropping the future stops waiting; the pools stay closed.
    pub async fn shutdown_within(&self, time: Duration) -> Report {
        self.end_tasks();
        let close = move |database: std::sync::Arc<dyn super::DynDatabase>| async move {
            database.close(time).await
        };
        // Closing keeps the time itself and says who is left; this is for one that does not.
        let until = Instant::now() + time + Duration::from_secs(1);
        let outcomes = self.with_each(until, close, || Err(Leftover::default())).await;
        let unfinished = outcomes
            .into_iter()
            .filter_map(|(name, _, outcome)| Some(Unfinished { name, left: outcome.err()? }));
        let report = Report { unfinished: unfinished.collect() };
        match report.is_complete() {
            true => tracing::info!("databases closed: {report}"),
            false => tracing::warn!("databases closed: {report}"),
        }
        report
    }

    /// Waits for SIGINT, SIGTERM or SIGUSR2, then shuts down. For the end of `main`:
    ///
    /// ```no_run
    /// # async fn serve() {}
    /// # async fn main_(databases: headpond::registry::Databases) -> std::process::ExitCode {
    /// tokio::spawn(serve());
    /// match databases.shutdown_on_signal().await {
    ///     Ok(report) => report.exit_code(),
    ///     Err(_) => std::process::ExitCode::FAILURE,
    /// }
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the operating system does not let signals be heard.
    ///
    /// # Cancel safety
    /// Dropping the future before a signal came changes nothing but that signals are heard.
    pub async fn shutdown_on_signal(&self) -> std::io::Result<Report> {
        let signal = signal().await?;
        tracing::info!(signal, "shutting down");
        Ok(self.shutdown().await)
    }
}

#[cfg(unix)]
async fn signal() -> std::io::Result<&'static str> {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::signal::unix::{SignalKind, signal};

    let mut signals = [
        ("SIGTERM", signal(SignalKind::terminate())?),
        ("SIGINT", signal(SignalKind::interrupt())?),
        ("SIGUSR2", signal(SignalKind::user_defined2())?),
    ];
    Ok(poll_fn(|cx| {
        for (name, signal) in &mut signals {
            if signal.poll_recv(cx).is_ready() {
                return Poll::Ready(*name);
            }
        }
        Poll::Pending
    })
    .await)
}

#[cfg(not(unix))]
async fn signal() -> std::io::Result<&'static str> {
    tokio::signal::ctrl_c().await?;
    Ok("Ctrl-C")
}
