//! LISTEN on a session of its own, which no pool counts.
//!
//! Invariant: whoever reads a listener learns of every notification that the server sent while
//! the listener was connected, in order, and of every gap in between.
//! Left out: what was notified during a gap; PostgreSQL does not keep it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::connect::{Notify, connect_with};
use super::connection::Connection;
use super::error::Error;
use super::manager::Postgres;
use super::profile::Profile;
use crate::pool::Pool;
use crate::transaction::Options;

/// Something that a listener hears.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// A notification.
    Notification {
        /// The channel.
        channel: String,
        /// What was sent with it; often empty.
        payload: String,
        /// The server process that notified.
        process: i32,
    },
    /// The session was lost and is there again, and listens to the same channels. Whatever was
    /// notified meanwhile is lost: look for yourself what has changed.
    Gap {
        /// How long nobody was listening.
        lost_for: Duration,
    },
}

/// Listens to channels; dropping it ends its session.
#[derive(Debug)]
pub struct Listener {
    heard: mpsc::UnboundedReceiver<Heard>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Listen(String, oneshot::Sender<Result<(), Error>>),
    Unlisten(String, oneshot::Sender<Result<(), Error>>),
}

impl Pool<Postgres> {
    /// Opens a session beside the pool, which listens to these channels.
    ///
    /// It reconnects by itself. Through a pooler in transaction mode nothing is ever heard: give
    /// such a pool's listener a direct URL.
    ///
    /// # Errors
    /// When the first session cannot be opened.
    ///
    /// # Cancel safety
    /// Dropping the future leaves nothing behind.
    pub async fn listen(&self, channels: &[&str]) -> Result<Listener, Error> {
        Listener::start(Arc::clone(self.manager().profile()), channels).await
    }
}

impl Listener {
    async fn start(profile: Arc<Profile>, channels: &[&str]) -> Result<Self, Error> {
        let (tell, heard) = mpsc::unbounded_channel();
        let (commands, orders) = mpsc::unbounded_channel();
        let channels: Vec<String> = channels.iter().map(|&name| name.to_owned()).collect();
        let mut work = Work { profile, tell, channels };
        let session = work.open().await?;
        let task = tokio::spawn(work.run(session, orders));
        Ok(Self { heard, commands, task })
    }

    /// Waits for what comes next; `None` never comes while the listener exists.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Returns what has come already, if anything.
    pub fn try_next(&mut self) -> Option<Heard> {
        self.heard.try_recv().ok()
    }

    /// Listens to another channel too.
    ///
    /// # Errors
    /// When the server refuses, or the session is lost at this moment; in the second case the
    /// channel is listened to as soon as there is a session again.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the order back.
    pub async fn listen(&self, channel: &str) -> Result<(), Error> {
        self.order(|done| Command::Listen(channel.to_owned(), done)).await
    }

    /// Listens to a channel no longer.
    ///
    /// # Errors
    /// As [`Listener::listen`].
    ///
    /// # Cancel safety
    /// Dropping the future does not take the order back.
    pub async fn unlisten(&self, channel: &str) -> Result<(), Error> {
        self.order(|done| Command::Unlisten(channel.to_owned(), done)).await
    }

    async fn order(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<(), Error>>) -> Command,
    ) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(command(done)).map_err(|_| Error::Ended)?;
        outcome.await.unwrap_or(Err(Error::Ended))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Work {
    profile: Arc<Profile>,
    tell: mpsc::UnboundedSender<Heard>,
    channels: Vec<String>,
}

/// How often a silent session is asked whether it is alive.
const PING: Duration = Duration::from_secs(30);
/// How long a session may take to open, or to answer.
const PATIENCE: Duration = Duration::from_secs(10);

impl Work {
    async fn open(&mut self) -> Result<Connection, Error> {
        let tell = &self.tell;
        let notify = || {
            let tell = tell.clone();
            let notify: Notify = Box::new(move |notification| {
                let _ = tell.send(Heard::Notification {
                    channel: notification.channel().to_owned(),
                    payload: notification.payload().to_owned(),
                    process: notification.process_id(),
                });
            });
            notify
        };
        let work = async {
            let session = connect_with(&self.profile, notify).await?;
            for channel in &self.channels {
                session.batch(&format!("LISTEN {}", quoted(channel))).await?;
            }
            Ok(session)
        };
        let late = || Error::Timeout { host: "listener".to_owned(), limit: PATIENCE };
        tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(late()))
    }

    async fn run(mut self, mut session: Connection, mut orders: mpsc::UnboundedReceiver<Command>) {
        let pauses = Options {
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            ..Options::default()
        };
        loop {
            self.serve(&session, &mut orders).await;
            drop(session);
            let lost = tokio::time::Instant::now();
            let mut retry = 0;
            session = loop {
                match self.open().await {
                    Ok(session) => break session,
                    Err(error) => tracing::warn!(%error, "listener cannot reconnect yet"),
                }
                tokio::time::sleep(pauses.pause(retry)).await;
                retry = retry.saturating_add(1);
            };
            if self.tell.send(Heard::Gap { lost_for: lost.elapsed() }).is_err() {
                return;
            }
        }
    }

    /// Returns when the session is lost.
    async fn serve(&mut self, session: &Connection, orders: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            tokio::select! {
                () = session.ended() => return,
                () = tokio::time::sleep(PING) => {
                    let ping = tokio::time::timeout(PATIENCE, session.check_connection());
                    if !matches!(ping.await, Ok(Ok(()))) {
                        return;
                    }
                }
                order = orders.recv() => match order {
                    Some(Command::Listen(channel, done)) => {
                        let outcome = session.batch(&format!("LISTEN {}", quoted(&channel))).await;
                        if !self.channels.contains(&channel) {
                            self.channels.push(channel);
                        }
                        let _ = done.send(outcome.map_err(Error::from));
                    }
                    Some(Command::Unlisten(channel, done)) => {
                        self.channels.retain(|known| *known != channel);
                        let order = format!("UNLISTEN {}", quoted(&channel));
                        let outcome = session.batch(&order).await;
                        let _ = done.send(outcome.map_err(Error::from));
                    }
                    // The listener is being dropped, and this task with it.
                    None => return std::future::pending().await,
                },
            }
        }
    }
}

/// Quotes an identifier.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
