//! Sockets, time and waking: everything a worker asks of the operating system.
//!
//! The choice of engine is a type: `epoll` by default, `uring` where the kernel allows it, and
//! `sim`, a seeded network with its own clock. Style of the trait: ask now, hear later, in `wait`.
//! The engine owns the memory that reads land in, so an idle connection holds none.
//!
//! Invariant: after [`Engine::close`] or a successful [`Engine::detach`] no event of that socket
//! is delivered, whatever the kernel had in flight. Bytes are neither lost nor reordered.
//! Not here: what the bytes mean (`tls`, `wire`) and whose turn it is (`worker`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use headpond_core::Timestamp;

pub mod buffer;
pub mod clock;
#[cfg(test)]
mod conformance;
pub mod epoll;
pub mod pass;
pub mod sim;
mod slots;
pub mod socket;
mod transfer;
pub mod uring;
mod waker;

pub use buffer::Chunk;
pub use socket::SocketOptions;

/// What the worker calls a socket; comes back in every event of it.
pub type Token = u64;

/// A socket registered with one engine.
///
/// The generation makes a stale name harmless: asking anything of a socket that is gone does
/// nothing, and writing to it says [`Flow::Broken`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Socket {
    index: u32,
    generation: u32,
}

impl Socket {
    /// Returns the slot number: dense, reused after close.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Returns the name as one number, for the kernel to carry.
    pub(crate) fn to_bits(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Returns the name that [`Socket::to_bits`] was made of.
    pub(crate) fn from_bits(bits: u64) -> Self {
        Self { index: (bits & 0xffff_ffff) as u32, generation: (bits >> 32) as u32 }
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "socket {}.{}", self.index, self.generation)
    }
}

/// Who is at the other end of a connection, or at ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    /// An address on a network; IPv4 is never shown as mapped IPv6.
    Tcp(SocketAddr),
    /// A process of this machine, as the kernel vouches for it.
    Unix {
        /// The process that connected; 0 if unknown.
        pid: i32,
        /// Its effective user.
        uid: u32,
        /// Its effective group.
        gid: u32,
    },
    /// An endpoint of the simulated network.
    Sim(u64),
}

/// Where to connect to.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Address {
    /// An address whose name was resolved already.
    Tcp(SocketAddr),
    /// A path; a leading `@` stands for the abstract namespace.
    Unix(PathBuf),
}

/// What became of the bytes given to [`Engine::write`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// All taken; the engine needs nothing more from the caller.
    Sent,
    /// All taken, but the peer is slower than we are: the engine keeps the rest and sends
    /// [`Event::Written`] when it is gone. Until then the caller should stop producing.
    Blocked,
    /// The peer is gone and the bytes are lost. What it said before may still be read.
    Broken,
}

/// Something that happened to a socket, or to the engine.
#[derive(Debug)]
pub enum Event<H> {
    /// A listener has a new connection.
    Accepted {
        /// The listener's token.
        token: Token,
        /// The connection; attach it here or in another worker's engine, or drop it.
        handle: H,
        /// Who called.
        peer: Peer,
        /// Which of our addresses was called.
        local: Peer,
    },
    /// A listener had no descriptor or memory left. It accepts nothing until
    /// [`Engine::resume_accept`], so that a full table does not spin.
    AcceptFailed {
        /// The listener's token.
        token: Token,
        /// Why: out of descriptors, buffers or memory.
        error: io::Error,
    },
    /// The outcome of [`Engine::connect`]. After an error the socket still wants a close.
    Connected {
        /// The socket's token.
        token: Token,
        /// The socket.
        socket: Socket,
        /// Connected, or why not.
        result: io::Result<()>,
    },
    /// The read that was armed is done.
    Read {
        /// The socket's token.
        token: Token,
        /// The socket.
        socket: Socket,
        /// What came; empty means the peer will say no more. An engine tells that once.
        data: Chunk,
    },
    /// The connection broke. Told once, and only to an armed read.
    ReadFailed {
        /// The socket's token.
        token: Token,
        /// The socket.
        socket: Socket,
        /// How it broke.
        error: io::Error,
    },
    /// After [`Flow::Blocked`]: everything has left, or never will. An engine that learns of a
    /// failure only after it said [`Flow::Sent`] reports that failure here as well.
    Written {
        /// The socket's token.
        token: Token,
        /// The socket.
        socket: Socket,
        /// All flushed, or why it cannot be.
        result: io::Result<()>,
    },
    /// A [`Waker`] was used since the last turn; many wakes may come as one event.
    Woken,
}

impl<H> Event<H> {
    /// Returns the socket this is about; none for a listener's events and for a wake.
    pub fn socket(&self) -> Option<Socket> {
        match self {
            Event::Connected { socket, .. }
            | Event::Read { socket, .. }
            | Event::ReadFailed { socket, .. }
            | Event::Written { socket, .. } => Some(*socket),
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => None,
        }
    }

    /// Gives an event of this socket, not delivered yet, the socket's new token.
    fn rename(&mut self, about: Socket, new: Token) {
        match self {
            Event::Connected { token, socket, .. }
            | Event::Read { token, socket, .. }
            | Event::ReadFailed { token, socket, .. }
            | Event::Written { token, socket, .. } => {
                if *socket == about {
                    *token = new;
                }
            }
            Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Woken => {}
        }
    }
}

/// Ends another thread's [`Engine::wait`].
pub trait Waker: Send + Sync + 'static {
    /// Makes the engine's current or next wait return with [`Event::Woken`]. What the caller
    /// wrote before is visible to the woken thread.
    fn wake(&self);
}

/// Sockets, time and waking for one worker thread.
pub trait Engine: Sized {
    /// A connection or listener outside any engine, on its way to one; closes when dropped.
    type Handle: Send + 'static;
    /// What other threads wake this engine with.
    type Waker: Waker + Clone;

    /// Returns the time: monotonic, the same for all engines of a process (or of a simulation).
    fn now(&mut self) -> Timestamp;

    /// Returns how long the worker of this engine has been busy.
    fn busy_time(&self) -> Duration {
        clock::thread_cpu_time()
    }

    /// Returns a handle that wakes this engine.
    fn waker(&self) -> Self::Waker;

    /// Accepts connections continuously, each as an [`Event::Accepted`].
    ///
    /// # Errors
    /// The system's, when it cannot watch one more descriptor.
    fn listen(&mut self, listener: Self::Handle, token: Token) -> io::Result<Socket>;

    /// Stops accepting; callers wait in the kernel's queue. Connections accepted before may
    /// still be delivered.
    fn pause_accept(&mut self, listener: Socket);

    /// Accepts again. Does nothing if the listener was not paused.
    fn resume_accept(&mut self, listener: Socket);

    /// Takes a connection into this engine. No read is armed yet.
    ///
    /// # Errors
    /// The system's, when it cannot watch one more descriptor.
    fn attach(&mut self, handle: Self::Handle, token: Token) -> io::Result<Socket>;

    /// Gives a connection or listener up, to move it to another engine. Bytes that wait in the
    /// kernel travel along; an armed read is forgotten.
    ///
    /// None if an event of it waits, a connect is under way or bytes are unsent: then it stays
    /// attached, as it was. The engine cannot see which events of the current turn the worker
    /// has yet to handle: one whose armed read is done ([`Engine::is_armed`] says no) may have
    /// bytes there.
    fn detach(&mut self, socket: Socket) -> Option<Self::Handle>;

    /// Starts to connect; [`Event::Connected`] tells the outcome, a refusal included.
    ///
    /// # Errors
    /// Only for want of local resources, or for an address that cannot be expressed.
    fn connect(
        &mut self,
        to: &Address,
        options: &SocketOptions,
        token: Token,
    ) -> io::Result<Socket>;

    /// Changes what the worker calls this socket, for events not yet delivered too.
    fn set_token(&mut self, socket: Socket, token: Token);

    /// Arms one read: its completion disarms. Arming twice is arming once. Without it, what the
    /// peer sends stays in the kernel, and so the peer is held back.
    fn read(&mut self, socket: Socket);

    /// Whether a read is armed and not yet delivered.
    fn is_armed(&self, socket: Socket) -> bool;

    /// Sends bytes, after all that was written before. Never blocks, never takes a part.
    fn write(&mut self, socket: Socket, bytes: &[u8]) -> Flow;

    /// Sends two pieces as one: a rewritten head and its untouched tail.
    fn write_pair(&mut self, socket: Socket, head: &[u8], tail: &[u8]) -> Flow {
        match self.write(socket, head) {
            Flow::Broken => Flow::Broken,
            first @ (Flow::Sent | Flow::Blocked) => match self.write(socket, tail) {
                Flow::Sent => first,
                rest @ (Flow::Blocked | Flow::Broken) => rest,
            },
        }
    }

    /// Returns how many written bytes the kernel has not taken yet, lost ones included.
    fn unsent(&self, socket: Socket) -> usize;

    /// Returns the address of our own end; `None` where there is none (Unix sockets, `sim`).
    fn local(&self, _socket: Socket) -> Option<SocketAddr> {
        None
    }

    /// Ends our direction once everything written has left.
    fn shutdown_write(&mut self, socket: Socket);

    /// Closes. Bytes still unsent after [`Flow::Blocked`] are dropped; those of [`Flow::Sent`]
    /// are on their way. After it no event of this socket is ever delivered.
    fn close(&mut self, socket: Socket);

    /// Waits for events, until the given time (none: as long as it takes), and appends them.
    /// May return early and with nothing.
    ///
    /// # Errors
    /// The system's; events gathered before remain in `events`.
    fn wait(
        &mut self,
        until: Option<Timestamp>,
        events: &mut Vec<Event<Self::Handle>>,
    ) -> io::Result<()>;
}
