//! Ending the work that a server does for nobody.
//!
//! A server does not notice that a client went away until it writes to it. So the session is killed
//! on a side connection, one for the whole pool, which lives as long as there is something to kill.
//!
//! Invariant: only a session of the same server is killed; numbers of sessions are never given
//! twice, so a kill that comes late hits nobody.
//! Left out: when (`manager.rs`).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;

use super::error::Error;

/// How long until a killed session is asked for again.
const GLANCE: Duration = Duration::from_millis(2);

/// Kills sessions.
#[derive(Default)]
pub(super) struct Killer {
    side: Mutex<Option<Side>>,
    /// How many kills are wanted.
    wanted: AtomicUsize,
}

struct Side {
    conn: Conn,
    server: String,
}

/// Counts a kill as wanted until it is over or given up.
struct Wanted<'killer>(&'killer AtomicUsize);

impl Drop for Wanted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Killer {
    /// Ends a session and waits until the server has let go of it.
    pub(super) async fn kill(
        &self,
        connect: impl Future<Output = Result<Conn, Error>>,
        id: u32,
        server: &str,
    ) -> Result<(), Error> {
        self.wanted.fetch_add(1, Ordering::Relaxed);
        let wanted = Wanted(&self.wanted);
        let mut place = self.side.lock().await;
        // Taken out while it is in use: whoever is dropped half way leaves nothing behind.
        let mut side = match place.take() {
            Some(side) => side,
            None => {
                let mut conn = connect.await?;
                let server = identity(&mut conn).await?;
                Side { conn, server }
            }
        };
        // Behind a balancer the side connection may be with another server.
        let ended = if side.server == server { end(&mut side.conn, id).await } else { Ok(()) };
        drop(wanted);
        if ended.is_ok() && self.wanted.load(Ordering::Relaxed) > 0 {
            *place = Some(side);
            return Ok(());
        }
        if ended.is_ok() {
            // Before the place is given up, or the next would come while this one leaves.
            side.conn.disconnect().await?;
        }
        drop(place);
        ended
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
