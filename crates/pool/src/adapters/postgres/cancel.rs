//! Asks a server to end the query that a session runs.
//!
//! Invariant: the request goes the way the session went: to the same address, with the same TLS.
//! Left out: whether there is anything to cancel; the server ignores it if not.

use std::fmt;
use std::sync::Arc;

use headpond_wire::encode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connect::Peer;
use super::error::Error;
use super::profile::Profile;
use super::watch::Key;

/// Cancels the query of one session, from anywhere.
#[derive(Clone)]
pub struct Canceller {
    profile: Arc<Profile>,
    peer: Peer,
    key: Key,
}

/// The code of a CancelRequest, where a startup packet has the protocol version.
const CANCEL_REQUEST: u32 = 80_877_102;

impl Canceller {
    pub(super) const fn new(profile: Arc<Profile>, peer: Peer, key: Key) -> Self {
        Self { profile, peer, key }
    }

    /// Sends the request and waits until the server has taken it.
    ///
    /// Whether a query was running, and was still running when the request came, only its own
    /// result tells (57014).
    ///
    /// # Errors
    /// When the server cannot be reached.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the request unsent.
    pub async fn cancel(&self) -> Result<(), Error> {
        let (mut socket, _) = self.peer.open(&self.profile).await?;
        let mut packet = Vec::with_capacity(16);
        encode::prefixed(&mut packet, |out| {
            encode::u32(out, CANCEL_REQUEST);
            encode::u32(out, self.key.process);
            out.extend_from_slice(&self.key.secret);
        });
        let broken = |source| Error::Socket { host: self.peer.to_string(), source };
        socket.write_all(&packet).await.map_err(broken)?;
        socket.flush().await.map_err(broken)?;
        // The server answers by closing, after it has sent the signal.
        let mut room = [0; 16];
        let _ = socket.read(&mut room).await;
        Ok(())
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller").field("peer", &self.peer.to_string()).finish_non_exhaustive()
    }
}
