//! One thread's event loop.
//!
//! A turn reads the clock, sends what is due on connections that are free, waits, and takes the
//! answers. The answer to one request and the sending of the next share one reading of the clock.
//!
//! Invariant: a connection is idle, carries one request, or is lost; a request that was taken from
//! the source is recorded once.
//! Left out: opening connections; that blocks, and has a thread of its own.

use std::collections::VecDeque;
use std::io::{ErrorKind as Io, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc;
use std::time::Duration;

use headpond_core::Random;
use headpond_wire::frontend;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use super::login::LoginError;
use super::reply::{Ended, Reply};
use super::request::Request;
use super::socket::Socket;
use super::source::Source;
use crate::engine::{Effort, Stopwatch};
use crate::error::ErrorKind;
use crate::measure::{self, Control, nanos};

/// What tells the timer's events from those of connections.
const TIMER: u64 = u64::MAX;
/// How often deadlines, and whether the run is over, are looked at.
const CHECK: Duration = Duration::from_millis(20);
/// A request due sooner than this is waited for by looking again: a timer is not that exact.
const SPIN_NANOS: u64 = 30_000;
/// How many requests may wait; those beyond are shed, and counted.
const QUEUE_MAX: usize = 1_000_000;
/// How long unanswered requests are waited for after the end.
const GRACE: Duration = Duration::from_secs(5);
/// Bytes read at once.
const BUFFER: usize = 65_536;
/// Events taken at once.
const EVENTS: usize = 256;

/// Opens a connection, blocking.
pub type Opener = Box<dyn Fn() -> Result<Socket, LoginError> + Send>;

/// One thread's event loop.
pub struct Worker {
    control: Arc<Control>,
    shard: usize,
    source: Source,
    request: Arc<Request>,
    random: Random,
    value: String,
    timeout: u64,
    epoll: OwnedFd,
    timer: OwnedFd,
    /// What the timer is set to, in nanoseconds since the origin; 0 if it is not.
    armed: u64,
    sessions: Vec<Session>,
    idle: Vec<usize>,
    busy: u32,
    queue: VecDeque<u64>,
    buffer: Box<[u8]>,
    reopening: usize,
    lost: mpsc::Sender<usize>,
    found: mpsc::Receiver<(usize, Result<Socket, LoginError>)>,
    next_check: u64,
}

/// One connection.
struct Session {
    socket: Option<Socket>,
    reply: Reply,
    out: Vec<u8>,
    written: usize,
    current: Option<Current>,
}

#[derive(Clone, Copy)]
struct Current {
    intended: u64,
    started: u64,
}

impl Worker {
    /// Makes an event loop without connections; `opener` replaces those that are lost.
    pub fn new(
        control: Arc<Control>,
        shard: usize,
        source: Source,
        request: Arc<Request>,
        seed: u64,
        timeout: Duration,
        opener: Opener,
    ) -> rustix::io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edges only: then an expiry need not be read.
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), edge)?;
        let (lost, losses) = mpsc::channel();
        let (finds, found) = mpsc::channel();
        // Ends with the worker, whose half of the channel it waits on.
        std::thread::spawn(move || {
            while let Ok(index) = losses.recv() {
                if finds.send((index, opener())).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            control,
            shard,
            source,
            request,
            random: Random::new(seed ^ 0x5eed),
            value: String::new(),
            timeout: nanos(timeout),
            epoll,
            timer,
            armed: 0,
            sessions: Vec::new(),
            idle: Vec::new(),
            busy: 0,
            queue: VecDeque::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            reopening: 0,
            lost,
            found,
            next_check: 0,
        })
    }

    /// Adds connections.
    pub fn with(mut self, sockets: Vec<Socket>) -> rustix::io::Result<Self> {
        for socket in sockets {
            let index = self.sessions.len();
            self.register(index, &socket)?;
            self.sessions.push(Session {
                socket: Some(socket),
                reply: Reply::default(),
                out: Vec::new(),
                written: 0,
                current: None,
            });
            self.idle.push(index);
        }
        Ok(self)
    }

    fn register(&self, index: usize, socket: &Socket) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(index as u64), EventFlags::IN)
    }

    /// Sends requests until the window ends, then waits for what is unanswered.
    pub fn run(mut self) -> rustix::io::Result<Effort> {
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        let mut watch = Stopwatch::default();
        loop {
            let now = self.control.now();
            watch.look(now, self.control.window());
            if now >= self.next_check {
                self.next_check = now + nanos(CHECK);
                self.check(now)?;
            }
            self.pump(now);
            if self.is_over(now) {
                break;
            }
            self.wait(&mut events)?;
            for index in 0..events.len() {
                let Some(event) = events.get(index).copied() else { break };
                if event.data.u64() == TIMER {
                    self.armed = 0;
                } else if let Ok(session) = usize::try_from(event.data.u64()) {
                    self.handle(session, event.flags);
                }
            }
        }
        self.give_up();
        Ok(watch.effort())
    }

    /// Takes what is due and sends what can be sent.
    fn pump(&mut self, now: u64) {
        if self.control.is_running(now) {
            while let Some(intended) = self.source.take(now) {
                if self.queue.len() >= QUEUE_MAX {
                    self.record(intended, None, now, Err(ErrorKind::Shed));
                    continue;
                }
                if matches!(self.source, Source::Open(_)) && self.idle.len() > self.queue.len() {
                    self.control.record_lag(self.shard, now.saturating_sub(intended));
                }
                self.queue.push_back(intended);
            }
        }
        while let Some(index) = self.idle.last().copied() {
            let Some(intended) = self.queue.pop_front() else { break };
            self.idle.pop();
            self.start(index, intended, now);
        }
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        self.control.gauge(self.shard).waiting.store(waiting, Relaxed);
        self.control.gauge(self.shard).busy.store(self.busy, Relaxed);
    }

    fn start(&mut self, index: usize, intended: u64, now: u64) {
        let session = &mut self.sessions[index];
        session.out.clear();
        session.written = 0;
        self.request.write(&mut self.random, &mut self.value, &mut session.out);
        session.current = Some(Current { intended, started: now });
        self.busy += 1;
        self.flush(index);
    }

    /// Writes what is to be written, and asks to be told when more can be.
    fn flush(&mut self, index: usize) {
        let session = &mut self.sessions[index];
        let Some(socket) = session.socket.as_mut() else { return };
        let before = session.written;
        let result = loop {
            let rest = session.out.get(session.written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match socket.write(rest) {
                Ok(n) => session.written += n,
                Err(error) if error.kind() == Io::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        match result {
            Ok(()) if before == 0 => {}
            Ok(()) => self.interest(index, EventFlags::IN),
            Err(error) if error.kind() == Io::WouldBlock => {
                self.interest(index, EventFlags::IN | EventFlags::OUT);
            }
            Err(_) => self.lose(index, ErrorKind::Lost),
        }
    }

    fn interest(&mut self, index: usize, flags: EventFlags) {
        let Some(socket) = self.sessions[index].socket.as_ref() else { return };
        if epoll::modify(&self.epoll, socket, EventData::new_u64(index as u64), flags).is_err() {
            self.lose(index, ErrorKind::Lost);
        }
    }

    /// Waits for an event, the next request, or the next check.
    fn wait(&mut self, events: &mut Vec<Event>) -> rustix::io::Result<()> {
        events.clear();
        let now = self.control.now();
        let mut nap = self.next_check.saturating_sub(now);
        let due = self.source.peek().filter(|due| self.control.is_running(*due));
        if let Some(due) = due {
            let until = due.saturating_sub(now);
            if until <= SPIN_NANOS {
                nap = 0;
            } else if until < nap && self.armed != due {
                self.armed = due;
                let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
                let it_value = timespec(until);
                let spec = Itimerspec { it_interval: zero, it_value };
                timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &spec)?;
            }
        }
        let timeout = timespec(nap);
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn handle(&mut self, index: usize, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush(index);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            self.read(index);
        }
    }

    fn read(&mut self, index: usize) {
        let Some(socket) = self.sessions[index].socket.as_mut() else { return };
        let n = match socket.read(&mut self.buffer) {
            Ok(0) => return self.lose(index, ErrorKind::Lost),
            Ok(n) => n,
            Err(error) if matches!(error.kind(), Io::WouldBlock | Io::Interrupted) => return,
            Err(_) => return self.lose(index, ErrorKind::Lost),
        };
        let now = self.control.now();
        let mut done = 0;
        while done < n {
            let session = &mut self.sessions[index];
            let part = self.buffer.get(done..n).unwrap_or_default();
            match session.reply.take(part) {
                Ok((taken, ended)) => {
                    done += taken;
                    let Some(ended) = ended else { continue };
                    if !self.finish(index, ended, now) {
                        return self.lose(index, ErrorKind::Protocol);
                    }
                }
                Err(_) => return self.lose(index, ErrorKind::Protocol),
            }
        }
    }

    /// Records an answer, and sends the next request if one is due. Returns `false` when nothing
    /// was asked.
    fn finish(&mut self, index: usize, ended: Ended, now: u64) -> bool {
        let Some(current) = self.sessions[index].current.take() else { return false };
        self.busy -= 1;
        match ended {
            Ended::Ok => {
                self.record(current.intended, Some(current.started), now, Ok(()));
                self.source.answered(now);
            }
            Ended::Error(error) => {
                let kind = ErrorKind::Server(error.code);
                self.record(current.intended, Some(current.started), now, Err(kind));
                self.source.refused(now);
            }
        }
        self.idle.push(index);
        self.pump(now);
        true
    }

    fn record(
        &self,
        intended: u64,
        started: Option<u64>,
        ended: u64,
        outcome: Result<(), ErrorKind>,
    ) {
        self.control.record(self.shard, measure::Request { intended, started, ended }, outcome);
    }

    /// Closes a connection that is of no use any more, and asks for another.
    fn lose(&mut self, index: usize, kind: ErrorKind) {
        let now = self.control.now();
        let session = &mut self.sessions[index];
        if session.socket.take().is_none() {
            return;
        }
        let code = session.reply.last_words().map(|error| error.code);
        let current = session.current.take();
        session.reply = Reply::default();
        self.idle.retain(|idle| *idle != index);
        if let Some(current) = current {
            self.busy -= 1;
            let kind = code.map_or(kind, ErrorKind::Server);
            self.record(current.intended, Some(current.started), now, Err(kind));
            self.source.refused(now);
        }
        if self.lost.send(index).is_ok() {
            self.reopening += 1;
        }
    }

    /// What is looked at from time to time: new connections, deadlines.
    fn check(&mut self, now: u64) -> rustix::io::Result<()> {
        while let Ok((index, socket)) = self.found.try_recv() {
            match socket {
                Ok(socket) => {
                    self.register(index, &socket)?;
                    self.sessions[index].socket = Some(socket);
                    self.idle.push(index);
                    self.reopening -= 1;
                }
                // Again, and with the next look rather than at once.
                Err(_) if self.lost.send(index).is_err() => self.reopening -= 1,
                Err(_) => {}
            }
        }
        let limit = now.saturating_sub(self.timeout);
        while self.queue.front().is_some_and(|intended| *intended < limit) {
            let Some(intended) = self.queue.pop_front() else { break };
            let kind = if self.reopening > 0 { ErrorKind::Connect } else { ErrorKind::Timeout };
            self.record(intended, None, now, Err(kind));
            self.source.answered(now);
        }
        for index in 0..self.sessions.len() {
            if self.sessions[index].current.is_some_and(|current| current.started < limit) {
                self.lose(index, ErrorKind::Timeout);
            }
        }
        Ok(())
    }

    fn is_over(&self, now: u64) -> bool {
        if self.control.is_running(now) {
            return false;
        }
        let (_, until) = self.control.window();
        let idle = self.queue.is_empty() && self.busy == 0;
        idle || now > until.saturating_add(nanos(GRACE).min(self.timeout))
    }

    fn give_up(&mut self) {
        let now = self.control.now();
        let unanswered = self.sessions.iter().filter_map(|session| session.current);
        for intended in self.queue.iter().copied().chain(unanswered.map(|c| c.intended)) {
            self.control.give_up(self.shard, intended, now);
        }
        self.control.gauge(self.shard).busy.store(0, Relaxed);
        self.control.gauge(self.shard).waiting.store(0, Relaxed);
        let mut goodbye = Vec::new();
        frontend::terminate(&mut goodbye);
        for session in self.sessions.iter_mut().filter(|session| session.current.is_none()) {
            if let Some(socket) = session.socket.as_mut() {
                // A courtesy: the server notices a closed socket as well.
                let _ = socket.write(&goodbye);
            }
        }
    }
}

fn timespec(nanos: u64) -> Timespec {
    let part = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    Timespec { tv_sec: part(nanos / 1_000_000_000), tv_nsec: part(nanos % 1_000_000_000) }
}
