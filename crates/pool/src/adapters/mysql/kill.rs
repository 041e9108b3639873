//! Ending the work that a server does for nobody.
//!
//! A server does not notice that a client went away until it writes to it. So the session is killed
//! on a side connection, one for the whole pool, which stays for a moment after the last kill: a
//! server counts a session that said goodbye until its thread has ended, and with a new side
//! connection for each kill there would be two at times.
//!
//! Invariant: only a session of the same server is killed; numbers of sessions are never given
//! twice, so a kill that comes late hits nobody. There is one side connection at most.
//! Left out: when (`manager.rs`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::Error;

/// How long until a killed session is asked for again.
const GLANCE: Duration = Duration::from_millis(2);
/// How long the side connection stays after the last kill: many times what a goodbye takes.
const LINGER: Duration = Duration::from_secs(1);

/// Kills sessions.
#[derive(Default)]
pub(super) struct Killer {
    side: Arc<Place>,
}

type Place = Mutex<Option<Side>>;

struct Side {
    conn: Conn,
    server: String,
    used: Instant,
}

impl Killer {
    /// Ends a session and waits until the server has let go of it.
    pub(super) async fn kill(
        &self,
        connect: impl Future<Output = Result<Conn, Error>>,
        id: u32,
        server: &str,
    ) -> Result<(), Error> {
        let mut place = self.side.lock().await;
        // Taken out while it is in use: whoever is dropped half way leaves nothing behind.
        let (mut side, new) = match place.take() {
            Some(side) => (side, false),
            None => {
                let mut conn = connect.await?;
                let server = identity(&mut conn).await?;
                (Side { conn, server, used: Instant::now() }, true)
            }
        };
        // Behind a balancer the side connection may be with another server.
        if side.server == server {
            end(&mut side.conn, id).await?;
        }
        side.used = Instant::now();
        *place = Some(side);
        drop(place);
        if new {
            tokio::spawn(linger(Arc::downgrade(&self.side)));
        }
        Ok(())
    }
}

/// Closes the side connection when it has not been used for a while.
async fn linger(place: Weak<Place>) {
    let mut until = Instant::now() + LINGER;
    loop {
        tokio::time::sleep_until(until).await;
        // A pool that is gone has taken its side connection with it.
        let Some(place) = place.upgrade() else { return };
        // Held until it is closed, so that no other is opened meanwhile.
        let mut place = place.lock().await;
        let Some(side) = place.take() else { return };
        until = side.used + LINGER;
        if until <= Instant::now() {
            // It is gone either way.
            let _ = side.conn.disconnect().await;
            return;
        }
        *place = Some(side);
    }
}

async fn end(conn: &mut Conn, id: u32) -> Result<(), Error> {
    loop {
        let seen = format!("SELECT COMMAND FROM information_schema.PROCESSLIST WHERE ID = {id}");
        let command: Option<Option<String>> = conn.query_first(seen).await?;
        match command {
            None => return Ok(()),
            Some(command) if command.as_deref() == Some("Killed") => {}
            Some(_) => match conn.query_drop(format!("KILL CONNECTION {id}")).await {
                // It ended meanwhile.
                Err(mysql_async::Error::Server(error)) if error.code == 1094 => return Ok(()),
                killed => killed?,
            },
        }
        tokio::time::sleep(GLANCE).await;
    }
}

/// Returns what distinguishes a server from others.
pub(super) async fn identity(conn: &mut Conn) -> Result<String, Error> {
    let asked = "SELECT CONCAT_WS(':', @@hostname, @@port, @@server_id)";
    let server: Option<Option<String>> = conn.query_first(asked).await?;
    Ok(server.flatten().unwrap_or_default())
}
