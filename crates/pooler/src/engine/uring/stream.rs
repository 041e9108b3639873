//! One stream of the io_uring engine: what it owes, and what the kernel has of it.
//!
//! Invariant: `flying` does not move or change while a send is with the kernel; bytes leave in
//! the order `flying`, `next`.
//! Not here: the table of streams and the lists of those that want something (`uring.rs`).

use std::io;
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::opcode;
use io_uring::squeue::Entry;
use io_uring::types::Fd;
use socket2::{SockAddr, SockRef};

use super::buffers::{GROUP, Lease, SIZE};
use super::ring::{Done, Kind, Ring};
use super::{Next, Spares};
use crate::engine::buffer::{Arena, Room};
use crate::engine::transfer;
use crate::engine::{Chunk, Event, Flow, Socket, Token};

/// From this size on a write is a system call of its own: cheaper than copying.
const DIRECT: usize = 16 << 10;
/// Ask whether there are bytes before trying to read them.
const POLL_FIRST: u16 = 1;

pub(super) struct Stream {
    pub(super) fd: OwnedFd,
    pub(super) token: Token,
    pub(super) marks: Marks,
    /// Where a connect goes, while the kernel may look at it.
    pub(super) address: Option<Box<SockAddr>>,
    out: Out,
    flying: Vec<u8>,
    /// How much of `flying` has left.
    gone: usize,
    next: Vec<u8>,
}

/// How far what was written is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Out {
    /// Nothing to send.
    Idle,
    /// `next` goes out at the next wait.
    Queued,
    /// `flying` is being submitted.
    Quiet,
    /// The kernel had no room: the rest wants a send that waits.
    Stuck,
    /// That send is with the kernel.
    Flushing,
}

/// The state of a stream: a set, because each is independent of the others.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks(u16);

impl Marks {
    /// The worker wants one read.
    pub(super) const ARMED: Self = Self(1);
    /// The kernel has the read.
    pub(super) const READING: Self = Self(1 << 1);
    /// The read is to be handed to the kernel.
    const LISTED: Self = Self(1 << 2);
    /// Bytes are likely there already.
    const HOT: Self = Self(1 << 3);
    /// The end or an error was delivered.
    const ENDED: Self = Self(1 << 4);
    /// Writing failed.
    const BROKEN: Self = Self(1 << 5);
    /// A write said blocked, and nothing was told since.
    const BLOCKED: Self = Self(1 << 6);
    /// Our direction ends when everything has left.
    const FINISH: Self = Self(1 << 7);
    /// The connect has not been answered.
    pub(super) const CONNECTING: Self = Self(1 << 8);
    /// The read is being taken back, to move the stream.
    pub(super) const LEAVING: Self = Self(1 << 9);
    /// The last read was full: more than a buffer's worth is under way.
    pub(super) const STREAMING: Self = Self(1 << 11);
    /// Closed for the worker, kept for the kernel.
    pub(super) const CLOSED: Self = Self(1 << 10);

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn has(self, mark: Self) -> bool {
        self.0 & mark.0 == mark.0
    }

    fn any(self, marks: Self) -> bool {
        self.0 & marks.0 != 0
    }

    pub(super) fn set(&mut self, mark: Self) {
        self.0 |= mark.0;
    }

    pub(super) fn clear(&mut self, mark: Self) {
        self.0 &= !mark.0;
    }
}

impl Stream {
    pub(super) fn new(fd: OwnedFd, token: Token) -> Self {
        Self {
            fd,
            token,
            // A client speaks first, so with the connection usually come bytes.
            marks: Marks::HOT,
            address: None,
            out: Out::Idle,
            flying: Vec::new(),
            gone: 0,
            next: Vec::new(),
        }
    }

    /// Arms a read. True if it must be listed to go to the kernel.
    #[inline]
    pub(super) fn arm(&mut self) -> bool {
        if self.marks.has(Marks::ENDED) {
            return false;
        }
        self.marks.set(Marks::ARMED);
        self.list_read()
    }

    /// Marks an armed read as listed, if the kernel may have it and has it not.
    pub(super) fn list_read(&mut self) -> bool {
        let elsewhere = Marks::READING.and(Marks::LISTED).and(Marks::CONNECTING);
        let is_wanted = self.marks.has(Marks::ARMED) && !self.marks.any(elsewhere);
        if is_wanted {
            self.marks.set(Marks::LISTED);
        }
        is_wanted
    }

    pub(super) fn queue_read(&mut self, ring: &mut Ring, socket: Socket) {
        self.marks.clear(Marks::LISTED);
        if !self.marks.has(Marks::ARMED) || self.marks.has(Marks::READING) {
            return;
        }
        let hint = if self.marks.has(Marks::HOT) { 0 } else { POLL_FIRST };
        let entry = opcode::Recv::new(Fd(self.fd.as_raw_fd()), std::ptr::null_mut(), SIZE)
            .buf_group(GROUP)
            .ioprio(hint)
            .build()
            .flags(io_uring::squeue::Flags::BUFFER_SELECT);
        self.marks.set(Marks::READING);
        // SAFETY: the buffer comes from the registered group, which outlives the ring.
        unsafe { ring.push(entry, Kind::Receive, socket) };
    }

    /// Takes the answer to a read.
    pub(super) fn received(
        &mut self,
        done: &Done,
        lease: Option<Lease>,
        socket: Socket,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> Next {
        self.marks.clear(Marks::READING);
        match (done.outcome(), lease) {
            (Ok(len), Some(lease)) if len > 0 => {
                if len == SIZE {
                    self.marks.set(Marks::STREAMING);
                }
                self.deliver(Chunk::from(lease), done.is_nonempty(), socket, events);
                Next::Nothing
            }
            (Ok(_), _) => {
                self.end(Ok(()), socket, events);
                Next::Nothing
            }
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => {
                    self.marks.set(Marks::LISTED);
                    Next::ReadWhenFed
                }
                Some(libc::ECANCELED) if self.marks.has(Marks::LEAVING) => Next::Nothing,
                Some(libc::ECANCELED | libc::EINTR) => self.next_read(),
                Some(libc::EAGAIN) if self.wait_for_room().is_ok() => self.next_read(),
                _ => {
                    self.end(Err(error), socket, events);
                    Next::Nothing
                }
            },
        }
    }

    /// Reads at once, past the ring, because so much is there that it needs larger steps than
    /// its buffers. False if nothing is there after all.
    pub(super) fn read_directly(
        &mut self,
        arena: &mut Arena,
        room: &Room,
        socket: Socket,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> bool {
        self.marks.clear(Marks::LISTED);
        if !self.marks.has(Marks::ARMED) {
            return true;
        }
        match transfer::receive(self.fd.as_raw_fd(), room) {
            Ok(0) => self.end(Ok(()), socket, events),
            Ok(len) => {
                // SAFETY: `room` is the latest and the kernel filled `len` bytes of it.
                let data = unsafe { arena.take(room, len) };
                let is_full = len == room.len;
                if !is_full {
                    self.marks.clear(Marks::STREAMING);
                }
                self.deliver(data, is_full, socket, events);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.marks.clear(Marks::STREAMING.and(Marks::HOT));
                return false;
            }
            Err(error) => self.end(Err(error), socket, events),
        }
        true
    }

    fn deliver(
        &mut self,
        data: Chunk,
        has_more: bool,
        socket: Socket,
        events: &mut Vec<Event<OwnedFd>>,
    ) {
        self.marks.clear(Marks::ARMED.and(Marks::HOT));
        if has_more {
            self.marks.set(Marks::HOT);
        }
        events.push(Event::Read { token: self.token, socket, data });
    }

    fn end(&mut self, how: io::Result<()>, socket: Socket, events: &mut Vec<Event<OwnedFd>>) {
        self.marks.clear(Marks::ARMED);
        self.marks.set(Marks::ENDED);
        let token = self.token;
        events.push(match how {
            Ok(()) => Event::Read { token, socket, data: Chunk::empty() },
            Err(error) => Event::ReadFailed { token, socket, error },
        });
    }

    fn next_read(&mut self) -> Next {
        if self.list_read() { Next::Read } else { Next::Nothing }
    }

    /// Takes bytes to send. True beside it if the stream must be listed for sending.
    pub(super) fn write(&mut self, bytes: &[u8], spares: &mut Spares) -> (Flow, bool) {
        if self.marks.has(Marks::BROKEN) {
            return (Flow::Broken, false);
        }
        let is_free = matches!(self.out, Out::Idle | Out::Queued);
        if !is_free || self.marks.has(Marks::CONNECTING) {
            self.next.extend_from_slice(bytes);
            self.out = if is_free { Out::Stuck } else { self.out };
            self.marks.set(Marks::BLOCKED);
            return (Flow::Blocked, false);
        }
        if self.next.len() + bytes.len() >= DIRECT {
            return self.write_directly(bytes, spares);
        }
        if self.next.capacity() == 0 {
            self.next = spares.take();
        }
        self.next.extend_from_slice(bytes);
        let is_new = self.out == Out::Idle && !bytes.is_empty();
        if is_new {
            self.out = Out::Queued;
        }
        (Flow::Sent, is_new)
    }

    fn write_directly(&mut self, bytes: &[u8], spares: &mut Spares) -> (Flow, bool) {
        let waiting = self.next.len();
        let sent = match self.send_parts(bytes) {
            Ok(sent) => sent,
            Err(_) => {
                self.next.extend_from_slice(bytes);
                self.marks.set(Marks::BROKEN);
                return (Flow::Broken, false);
            }
        };
        if sent == waiting + bytes.len() {
            spares.give(std::mem::take(&mut self.next));
            self.out = Out::Idle;
            return (Flow::Sent, false);
        }
        self.next.drain(..sent.min(waiting));
        self.next.extend_from_slice(bytes.get(sent.saturating_sub(waiting)..).unwrap_or_default());
        self.out = Out::Stuck;
        self.marks.set(Marks::BLOCKED);
        (Flow::Blocked, true)
    }

    /// Sends `next` and then `bytes`, as far as there is room.
    fn send_parts(&self, bytes: &[u8]) -> io::Result<usize> {
        let fd = self.fd.as_raw_fd();
        let (head, tail) =
            if self.next.is_empty() { (bytes, &[][..]) } else { (&*self.next, bytes) };
        match transfer::send(fd, head, tail) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }

    /// Sends what is queued at once, because the stream is about to leave. False if something
    /// remains to be sent.
    pub(super) fn send_now(&mut self) -> bool {
        if self.out == Out::Queued {
            match self.send_parts(&[]) {
                Ok(sent) if sent == self.next.len() => {
                    self.next.clear();
                    self.out = Out::Idle;
                }
                Ok(sent) => {
                    self.next.drain(..sent);
                }
                Err(_) => {
                    self.marks.set(Marks::BROKEN);
                    self.out = Out::Idle;
                }
            }
        }
        self.out == Out::Idle && self.unsent() == 0
    }

    /// Hands what is to be sent to the ring. True if it is a quiet send.
    pub(super) fn queue_send(&mut self, ring: &mut Ring, socket: Socket) -> bool {
        if self.out == Out::Queued {
            self.flying = std::mem::take(&mut self.next);
            self.gone = 0;
            self.out = Out::Quiet;
            let entry = self.send_entry(libc::MSG_DONTWAIT);
            // SAFETY: `flying` stays as it is until the answers of this wait were handled.
            unsafe { ring.push(entry, Kind::Send, socket) };
            return true;
        }
        if self.out == Out::Stuck && !self.marks.has(Marks::CONNECTING) {
            if self.gone == self.flying.len() {
                self.flying = std::mem::take(&mut self.next);
                self.gone = 0;
            }
            self.out = Out::Flushing;
            let entry = self.send_entry(0);
            // SAFETY: `flying` stays as it is while `out` is flushing, in a closed slot too.
            unsafe { ring.push(entry, Kind::Flush, socket) };
        }
        false
    }

    fn send_entry(&self, flags: libc::c_int) -> Entry {
        let rest = self.flying.get(self.gone..).unwrap_or_default();
        let len = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        opcode::Send::new(Fd(self.fd.as_raw_fd()), rest.as_ptr(), len)
            .flags(flags | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
    }

    /// Counts a quiet send that was not answered as sent. True if more was written meanwhile.
    pub(super) fn sent_quietly(&mut self, spares: &mut Spares) -> bool {
        if self.out != Out::Quiet {
            return false;
        }
        spares.give(std::mem::take(&mut self.flying));
        self.gone = 0;
        if self.next.is_empty() {
            self.out = Out::Idle;
            self.finish_if_asked();
            return false;
        }
        self.out = Out::Stuck;
        true
    }

    /// Takes the answer to a send: of a quiet one, that something was left over.
    pub(super) fn flushed(
        &mut self,
        done: &Done,
        socket: Socket,
        spares: &mut Spares,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> Next {
        self.out = Out::Stuck;
        match done.outcome() {
            Ok(sent) => self.gone += sent as usize,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN) if done.kind == Kind::Send => {}
                Some(libc::EAGAIN) if self.wait_for_room().is_ok() => {}
                _ => {
                    self.out = Out::Idle;
                    self.marks.clear(Marks::BLOCKED);
                    self.marks.set(Marks::BROKEN);
                    let token = self.token;
                    events.push(Event::Written { token, socket, result: Err(error) });
                    return Next::Nothing;
                }
            },
        }
        assert!(self.gone <= self.flying.len(), "the kernel sends what it was given");
        if self.unsent() > 0 {
            return Next::Send;
        }
        spares.give(std::mem::take(&mut self.flying));
        self.gone = 0;
        self.out = Out::Idle;
        self.finish_if_asked();
        if self.marks.has(Marks::BLOCKED) {
            self.marks.clear(Marks::BLOCKED);
            events.push(Event::Written { token: self.token, socket, result: Ok(()) });
        }
        Next::Nothing
    }

    /// Takes the answer to a connect.
    pub(super) fn connected(
        &mut self,
        done: &Done,
        socket: Socket,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> Next {
        self.marks.clear(Marks::CONNECTING.and(Marks::HOT));
        self.address = None;
        let result = done.outcome().map(|_| ());
        let is_up = result.is_ok();
        events.push(Event::Connected { token: self.token, socket, result });
        if !is_up {
            self.marks.clear(Marks::ARMED.and(Marks::BLOCKED));
            self.marks.set(Marks::BROKEN.and(Marks::ENDED));
            return Next::Nothing;
        }
        if self.out == Out::Idle {
            self.finish_if_asked();
        }
        match (self.out == Out::Stuck, self.list_read()) {
            (true, true) => Next::SendAndRead,
            (true, false) => Next::Send,
            (false, true) => Next::Read,
            (false, false) => Next::Nothing,
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.flying.len() - self.gone + self.next.len()
    }

    /// Ends our direction, now or when everything has left.
    pub(super) fn finish(&mut self) {
        self.marks.set(Marks::FINISH);
        if self.out == Out::Idle && !self.marks.has(Marks::CONNECTING) {
            self.finish_if_asked();
        }
    }

    fn finish_if_asked(&mut self) {
        if self.marks.has(Marks::FINISH) {
            self.marks.clear(Marks::FINISH);
            if SockRef::from(&self.fd).shutdown(Shutdown::Write).is_err() {
                // Not connected any more: the read side tells how.
                self.marks.set(Marks::BROKEN);
            }
        }
    }

    /// Closes for the worker: what was queued leaves, what the kernel has is called back.
    /// True if the kernel still has something.
    pub(super) fn abandon(&mut self, ring: &mut Ring, socket: Socket) -> bool {
        self.send_now();
        self.marks.set(Marks::CLOSED);
        if self.marks.has(Marks::READING) {
            ring.cancel(Kind::Receive, socket);
        }
        if self.marks.has(Marks::CONNECTING) {
            ring.cancel(Kind::Connect, socket);
        }
        if self.out == Out::Flushing {
            ring.cancel(Kind::Flush, socket);
        }
        self.is_held()
    }

    /// Notes that the kernel answered a request of a closed stream. True if that was the last.
    pub(super) fn gave_up(&mut self, kind: Kind) -> bool {
        match kind {
            Kind::Receive => self.marks.clear(Marks::READING),
            Kind::Connect => self.marks.clear(Marks::CONNECTING),
            Kind::Flush | Kind::Send => self.out = Out::Idle,
            Kind::Accept | Kind::Cancel | Kind::Wake => {}
        }
        !self.is_held()
    }

    /// Whether the kernel may still touch memory of this stream, or its descriptor.
    pub(super) fn is_held(&self) -> bool {
        self.marks.any(Marks::READING.and(Marks::CONNECTING))
            || matches!(self.out, Out::Quiet | Out::Flushing)
    }

    /// Makes the kernel wait instead of us: sockets from elsewhere may come as non-blocking,
    /// and the kernel takes that as "do not wait for me either".
    fn wait_for_room(&self) -> io::Result<()> {
        SockRef::from(&self.fd).set_nonblocking(false)
    }
}
