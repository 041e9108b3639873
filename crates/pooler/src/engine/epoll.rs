//! The default engine: edge-triggered epoll, one registration per socket for life.
//!
//! A short read is the proof that nothing is left, so the steady state is one `recv` per
//! message, one `send` per write and one `epoll_wait` per turn: no `epoll_ctl`, no read in vain.
//!
//! Invariant: a socket that has bytes is `READABLE` or its edge has not been reported yet; one
//! that is `READABLE` and `ARMED` stands in `ready` once (`QUEUED`).
//! Not here: io_uring (`uring.rs`).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use headpond_core::Timestamp;
use socket2::SockRef;

use super::buffer::Arena;
use super::slots::Slots;
use super::socket;
use super::waker::EventWaker;
use super::{Address, Engine, Event, Flow, Socket, SocketOptions, Token};

mod backlog;
mod listener;
mod poll;
mod stream;

use listener::Listener;
use poll::{Interest, Poll};
use stream::{Marks, Stream};

/// Read memory of one turn. Measured: a block that fits the second-level cache is best.
const ARENA: usize = 256 << 10;
/// The most one socket may read in a turn, so that others get theirs.
const READ_MAX: usize = 64 << 10;
/// With less room than this left, a read waits for the next turn rather than be cut up.
const READ_MIN: usize = 4 << 10;

/// An engine over epoll.
pub struct Epoll {
    poll: Poll,
    waker: EventWaker,
    slots: Slots<Entry>,
    /// Sockets that are readable and armed, in order of service. May name closed ones.
    ready: VecDeque<Socket>,
    /// Events that happened outside of `wait`.
    queued: Vec<Event<OwnedFd>>,
    arena: Arena,
    turn: u64,
}

enum Entry {
    Stream(Stream),
    Listener(Listener),
}

impl Entry {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stream(stream) => stream.fd.as_fd(),
            Self::Listener(listener) => listener.fd.as_fd(),
        }
    }
}

impl Epoll {
    /// Opens an engine.
    ///
    /// # Errors
    /// The system's, when descriptors have run out.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = EventWaker::new()?;
        poll.add(waker.descriptor(), Interest::Wake, WAKER_KEY)?;
        Ok(Self {
            poll,
            waker,
            slots: Slots::new(),
            ready: VecDeque::new(),
            queued: Vec::new(),
            arena: Arena::new(ARENA),
            turn: 0,
        })
    }

    fn insert(&mut self, entry: Entry, interest: Interest) -> io::Result<Socket> {
        let socket = self.slots.insert(entry);
        let added = match self.slots.get(socket) {
            Some(entry) => self.poll.add(entry.fd(), interest, socket.to_bits()),
            None => Ok(()),
        };
        if added.is_err() {
            self.slots.remove(socket);
        }
        added.map(|()| socket)
    }

    fn stream(&self, socket: Socket) -> Option<&Stream> {
        match self.slots.get(socket) {
            Some(Entry::Stream(stream)) => Some(stream),
            Some(Entry::Listener(_)) | None => None,
        }
    }

    fn stream_mut(&mut self, socket: Socket) -> Option<&mut Stream> {
        match self.slots.get_mut(socket) {
            Some(Entry::Stream(stream)) => Some(stream),
            Some(Entry::Listener(_)) | None => None,
        }
    }

    /// Turns what the kernel reported of one descriptor into marks, accepts and flushes.
    fn notice(&mut self, key: u64, what: u32, events: &mut Vec<Event<OwnedFd>>) {
        if key == WAKER_KEY {
            return; // its state says more than its descriptor
        }
        let socket = Socket::from_bits(key);
        match self.slots.get_mut(socket) {
            None => {}
            Some(Entry::Listener(_)) => self.accept(socket, events),
            Some(Entry::Stream(stream)) => {
                if stream.marks.has(Marks::CONNECTING) {
                    stream.finish_connect(&self.poll, socket, what, events);
                }
                if what & poll::HANGUP != 0 {
                    stream.marks.set(Marks::HANGUP);
                }
                if what & (poll::READABLE | poll::HANGUP) != 0 {
                    stream.marks.set(Marks::READABLE);
                    stream.enqueue(&mut self.ready, socket);
                }
                if what & (poll::WRITABLE | poll::HANGUP) != 0 && stream.backlog.is_some() {
                    stream.flush(&self.poll, socket, events);
                }
            }
        }
    }

    fn accept(&mut self, socket: Socket, events: &mut Vec<Event<OwnedFd>>) {
        if let Some(Entry::Listener(listener)) = self.slots.get_mut(socket)
            && let Err(error) = listener.accept(self.turn, events)
        {
            events.push(Event::AcceptFailed { token: listener.token, error });
            self.pause_accept(socket);
        }
    }

    /// Serves armed and readable sockets, each once, until the arena is full. Those left over
    /// stay in line, and the next wait serves them without waiting.
    fn serve_reads(&mut self, events: &mut Vec<Event<OwnedFd>>) {
        if self.ready.is_empty() {
            return;
        }
        self.arena.recycle(READ_MAX);
        for _ in 0..self.ready.len() {
            let Some(room) = self.arena.room(READ_MAX, READ_MIN) else { return };
            let Some(socket) = self.ready.pop_front() else { return };
            let Some(Entry::Stream(stream)) = self.slots.get_mut(socket) else { continue };
            events.extend(stream.read(&mut self.arena, &room, socket));
        }
    }

    fn purge_queued(&mut self, socket: Socket) {
        if !self.queued.is_empty() {
            self.queued.retain(|event| event.socket() != Some(socket));
        }
    }
}

/// No socket's name: its index is beyond any.
const WAKER_KEY: u64 = u64::MAX;

impl Engine for Epoll {
    type Handle = OwnedFd;
    type Waker = EventWaker;

    fn now(&mut self) -> Timestamp {
        super::clock::monotonic()
    }

    fn waker(&self) -> EventWaker {
        self.waker.clone()
    }

    fn listen(&mut self, listener: OwnedFd, token: Token) -> io::Result<Socket> {
        SockRef::from(&listener).set_nonblocking(true)?;
        let listener = Listener::new(listener, token)?;
        self.insert(Entry::Listener(listener), Interest::Accept)
    }

    fn pause_accept(&mut self, listener: Socket) {
        if let Some(Entry::Listener(entry)) = self.slots.get_mut(listener)
            && !entry.paused
        {
            self.poll.remove(entry.fd.as_fd());
            entry.paused = true;
        }
    }

    fn resume_accept(&mut self, listener: Socket) {
        if let Some(Entry::Listener(entry)) = self.slots.get_mut(listener)
            && entry.paused
        {
            match self.poll.add(entry.fd.as_fd(), Interest::Accept, listener.to_bits()) {
                Ok(()) => entry.paused = false,
                Err(error) => {
                    self.queued.push(Event::AcceptFailed { token: entry.token, error });
                }
            }
        }
    }

    fn attach(&mut self, handle: OwnedFd, token: Token) -> io::Result<Socket> {
        // What is there already comes as an edge of the registration itself.
        let stream = Stream { fd: handle, token, marks: Marks::NONE, backlog: None };
        self.insert(Entry::Stream(stream), Interest::Read)
    }

    fn detach(&mut self, socket: Socket) -> Option<OwnedFd> {
        let entry = self.slots.get(socket)?;
        let (busy, watched) = match entry {
            Entry::Stream(s) => (s.backlog.is_some() || s.marks.has(Marks::CONNECTING), true),
            Entry::Listener(listener) => (false, !listener.paused),
        };
        if busy || self.queued.iter().any(|event| event.socket() == Some(socket)) {
            return None;
        }
        if watched {
            self.poll.remove(entry.fd());
        }
        self.slots.remove(socket).map(|entry| match entry {
            Entry::Stream(stream) => stream.fd,
            Entry::Listener(listener) => listener.fd,
        })
    }

    fn connect(
        &mut self,
        to: &Address,
        options: &SocketOptions,
        token: Token,
    ) -> io::Result<Socket> {
        let (fd, addr) = socket::for_address(to, options)?;
        let stream = SockRef::from(&fd);
        stream.set_nonblocking(true)?;
        let result = stream.connect(&addr);
        let under_way = matches!(&result, Err(e) if e.raw_os_error() == Some(libc::EINPROGRESS));
        let (marks, interest) = match &result {
            Err(_) if under_way => (Marks::CONNECTING, Interest::ReadWrite),
            Ok(()) => (Marks::NONE, Interest::Read),
            Err(_) => (Marks::BROKEN.and(Marks::ENDED), Interest::Read),
        };
        let stream = Stream { fd, token, marks, backlog: None };
        let socket = self.insert(Entry::Stream(stream), interest)?;
        if !under_way {
            self.queued.push(Event::Connected { token, socket, result });
        }
        Ok(socket)
    }

    fn set_token(&mut self, socket: Socket, token: Token) {
        match self.slots.get_mut(socket) {
            None => return,
            Some(Entry::Stream(stream)) => stream.token = token,
            Some(Entry::Listener(listener)) => listener.token = token,
        }
        for event in &mut self.queued {
            event.rename(socket, token);
        }
    }

    #[inline]
    fn read(&mut self, socket: Socket) {
        if let Some(Entry::Stream(stream)) = self.slots.get_mut(socket)
            && !stream.marks.has(Marks::ENDED)
        {
            stream.marks.set(Marks::ARMED);
            stream.enqueue(&mut self.ready, socket);
        }
    }

    fn is_armed(&self, socket: Socket) -> bool {
        self.stream(socket).is_some_and(|stream| stream.marks.has(Marks::ARMED))
    }

    #[inline]
    fn write(&mut self, socket: Socket, bytes: &[u8]) -> Flow {
        self.write_pair(socket, bytes, &[])
    }

    fn write_pair(&mut self, socket: Socket, head: &[u8], tail: &[u8]) -> Flow {
        match self.slots.get_mut(socket) {
            Some(Entry::Stream(stream)) => stream.write(&self.poll, socket, head, tail),
            Some(Entry::Listener(_)) | None => Flow::Broken,
        }
    }

    fn unsent(&self, socket: Socket) -> usize {
        let backlog = self.stream(socket).and_then(|stream| stream.backlog.as_ref());
        backlog.map_or(0, |backlog| backlog.len())
    }

    fn local(&self, socket: Socket) -> Option<SocketAddr> {
        socket::local_addr(&self.stream(socket)?.fd).ok().flatten()
    }

    fn shutdown_write(&mut self, socket: Socket) {
        if let Some(stream) = self.stream_mut(socket) {
            match stream.backlog {
                Some(_) => stream.marks.set(Marks::FINISH),
                None => stream.finish(),
            }
        }
    }

    fn close(&mut self, socket: Socket) {
        // The kernel forgets the registration with the last descriptor of the socket. Should
        // another process hold one (a takeover), its edges name a generation that is over.
        if self.slots.remove(socket).is_some() {
            self.purge_queued(socket);
        }
    }

    fn wait(
        &mut self,
        until: Option<Timestamp>,
        events: &mut Vec<Event<OwnedFd>>,
    ) -> io::Result<()> {
        self.turn += 1;
        let idle = self.ready.is_empty() && self.queued.is_empty();
        let waited =
            if idle && self.waker.fall_asleep() { self.poll.wait(until) } else { self.poll.look() };
        if self.waker.wake_up() {
            events.push(Event::Woken);
        }
        events.append(&mut self.queued);
        for n in 0..waited? {
            let (key, what) = self.poll.report(n);
            self.notice(key, what, events);
        }
        self.serve_reads(events);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
