//! A socket a second time: to look at it, and to hang up, whatever its driver is doing.
//!
//! The end of a connection reaches the process long before the task that reads from it has run.
//! Whoever is about to lend the connection looks at the socket itself.
//!
//! Invariant: nothing is read or written here, so the driver misses nothing.
//! Left out: what unread bytes mean; each adapter knows its protocol.

use std::io::{self, ErrorKind};
#[cfg(feature = "redis")]
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::tick;

/// The same socket as its driver's. It costs a descriptor.
#[derive(Debug)]
pub(crate) struct Line {
    /// Of whatever family: looking and hanging up are the same for all.
    socket: TcpStream,
    /// The tick in which it was looked at last.
    looked: AtomicU64,
}

/// What lies on a line that nobody has read yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unread {
    /// Nothing: that is how it is while the server says nothing.
    Nothing,
    /// Something that begins with this byte. The end may be behind it.
    From(u8),
    /// The end, or an error.
    End,
}

impl Line {
    /// Returns a second handle of a socket, which must not block.
    #[cfg(unix)]
    pub(crate) fn of(socket: &impl std::os::fd::AsFd) -> io::Result<Self> {
        Ok(Self::new(socket.as_fd().try_clone_to_owned()?.into()))
    }

    /// Returns a second handle of a socket, which must not block.
    #[cfg(windows)]
    pub(crate) fn of(socket: &impl std::os::windows::io::AsSocket) -> io::Result<Self> {
        Ok(Self::new(socket.as_socket().try_clone_to_owned()?.into()))
    }

    const fn new(socket: TcpStream) -> Self {
        Self { socket, looked: AtomicU64::new(0) }
    }

    /// The same as [`Line::unread`] for whoever lends the connection, which may be a hundred
    /// thousand times in a second: looks once in each tick of the kernel (1 to 10 ms), because a
    /// system call costs more than everything else about a loan.
    pub(crate) fn unread_lately(&self) -> Unread {
        match tick() {
            Some(tick) if self.looked.swap(tick, Relaxed) == tick => Unread::Nothing,
            _ => self.unread(),
        }
    }

    /// Looks at what has arrived. One system call, which never waits.
    fn unread(&self) -> Unread {
        let mut first = [0];
        loop {
            return match self.socket.peek(&mut first) {
                Ok(0) => Unread::End,
                Ok(_) => Unread::From(first[0]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => Unread::Nothing,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => Unread::End,
            };
        }
    }

    /// Tells the other side that nothing more will come.
    #[cfg(feature = "redis")]
    pub(crate) fn hang_up(&self) {
        // It may be closed already.
        let _ = self.socket.shutdown(Shutdown::Write);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    use super::{Line, Unread};

    #[test]
    fn what_arrived_is_seen_and_left_where_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        near.set_nonblocking(true).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let line = Line::of(&near).unwrap();
        assert_eq!(line.unread(), Unread::Nothing);
        far.write_all(b"Ex").unwrap();
        for _ in 0..2 {
            assert_eq!(line.unread(), Unread::From(b'E'));
        }
        let mut read = [0; 2];
        std::io::Read::read_exact(&mut &near, &mut read).unwrap();
        assert_eq!((&read, line.unread()), (b"Ex", Unread::Nothing));
        drop(far);
        assert_eq!(line.unread(), Unread::End);
    }
}
