//! Waits for a child to say that it is ready, with the protocol that it speaks to systemd anyway.
//!
//! Invariant: the child is ready, or it has ended, or the wait goes on; no guess by time.
//! Not here: telling systemd, which the pooler does.

use std::path::{Path, PathBuf};

use tokio::net::UnixDatagram;

/// The receiving end of `NOTIFY_SOCKET`.
pub struct Readiness {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Readiness {
    /// Binds a socket in `folder`.
    ///
    /// # Errors
    /// Those of the operating system.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        let path = folder.join("notify");
        Ok(Self { socket: UnixDatagram::bind(&path)?, path })
    }

    /// The value of `NOTIFY_SOCKET` for the child.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for `READY=1`.
    ///
    /// # Cancel safety
    /// Nothing is lost but messages that do not matter here.
    pub async fn ready(&self) -> std::io::Result<()> {
        let mut message = [0; 4096];
        loop {
            let length = self.socket.recv(&mut message).await?;
            let text = message.get(..length).unwrap_or_default();
            if text.split(|byte| *byte == b'\n').any(|line| line == b"READY=1") {
                return Ok(());
            }
        }
    }
}
