//! A connection of one's own, which knows what was done with it.
//!
//! Before a command is handed to the task that writes it the connection counts as asked, and until
//! its reply was read: whoever gives it back meanwhile, or drops a future, gives back a connection
//! that is closed.
//!
//! Invariant: a connection that is not asked has no reply under way, and what it still watches,
//! listens to or has selected is noted.
//! Left out: what becomes of it (`manager.rs`).

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use redis::aio::ConnectionLike;
use redis::{
    Cmd, FromRedisValue, Msg, Pipeline, PushInfo, PushKind, RedisFuture, ToRedisArgs, Value,
};
use tokio::sync::mpsc;

use super::command::{Effect, effect};
use super::error::Error;
use super::link::{Link, OnPush};

/// How many messages wait for somebody who listens; more are dropped and counted.
const MESSAGES: usize = 10_000;

/// A session with a Redis or Valkey server that nobody else uses.
///
/// Every command of [`AsyncCommands`](super::AsyncCommands) can be called on it.
pub struct Connection {
    pub(super) link: Link,
    pub(super) session: Session,
    pushes: mpsc::Receiver<PushInfo>,
    missed: Arc<AtomicU64>,
}

/// What is known about a session.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// A command was begun and its reply not read.
    pub(super) asked: bool,
    /// Keys are watched.
    pub(super) watching: bool,
    /// A transaction is open.
    pub(super) multi: bool,
    /// Something was changed that only a reset changes back.
    pub(super) changed: bool,
    /// Nobody else can use it.
    pub(super) ruined: bool,
}

impl Session {
    /// Notes that a command is about to be sent.
    fn begin(&mut self, effect: Effect) {
        self.asked = true;
        match effect {
            // Noted before: nobody knows how far a command came whose reply was not read.
            Effect::Watch => self.watching = true,
            Effect::Multi => self.multi = true,
            Effect::Changes => self.changed = true,
            Effect::Ruins => self.ruined = true,
            Effect::None | Effect::Blocks | Effect::Unwatch | Effect::End => {}
        }
    }

    /// Notes that its reply was read.
    const fn end(&mut self, effect: Effect) {
        self.asked = false;
        match effect {
            Effect::Unwatch if !self.multi => self.watching = false,
            Effect::End => {
                self.multi = false;
                self.watching = false;
            }
            _ => {}
        }
    }

    pub(super) const fn is_clean(&self) -> bool {
        !(self.watching || self.multi || self.changed)
    }
}

/// Makes the two ends of what the server sends by itself.
pub(super) struct Pushes {
    sender: mpsc::Sender<PushInfo>,
    receiver: mpsc::Receiver<PushInfo>,
    missed: Arc<AtomicU64>,
}

impl Pushes {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(MESSAGES);
        Self { sender, receiver, missed: Arc::default() }
    }

    pub(super) fn on_push(&self) -> OnPush {
        let (sender, missed) = (self.sender.clone(), Arc::clone(&self.missed));
        Box::new(move |push| {
            // The task that reads for everybody must not wait for somebody who does not listen.
            if sender.try_send(push).is_err() {
                missed.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    pub(super) fn with(self, link: Link) -> Connection {
        let Self { receiver, missed, .. } = self;
        Connection { link, session: Session::default(), pushes: receiver, missed }
    }
}

impl Connection {
    /// Runs a command.
    ///
    /// # Errors
    /// When the server refuses it, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn query<T: FromRedisValue>(&mut self, cmd: &Cmd) -> Result<T, Error> {
        Ok(cmd.query_async(self).await?)
    }

    /// Listens to channels; what comes is read by [`Connection::message`].
    ///
    /// # Errors
    /// When the server refuses, is older than version 6, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn subscribe(&mut self, channels: impl ToRedisArgs + Send) -> Result<(), Error> {
        self.session.begin(Effect::Changes);
        let subscribed = self.link.redis.subscribe(channels).await;
        self.subscribed(subscribed)
    }

    /// Listens to all channels of a pattern.
    ///
    /// # Errors
    /// When the server refuses, is older than version 6, or the connection breaks.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection: it is closed when it is given back.
    pub async fn psubscribe(&mut self, patterns: impl ToRedisArgs + Send) -> Result<(), Error> {
        self.session.begin(Effect::Changes);
        let subscribed = self.link.redis.psubscribe(patterns).await;
        self.subscribed(subscribed)
    }

    fn subscribed(&mut self, outcome: redis::RedisResult<()>) -> Result<(), Error> {
        if was_answered(&outcome) {
            self.session.end(Effect::Changes);
        }
        Ok(outcome?)
    }

    /// Waits for the next message of the channels that were subscribed to.
    ///
    /// # Errors
    /// [`Error::Closed`] when the connection is gone.
    ///
    /// # Cancel safety
    /// Dropping the future loses no message.
    pub async fn message(&mut self) -> Result<Msg, Error> {
        loop {
            let push = self.pushes.recv().await.ok_or(Error::Closed)?;
            if push.kind == PushKind::Disconnection {
                return Err(Error::Closed);
            }
            if let Some(message) = Msg::from_push_info(push) {
                return Ok(message);
            }
        }
    }

    /// Returns how many messages came while 10,000 were waiting to be read, and were dropped.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }

    /// Returns whether the other side has closed the connection.
    pub(super) fn is_over(&self) -> bool {
        self.link.driver.is_over()
    }

    /// Forgets what the last user listened to and did not read.
    pub(super) fn renew(&mut self) {
        self.session = Session::default();
        while self.pushes.try_recv().is_ok() {}
        self.missed.store(0, Ordering::Relaxed);
    }
}

/// Returns whether the reply was read, whatever it says.
fn was_answered<T>(outcome: &redis::RedisResult<T>) -> bool {
    match outcome {
        Ok(_) => true,
        // With a code it is the server that said so.
        Err(error) => error.code().is_some() && !error.is_io_error(),
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let effect = effect(cmd);
            self.session.begin(effect);
            let outcome = self.link.redis.req_packed_command(cmd).await;
            if was_answered(&outcome) {
                self.session.end(effect);
            }
            outcome
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.session.asked = true;
            for cmd in pipeline.cmd_iter() {
                self.session.begin(effect(cmd));
            }
            let outcome = self.link.redis.req_packed_commands(pipeline, offset, count).await;
            if was_answered(&outcome) {
                self.session.asked = false;
                for cmd in pipeline.cmd_iter() {
                    self.session.end(effect(cmd));
                }
                if pipeline.is_transaction() {
                    self.session.end(Effect::End);
                }
            }
            outcome
        })
    }

    fn get_db(&self) -> i64 {
        self.link.redis.get_db()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("session", &self.session).finish_non_exhaustive()
    }
}
