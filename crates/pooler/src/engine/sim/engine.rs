//! The engine of one simulated worker.
//!
//! Invariant: a socket with anything to tell stands in its desk's `ready` once, or its end's
//! owner is somebody else.
//! Not here: time and travel (`state.rs`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headpond_core::Timestamp;

use super::state::{After, Connect, Desk, Owner, State, Write};
use super::{Handle, Net, What};
use crate::engine::Waker;
use crate::engine::slots::Slots;
use crate::engine::{Address, Chunk, Engine, Event, Flow, Peer, Socket, SocketOptions, Token};

/// The most connections one listener brings in a turn.
const ACCEPT_MAX: usize = 64;

/// An engine over a simulated network. Its waits return at once: the test moves the clock.
pub struct Sim {
    net: Net,
    number: usize,
    slots: Slots<Slot>,
    woken: Arc<AtomicBool>,
}

struct Slot {
    what: What,
    token: Token,
    read: Read,
    /// A write said blocked, and nothing was told since.
    is_blocked: bool,
    /// The outcome of a connect was not told yet.
    is_connecting: bool,
    /// Of a listener.
    is_paused: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    Off,
    Armed,
    /// The end or an error was told.
    Over,
}

/// Wakes a simulated engine.
#[derive(Clone, Debug)]
pub struct SimWaker(Arc<AtomicBool>);

impl Waker for SimWaker {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Sim {
    pub(super) fn new(net: Net) -> Self {
        let woken = Arc::new(AtomicBool::new(false));
        let mut state = net.lock();
        let number = state.workers.len();
        let desk = Desk {
            ready: Vec::new(),
            until: None,
            busy: Duration::ZERO,
            active: false,
            woken: Arc::clone(&woken),
        };
        state.workers.push(desk);
        drop(state);
        Self { net, number, slots: Slots::new(), woken }
    }

    fn insert(&mut self, what: What, token: Token) -> Socket {
        let slot = Slot {
            what,
            token,
            read: Read::Off,
            is_blocked: false,
            is_connecting: false,
            is_paused: false,
        };
        let socket = self.slots.insert(slot);
        let owner = Owner::Worker { number: self.number, socket };
        self.net.lock().give(what, owner);
        socket
    }

    fn end(&self, socket: Socket) -> Option<u32> {
        match self.slots.get(socket)?.what {
            What::End(id) => Some(id),
            What::Listener(_) | What::Nothing => None,
        }
    }
}

impl Engine for Sim {
    type Handle = Handle;
    type Waker = SimWaker;

    fn now(&mut self) -> Timestamp {
        self.net.now()
    }

    fn busy_time(&self) -> Duration {
        self.net.lock().workers[self.number].busy
    }

    fn waker(&self) -> SimWaker {
        SimWaker(Arc::clone(&self.woken))
    }

    fn listen(&mut self, listener: Handle, token: Token) -> io::Result<Socket> {
        Ok(self.insert(listener.into_what(), token))
    }

    fn pause_accept(&mut self, listener: Socket) {
        if let Some(slot) = self.slots.get_mut(listener) {
            slot.is_paused = true;
        }
    }

    fn resume_accept(&mut self, listener: Socket) {
        if let Some(slot) = self.slots.get_mut(listener)
            && let What::Listener(id) = slot.what
        {
            slot.is_paused = false;
            let mut state = self.net.lock();
            if !state.listener(id).waiting.is_empty() {
                state.notify_listener(id);
            }
        }
    }

    fn attach(&mut self, handle: Handle, token: Token) -> io::Result<Socket> {
        Ok(self.insert(handle.into_what(), token))
    }

    fn detach(&mut self, socket: Socket) -> Option<Handle> {
        let slot = self.slots.get(socket)?;
        if slot.is_connecting || slot.is_blocked {
            return None;
        }
        let what = slot.what;
        self.slots.remove(socket);
        self.net.lock().give(what, Owner::Nobody);
        Some(Handle { net: self.net.clone(), what })
    }

    fn connect(
        &mut self,
        to: &Address,
        _options: &SocketOptions,
        token: Token,
    ) -> io::Result<Socket> {
        let mut state = self.net.lock();
        if state.exhausted {
            return Err(exhausted());
        }
        let id = state.connect(to, Owner::Nobody);
        drop(state);
        let socket = self.insert(What::End(id), token);
        if let Some(slot) = self.slots.get_mut(socket) {
            slot.is_connecting = true;
        }
        Ok(socket)
    }

    fn set_token(&mut self, socket: Socket, token: Token) {
        if let Some(slot) = self.slots.get_mut(socket) {
            slot.token = token;
        }
    }

    fn read(&mut self, socket: Socket) {
        let Some(slot) = self.slots.get_mut(socket) else { return };
        let What::End(id) = slot.what else { return };
        if slot.read == Read::Off {
            slot.read = Read::Armed;
            let mut state = self.net.lock();
            let end = state.end(id);
            if !end.incoming.is_empty() || end.after != After::More {
                state.notify(id);
            }
        }
    }

    fn is_armed(&self, socket: Socket) -> bool {
        self.slots.get(socket).is_some_and(|slot| slot.read == Read::Armed)
    }

    fn write(&mut self, socket: Socket, bytes: &[u8]) -> Flow {
        let Some(slot) = self.slots.get_mut(socket) else { return Flow::Broken };
        let What::End(id) = slot.what else { return Flow::Broken };
        let mut state = self.net.lock();
        if state.end(id).write != Write::Open {
            return Flow::Broken;
        }
        state.write(id, bytes);
        if state.end(id).backlog.is_empty() && !slot.is_blocked {
            return Flow::Sent;
        }
        slot.is_blocked = true;
        Flow::Blocked
    }

    fn unsent(&self, socket: Socket) -> usize {
        self.end(socket).map_or(0, |id| self.net.lock().end(id).backlog.len())
    }

    fn shutdown_write(&mut self, socket: Socket) {
        if let Some(id) = self.end(socket) {
            self.net.lock().finish(id);
        }
    }

    fn close(&mut self, socket: Socket) {
        if let Some(slot) = self.slots.remove(socket) {
            drop(Handle { net: self.net.clone(), what: slot.what });
        }
    }

    fn wait(
        &mut self,
        until: Option<Timestamp>,
        events: &mut Vec<Event<Handle>>,
    ) -> io::Result<()> {
        let before = events.len();
        if self.woken.swap(false, Ordering::AcqRel) {
            events.push(Event::Woken);
        }
        let mut state = self.net.lock();
        let mut ready = std::mem::take(&mut state.workers[self.number].ready);
        if state.conditions.defer_per_mille > 0 {
            for last in (1..ready.len()).rev() {
                ready.swap(last, state.random.index(last + 1));
            }
        }
        for socket in ready {
            let rate = state.conditions.defer_per_mille;
            if state.random.chance(rate, 1_000) {
                state.workers[self.number].ready.push(socket);
            } else if let Some(slot) = self.slots.get_mut(socket) {
                match slot.what {
                    What::End(id) => slot.serve(&mut state, id, socket, events),
                    What::Listener(id) => slot.accept(&mut state, &self.net, id, events),
                    What::Nothing => {}
                }
            }
        }
        let desk = &mut state.workers[self.number];
        desk.until = until.map(Timestamp::as_nanos);
        desk.active = events.len() > before;
        Ok(())
    }
}

impl Slot {
    fn serve(
        &mut self,
        state: &mut State,
        id: u32,
        socket: Socket,
        events: &mut Vec<Event<Handle>>,
    ) {
        let token = self.token;
        let end = state.end(id);
        end.queued = false;
        if self.is_connecting {
            let result = match end.connect {
                Connect::UnderWay => return,
                Connect::Done => Ok(()),
                Connect::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            };
            self.is_connecting = false;
            if result.is_err() {
                self.read = Read::Over;
                self.is_blocked = false;
            }
            events.push(Event::Connected { token, socket, result });
        }
        if self.is_blocked {
            let result = match end.write {
                Write::Broken => Some(Err(io::ErrorKind::ConnectionReset.into())),
                Write::Open | Write::Finishing | Write::Finished => {
                    end.backlog.is_empty().then_some(Ok(()))
                }
            };
            if let Some(result) = result {
                self.is_blocked = false;
                events.push(Event::Written { token, socket, result });
            }
        }
        if self.read == Read::Armed {
            events.extend(self.read_now(state, id, socket));
        }
    }

    fn read_now(&mut self, state: &mut State, id: u32, socket: Socket) -> Option<Event<Handle>> {
        let token = self.token;
        let end = state.end(id);
        let there = end.incoming.len();
        if there > 0 {
            let most = there.min(state.conditions.read_max.max(1));
            let is_cut = state.random.chance(state.conditions.cut_per_mille, 1_000);
            let len = if is_cut { 1 + state.random.index(most) } else { most };
            self.read = Read::Off;
            let data = Chunk::from(state.read(id, len));
            return Some(Event::Read { token, socket, data });
        }
        let after = end.after;
        if after != After::More {
            self.read = Read::Over;
        }
        match after {
            After::More => None,
            After::End => Some(Event::Read { token, socket, data: Chunk::empty() }),
            After::Reset => {
                let error = io::ErrorKind::ConnectionReset.into();
                Some(Event::ReadFailed { token, socket, error })
            }
        }
    }

    fn accept(&mut self, state: &mut State, net: &Net, id: u32, events: &mut Vec<Event<Handle>>) {
        let token = self.token;
        state.listener(id).queued = false;
        if self.is_paused {
            return;
        }
        for _ in 0..ACCEPT_MAX {
            if state.listener(id).waiting.is_empty() {
                return;
            }
            if state.exhausted {
                self.is_paused = true;
                events.push(Event::AcceptFailed { token, error: exhausted() });
                return;
            }
            let Some(end) = state.listener(id).waiting.pop_front() else { return };
            let caller = state.end(end).peer.expect("a caller made this end");
            let handle = Handle { net: net.clone(), what: What::End(end) };
            let (peer, local) = (Peer::Sim(u64::from(caller)), Peer::Sim(u64::from(end)));
            events.push(Event::Accepted { token, handle, peer, local });
        }
        state.notify_listener(id);
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        for slot in self.slots.drain() {
            drop(Handle { net: self.net.clone(), what: slot.what });
        }
        let mut state = self.net.lock();
        let desk = &mut state.workers[self.number];
        (desk.until, desk.active) = (None, false);
        desk.ready.clear();
    }
}

fn exhausted() -> io::Error {
    io::Error::from_raw_os_error(libc::EMFILE)
}
