//! The engine over io_uring: the requests of a turn go out, and the answers come back, in one
//! system call.
//!
//! Sends are carried out during submission and answered only when something was left over, so
//! the wait is for news and not for them. Reads take a buffer when bytes are there.
//!
//! Invariant: a stream has at most one read and one send with the kernel; memory they name
//! stays in its slot until they are answered, closed or not.
//! Not here: kernels that forbid io_uring; `Uring::new` says so, and `epoll.rs` serves them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use headpond_core::Timestamp;
use io_uring::opcode;
use io_uring::types::Fd;
use socket2::SockRef;

pub(super) mod buffers;
mod ring;
mod stream;
#[cfg(test)]
mod tests;

use super::buffer::Arena;
use super::slots::Slots;
use super::socket::{self, Local};
use super::transfer::is_callers;
use super::waker::EventWaker;
use super::{Address, Engine, Event, Flow, Socket, SocketOptions, Token};
use buffers::Buffers;
use ring::{Done, Kind, Ring};
use stream::{Marks, Stream};

/// Memory for one turn of streams that outgrow the ring's buffers.
const ARENA: usize = 256 << 10;
/// The most one such stream may read in a turn, so that others get theirs.
const READ_MAX: usize = 64 << 10;
/// With less room than this left, a read waits for the next turn rather than be cut up.
const READ_MIN: usize = 4 << 10;

/// An engine over io_uring.
pub struct Uring {
    ring: Ring,
    buffers: Rc<Buffers>,
    /// Where streams that outgrow the ring's buffers are read.
    arena: Arena,
    waker: EventWaker,
    slots: Slots<Entry>,
    /// Streams with something to send or to flush at the next wait.
    sending: Vec<Socket>,
    /// Streams whose armed read goes to the kernel at the next wait.
    reading: Vec<Socket>,
    /// Armed reads that found no buffer, until there are some.
    starved: Vec<Socket>,
    /// Streams whose quiet send is being submitted: those not answered were sent in full.
    quiet: Vec<Socket>,
    queued: Vec<Event<OwnedFd>>,
    done: Vec<Done>,
    spares: Spares,
}

enum Entry {
    Stream(Stream),
    Listener(Listener),
}

impl Slots<Entry> {
    /// Returns a stream that is open to the worker.
    #[inline]
    fn stream(&self, socket: Socket) -> Option<&Stream> {
        match self.get(socket) {
            Some(Entry::Stream(stream)) if !stream.marks.has(Marks::CLOSED) => Some(stream),
            Some(Entry::Stream(_) | Entry::Listener(_)) | None => None,
        }
    }

    #[inline]
    fn stream_mut(&mut self, socket: Socket) -> Option<&mut Stream> {
        match self.get_mut(socket) {
            Some(Entry::Stream(stream)) if !stream.marks.has(Marks::CLOSED) => Some(stream),
            Some(Entry::Stream(_) | Entry::Listener(_)) | None => None,
        }
    }

    /// Returns a listener that is open to the worker.
    fn listener_mut(&mut self, socket: Socket) -> Option<&mut Listener> {
        match self.get_mut(socket) {
            Some(Entry::Listener(entry)) if entry.state != Accepting::Closed => Some(entry),
            Some(Entry::Stream(_) | Entry::Listener(_)) | None => None,
        }
    }
}

struct Listener {
    fd: OwnedFd,
    token: Token,
    local: Local,
    state: Accepting,
    /// The kernel has the request to accept.
    is_asked: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Accepting {
    On,
    Paused,
    /// Closed for the worker, kept for the kernel.
    Closed,
}

impl Listener {
    /// Hands the request to accept to the kernel, if it is wanted there and not there.
    fn ask(&mut self, ring: &mut Ring, socket: Socket) {
        if self.state == Accepting::On && !self.is_asked {
            let fd = Fd(self.fd.as_raw_fd());
            let entry = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
            self.is_asked = true;
            // SAFETY: the request names no memory; the slot keeps the descriptor.
            unsafe { ring.push(entry, Kind::Accept, socket) };
        }
    }
}

/// Send buffers to use again.
struct Spares(Vec<Vec<u8>>);

impl Spares {
    const COUNT: usize = 64;
    const SIZE_MAX: usize = 64 << 10;

    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < Self::COUNT && (1..=Self::SIZE_MAX).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

impl Uring {
    /// Opens an engine for the calling thread.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unsupported` where a sandbox or an old kernel has no io_uring, or
    /// none good enough; the system's when it is out of something.
    pub fn new() -> io::Result<Self> {
        let mut ring = Ring::new()?;
        let buffers = Buffers::register(&ring.submitter())?;
        let waker = EventWaker::new()?;
        ring.watch(waker.descriptor());
        Ok(Self {
            ring,
            buffers,
            arena: Arena::new(ARENA),
            waker,
            slots: Slots::new(),
            sending: Vec::new(),
            reading: Vec::new(),
            starved: Vec::new(),
            quiet: Vec::new(),
            queued: Vec::new(),
            done: Vec::new(),
            spares: Spares(Vec::new()),
        })
    }

    /// Hands the requests of this turn to the ring: sends first, for they make the answers
    /// that the reads wait for.
    fn queue_requests(&mut self) {
        for n in 0..self.sending.len() {
            let socket = self.sending[n];
            if let Some(stream) = self.slots.stream_mut(socket)
                && stream.queue_send(&mut self.ring, socket)
            {
                self.quiet.push(socket);
            }
        }
        self.sending.clear();
        let fed = self.starved.len().min(self.buffers.available());
        self.reading.extend(self.starved.drain(..fed));
        self.arena.recycle(READ_MAX);
        let mut waiting = 0;
        for n in 0..self.reading.len() {
            let socket = self.reading[n];
            let Some(stream) = self.slots.stream_mut(socket) else { continue };
            if stream.marks.has(Marks::STREAMING) {
                let Some(room) = self.arena.room(READ_MAX, READ_MIN) else {
                    // Others had their share; this one is first in the next wait.
                    self.reading[waiting] = socket;
                    waiting += 1;
                    continue;
                };
                let events = &mut self.queued;
                if stream.read_directly(&mut self.arena, &room, socket, events) {
                    continue;
                }
            }
            stream.queue_read(&mut self.ring, socket);
        }
        self.reading.truncate(waiting);
    }

    /// Turns answers into events, then counts the unanswered quiet sends as sent.
    fn handle_answers(&mut self, events: &mut Vec<Event<OwnedFd>>) {
        let mut done = std::mem::take(&mut self.done);
        for answer in done.drain(..) {
            self.answer(&answer, events);
        }
        self.done = done;
        for n in 0..self.quiet.len() {
            let socket = self.quiet[n];
            let Some(Entry::Stream(stream)) = self.slots.get_mut(socket) else { continue };
            let has_more = stream.sent_quietly(&mut self.spares);
            if !stream.marks.has(Marks::CLOSED) {
                if has_more {
                    self.sending.push(socket);
                }
            } else if !stream.is_held() {
                self.slots.remove(socket);
            }
        }
        self.quiet.clear();
    }

    fn answer(&mut self, done: &Done, events: &mut Vec<Event<OwnedFd>>) {
        match done.kind {
            Kind::Wake if !done.is_more() => self.ring.watch(self.waker.descriptor()),
            // Its state says more than its descriptor; and a cancellation that found nothing
            // came too late, so the answer it was after is here.
            Kind::Wake | Kind::Cancel => {}
            Kind::Accept => self.accepted(done, events),
            Kind::Receive | Kind::Send | Kind::Flush | Kind::Connect => {
                self.stream_answer(done, events);
            }
        }
    }

    fn stream_answer(&mut self, done: &Done, events: &mut Vec<Event<OwnedFd>>) {
        let socket = done.socket;
        let lease = done.buffer().map(|id| self.buffers.take(id, done.outcome().unwrap_or(0)));
        let Some(Entry::Stream(stream)) = self.slots.get_mut(socket) else { return };
        if stream.marks.has(Marks::CLOSED) {
            if stream.gave_up(done.kind) {
                self.slots.remove(socket);
            }
            return;
        }
        let next = match done.kind {
            Kind::Receive => stream.received(done, lease, socket, events),
            Kind::Connect => stream.connected(done, socket, events),
            _ => stream.flushed(done, socket, &mut self.spares, events),
        };
        match next {
            Next::Nothing => {}
            Next::Send => self.sending.push(socket),
            Next::Read => self.reading.push(socket),
            Next::ReadWhenFed => self.starved.push(socket),
            Next::SendAndRead => {
                self.sending.push(socket);
                self.reading.push(socket);
            }
        }
    }

    fn accepted(&mut self, done: &Done, events: &mut Vec<Event<OwnedFd>>) {
        let outcome = done.outcome().map(own);
        let Some(Entry::Listener(listener)) = self.slots.get_mut(done.socket) else { return };
        if !done.is_more() {
            listener.is_asked = false;
        }
        let token = listener.token;
        match outcome {
            _ if listener.state == Accepting::Closed => {
                if !listener.is_asked {
                    self.slots.remove(done.socket);
                }
                return;
            }
            Ok(handle) => events.extend(introduce(handle, listener.local, token)),
            Err(error) if is_callers(&error) => {}
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => {}
            Err(error) => {
                listener.state = Accepting::Paused;
                events.push(Event::AcceptFailed { token, error });
            }
        }
        listener.ask(&mut self.ring, done.socket);
    }

    /// Takes a request back from the kernel and handles what it answers. False if the kernel
    /// has not let go.
    fn recall(&mut self, kind: Kind, socket: Socket) -> bool {
        const TRIES: usize = 4;
        self.ring.cancel(kind, socket);
        for _ in 0..TRIES {
            if self.ring.look(&mut self.done).is_err() {
                return false;
            }
            let mut events = std::mem::take(&mut self.queued);
            self.handle_answers(&mut events);
            self.queued = events;
            let is_held = match self.slots.get(socket) {
                Some(Entry::Stream(stream)) => stream.marks.has(Marks::READING),
                Some(Entry::Listener(listener)) => listener.is_asked,
                None => return false,
            };
            if !is_held {
                return true;
            }
        }
        false
    }

    fn detach_listener(&mut self, socket: Socket) -> Option<OwnedFd> {
        let listener = self.slots.listener_mut(socket)?;
        let before = std::mem::replace(&mut listener.state, Accepting::Paused);
        if listener.is_asked && !self.recall(Kind::Accept, socket) {
            // The answer to the recall comes all the same, and asks again.
            self.slots.listener_mut(socket)?.state = before;
            return None;
        }
        match self.slots.remove(socket) {
            Some(Entry::Listener(listener)) => Some(listener.fd),
            Some(Entry::Stream(_)) | None => None,
        }
    }

    /// Takes the read back that the kernel has of a stream. False if it was completed, or may
    /// yet be.
    fn recall_read(&mut self, socket: Socket) -> bool {
        let Some(stream) = self.slots.stream_mut(socket) else { return false };
        if !stream.marks.has(Marks::READING) {
            return true;
        }
        stream.marks.set(Marks::LEAVING);
        let is_back = self.recall(Kind::Receive, socket);
        let Some(stream) = self.slots.stream_mut(socket) else { return false };
        stream.marks.clear(Marks::LEAVING);
        // An answered read is not armed any more, or its end was told.
        is_back && stream.marks.has(Marks::ARMED)
    }

    fn purge_queued(&mut self, socket: Socket) {
        if !self.queued.is_empty() {
            self.queued.retain(|event| event.socket() != Some(socket));
        }
    }
}

/// What a stream needs after an answer.
enum Next {
    Nothing,
    Send,
    Read,
    /// A read, when there are buffers again.
    ReadWhenFed,
    SendAndRead,
}

impl Engine for Uring {
    type Handle = OwnedFd;
    type Waker = EventWaker;

    fn now(&mut self) -> Timestamp {
        super::clock::monotonic()
    }

    fn waker(&self) -> EventWaker {
        self.waker.clone()
    }

    fn listen(&mut self, listener: OwnedFd, token: Token) -> io::Result<Socket> {
        let local = Local::of(&listener)?;
        SockRef::from(&listener).set_nonblocking(false)?;
        let state = Accepting::On;
        let listener = Listener { fd: listener, token, local, state, is_asked: false };
        let socket = self.slots.insert(Entry::Listener(listener));
        if let Some(listener) = self.slots.listener_mut(socket) {
            listener.ask(&mut self.ring, socket);
        }
        Ok(socket)
    }

    fn pause_accept(&mut self, listener: Socket) {
        if let Some(entry) = self.slots.listener_mut(listener)
            && entry.state == Accepting::On
        {
            entry.state = Accepting::Paused;
            if entry.is_asked {
                self.ring.cancel(Kind::Accept, listener);
            }
        }
    }

    fn resume_accept(&mut self, listener: Socket) {
        if let Some(entry) = self.slots.listener_mut(listener) {
            entry.state = Accepting::On;
            entry.ask(&mut self.ring, listener);
        }
    }

    fn attach(&mut self, handle: OwnedFd, token: Token) -> io::Result<Socket> {
        Ok(self.slots.insert(Entry::Stream(Stream::new(handle, token))))
    }

    fn detach(&mut self, socket: Socket) -> Option<OwnedFd> {
        if self.queued.iter().any(|event| event.socket() == Some(socket)) {
            return None;
        }
        if self.slots.listener_mut(socket).is_some() {
            return self.detach_listener(socket);
        }
        let stream = self.slots.stream_mut(socket)?;
        if stream.marks.has(Marks::CONNECTING) || !stream.send_now() {
            return None;
        }
        if !self.recall_read(socket) {
            return None;
        }
        match self.slots.remove(socket) {
            Some(Entry::Stream(stream)) => Some(stream.fd),
            Some(Entry::Listener(_)) | None => None,
        }
    }

    fn connect(
        &mut self,
        to: &Address,
        options: &SocketOptions,
        token: Token,
    ) -> io::Result<Socket> {
        let (fd, addr) = socket::for_address(to, options)?;
        let mut stream = Stream::new(fd, token);
        let raw = Fd(stream.fd.as_raw_fd());
        let addr = stream.address.insert(Box::new(addr));
        let entry = opcode::Connect::new(raw, addr.as_ptr().cast(), addr.len()).build();
        stream.marks.set(Marks::CONNECTING);
        let socket = self.slots.insert(Entry::Stream(stream));
        // SAFETY: the address is in a box that the slot keeps until the answer.
        unsafe { self.ring.push(entry, Kind::Connect, socket) };
        Ok(socket)
    }

    fn set_token(&mut self, socket: Socket, token: Token) {
        if let Some(stream) = self.slots.stream_mut(socket) {
            stream.token = token;
        } else if let Some(listener) = self.slots.listener_mut(socket) {
            listener.token = token;
        }
        for event in &mut self.queued {
            event.rename(socket, token);
        }
    }

    #[inline]
    fn read(&mut self, socket: Socket) {
        if self.slots.stream_mut(socket).is_some_and(Stream::arm) {
            self.reading.push(socket);
        }
    }

    fn is_armed(&self, socket: Socket) -> bool {
        self.slots.stream(socket).is_some_and(|stream| stream.marks.has(Marks::ARMED))
    }

    #[inline]
    fn write(&mut self, socket: Socket, bytes: &[u8]) -> Flow {
        let Some(stream) = self.slots.stream_mut(socket) else { return Flow::Broken };
        let (flow, is_new) = stream.write(bytes, &mut self.spares);
        if is_new {
            self.sending.push(socket);
        }
        flow
    }

    fn unsent(&self, socket: Socket) -> usize {
        self.slots.stream(socket).map_or(0, Stream::unsent)
    }

    fn local(&self, socket: Socket) -> Option<SocketAddr> {
        socket::local_addr(&self.slots.stream(socket)?.fd).ok().flatten()
    }

    fn shutdown_write(&mut self, socket: Socket) {
        if let Some(stream) = self.slots.stream_mut(socket) {
            stream.finish();
        }
    }

    fn close(&mut self, socket: Socket) {
        let is_held = if let Some(stream) = self.slots.stream_mut(socket) {
            stream.abandon(&mut self.ring, socket)
        } else if let Some(listener) = self.slots.listener_mut(socket) {
            listener.state = Accepting::Closed;
            if listener.is_asked {
                self.ring.cancel(Kind::Accept, socket);
            }
            listener.is_asked
        } else {
            return;
        };
        if !is_held {
            self.slots.remove(socket);
        }
        self.purge_queued(socket);
    }

    fn wait(
        &mut self,
        until: Option<Timestamp>,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> io::Result<()> {
        self.queue_requests();
        let waited = if self.queued.is_empty() && self.waker.fall_asleep() {
            self.ring.wait(until, &mut self.done)
        } else {
            self.ring.look(&mut self.done)
        };
        if self.waker.wake_up() {
            events.push(Event::Woken);
        }
        events.append(&mut self.queued);
        waited?;
        self.handle_answers(events);
        Ok(())
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        let is_quiet = self.ring.quiesce(&mut self.done);
        for answer in self.done.drain(..) {
            if answer.kind == Kind::Accept
                && let Ok(fd) = answer.outcome()
            {
                drop(own(fd));
            }
        }
        if !is_quiet {
            // The kernel may yet write there: memory lost is better than memory shared.
            std::mem::forget(Rc::clone(&self.buffers));
            std::mem::forget(std::mem::replace(&mut self.slots, Slots::new()));
        }
    }
}

/// Takes the descriptor that answers an accept.
fn own(fd: u32) -> OwnedFd {
    let fd = i32::try_from(fd).expect("the kernel counts descriptors in this type");
    // SAFETY: the kernel opened it for the one answer this is called with.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Asks who called. None if the caller is gone already.
fn introduce(handle: OwnedFd, local: Local, token: Token) -> Option<Event<OwnedFd>> {
    let from = SockRef::from(&handle).peer_addr().ok()?;
    let (peer, local) = socket::peers(&handle, &from, local).ok()?;
    Some(Event::Accepted { token, handle, peer, local })
}
