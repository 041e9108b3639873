//! One stream of the epoll engine: when it may be read, and what it could not send yet.
//!
//! Invariant: `backlog` exists while, and only while, written bytes have not left.
//! Not here: the table of streams and the line of those that are ready (`epoll.rs`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use socket2::SockRef;

use super::backlog::Backlog;
use super::poll::{self, Interest, Poll};
use crate::engine::buffer::{Arena, Room};
use crate::engine::transfer::{receive, send};
use crate::engine::{Chunk, Event, Flow, Socket, Token, socket};

pub(super) struct Stream {
    pub(super) fd: OwnedFd,
    pub(super) token: Token,
    pub(super) marks: Marks,
    /// Written bytes that the kernel did not take; exists only while there are any.
    pub(super) backlog: Option<Box<Backlog>>,
}

/// The state of a stream: a set, because each is independent of the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks(u16);

impl Marks {
    pub(super) const NONE: Self = Self(0);
    /// The kernel may have bytes, an end or an error for us.
    pub(super) const READABLE: Self = Self(1);
    /// The worker wants one read.
    pub(super) const ARMED: Self = Self(1 << 1);
    /// Stands in `ready`.
    pub(super) const QUEUED: Self = Self(1 << 2);
    /// The end or an error was announced: a short read proves nothing any more.
    pub(super) const HANGUP: Self = Self(1 << 3);
    /// The end or an error was delivered: there is nothing more to read.
    pub(super) const ENDED: Self = Self(1 << 4);
    /// Writing failed.
    pub(super) const BROKEN: Self = Self(1 << 5);
    /// Registered for `EPOLLOUT`.
    pub(super) const WATCHED: Self = Self(1 << 6);
    /// The connect has not been answered.
    pub(super) const CONNECTING: Self = Self(1 << 7);
    /// Our direction ends when the backlog is gone.
    pub(super) const FINISH: Self = Self(1 << 8);

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 == mark.0
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }
}

impl Stream {
    #[inline]
    pub(super) fn enqueue(&mut self, ready: &mut VecDeque<Socket>, socket: Socket) {
        let wanted = Marks::READABLE.and(Marks::ARMED);
        if self.marks.has(wanted) && !self.marks.has(Marks::QUEUED) {
            self.marks.set(Marks::QUEUED);
            ready.push_back(socket);
        }
    }

    /// Receives once. None if there was nothing after all: then the read stays armed.
    pub(super) fn read(
        &mut self,
        arena: &mut Arena,
        room: &Room,
        socket: Socket,
    ) -> Option<Event<OwnedFd>> {
        self.marks.clear(Marks::QUEUED);
        let received = receive(self.fd.as_raw_fd(), room);
        let token = self.token;
        match received {
            Ok(0) => {
                self.marks.clear(Marks::ARMED.and(Marks::READABLE));
                self.marks.set(Marks::ENDED);
                Some(Event::Read { token, socket, data: Chunk::empty() })
            }
            Ok(len) => {
                // Edge-triggered: after a short read the next byte makes an edge. The end of
                // the stream may have made its edge already, so then only a zero is proof.
                if len < room.len && !self.marks.has(Marks::HANGUP) {
                    self.marks.clear(Marks::READABLE);
                }
                self.marks.clear(Marks::ARMED);
                // SAFETY: `room` is the latest and the kernel filled `len` bytes of it.
                let data = unsafe { arena.take(room, len) };
                Some(Event::Read { token, socket, data })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.marks.clear(Marks::READABLE);
                None
            }
            Err(error) => {
                self.marks.clear(Marks::ARMED.and(Marks::READABLE));
                self.marks.set(Marks::ENDED);
                Some(Event::ReadFailed { token, socket, error })
            }
        }
    }

    pub(super) fn write(&mut self, poll: &Poll, socket: Socket, head: &[u8], tail: &[u8]) -> Flow {
        if self.marks.has(Marks::BROKEN) {
            return Flow::Broken;
        }
        if let Some(backlog) = &mut self.backlog {
            backlog.push(head);
            backlog.push(tail);
            return Flow::Blocked;
        }
        let mut sent = 0;
        if !self.marks.has(Marks::CONNECTING) {
            match send(self.fd.as_raw_fd(), head, tail) {
                Ok(len) if len == head.len() + tail.len() => return Flow::Sent,
                Ok(len) => sent = len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.marks.set(Marks::BROKEN);
                    return Flow::Broken;
                }
            }
        }
        let mut backlog = Box::new(Backlog::new());
        backlog.push(head.get(sent..).unwrap_or_default());
        backlog.push(tail.get(sent.saturating_sub(head.len())..).unwrap_or_default());
        self.backlog = Some(backlog);
        if !self.marks.has(Marks::WATCHED) && !self.marks.has(Marks::CONNECTING) {
            if poll.change(self.fd.as_fd(), Interest::ReadWrite, socket.to_bits()).is_err() {
                self.marks.set(Marks::BROKEN);
                return Flow::Broken;
            }
            self.marks.set(Marks::WATCHED);
        }
        Flow::Blocked
    }

    /// Sends what was left over, now that there is room, and reports when it is gone.
    pub(super) fn flush(&mut self, poll: &Poll, socket: Socket, events: &mut Vec<Event<OwnedFd>>) {
        let Some(backlog) = &mut self.backlog else { return };
        if self.marks.has(Marks::BROKEN) || self.marks.has(Marks::CONNECTING) {
            return;
        }
        let token = self.token;
        match send(self.fd.as_raw_fd(), backlog.bytes(), &[]) {
            Ok(len) if len == backlog.len() => {
                self.backlog = None;
                self.stop_watching(poll, socket);
                if self.marks.has(Marks::FINISH) {
                    self.finish();
                }
                events.push(Event::Written { token, socket, result: Ok(()) });
            }
            Ok(len) => backlog.advance(len),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                self.marks.set(Marks::BROKEN);
                events.push(Event::Written { token, socket, result: Err(error) });
            }
        }
    }

    /// A TCP socket stays registered for `EPOLLOUT` once it blocked: it makes no edge unless it
    /// blocks again. A Unix socket makes one whenever the peer reads.
    pub(super) fn stop_watching(&mut self, poll: &Poll, socket: Socket) {
        if self.marks.has(Marks::WATCHED)
            && !socket::is_tcp(&self.fd)
            && poll.change(self.fd.as_fd(), Interest::Read, socket.to_bits()).is_ok()
        {
            self.marks.clear(Marks::WATCHED);
        }
    }

    pub(super) fn finish_connect(
        &mut self,
        poll: &Poll,
        socket: Socket,
        what: u32,
        events: &mut Vec<Event<OwnedFd>>,
    ) {
        if what & (poll::WRITABLE | poll::HANGUP) == 0 {
            return;
        }
        self.marks.clear(Marks::CONNECTING);
        let result = socket::take_error(&self.fd);
        if result.is_err() {
            self.marks.set(Marks::BROKEN.and(Marks::ENDED));
        } else {
            self.marks.set(Marks::WATCHED);
            if self.backlog.is_none()
                && poll.change(self.fd.as_fd(), Interest::Read, socket.to_bits()).is_ok()
            {
                self.marks.clear(Marks::WATCHED);
            }
        }
        events.push(Event::Connected { token: self.token, socket, result });
    }

    pub(super) fn finish(&mut self) {
        self.marks.clear(Marks::FINISH);
        if SockRef::from(&self.fd).shutdown(std::net::Shutdown::Write).is_err() {
            // Not connected any more: the read side tells how.
            self.marks.set(Marks::BROKEN);
        }
    }
}
