//! One listener of the epoll engine.
//!
//! Invariant: no more than `ACCEPT_MAX` connections per turn, so that they do not starve the
//! ones that are open.
//! Not here: registering and pausing (`epoll.rs`).

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use socket2::SockAddr;

use crate::engine::socket::{self, Local};
use crate::engine::transfer::is_callers;
use crate::engine::{Event, Peer, Token};

/// The most connections one listener may bring in a turn.
const ACCEPT_MAX: u32 = 16;

pub(super) struct Listener {
    pub(super) fd: OwnedFd,
    pub(super) token: Token,
    pub(super) local: Local,
    pub(super) paused: bool,
    /// How many to accept at a time: grows while the queue is found full turn after turn,
    /// because an accept in vain is dear (the kernel makes the file first).
    batch: u32,
    /// The turn that last accepted a full batch.
    full_turn: u64,
}

impl Listener {
    pub(super) fn new(fd: OwnedFd, token: Token) -> io::Result<Self> {
        let local = Local::of(&fd)?;
        Ok(Self { fd, token, local, paused: false, batch: 1, full_turn: 0 })
    }

    /// Accepts a batch; an error is ours, not a caller's.
    pub(super) fn accept(&mut self, turn: u64, events: &mut Vec<Event<OwnedFd>>) -> io::Result<()> {
        for _ in 0..self.batch {
            match accept(&self.fd, self.local) {
                Ok((handle, peer, local)) => {
                    let token = self.token;
                    events.push(Event::Accepted { token, handle, peer, local });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.batch = 1;
                    return Ok(());
                }
                // The caller hung up while it waited in line, or its network did.
                Err(error) if is_callers(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let consecutive = self.full_turn + 1 == turn;
        self.batch = if consecutive { (self.batch * 2).min(ACCEPT_MAX) } else { 1 };
        self.full_turn = turn;
        Ok(())
    }
}

fn accept(listener: &OwnedFd, local: Local) -> io::Result<(OwnedFd, Peer, Peer)> {
    let fd = listener.as_raw_fd();
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `try_init` passes valid storage and its length; the call fills both.
    let accepted = unsafe {
        SockAddr::try_init(|storage, len| match libc::accept4(fd, storage.cast(), len, flags) {
            -1 => Err(io::Error::last_os_error()),
            // SAFETY: a fresh descriptor that nobody else knows.
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        })
    };
    let (handle, from) = accepted?;
    let (peer, local) = socket::peers(&handle, &from, local)?;
    Ok((handle, peer, local))
}
