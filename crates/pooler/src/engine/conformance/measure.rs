//! What a relayed transaction costs, engine against engine. Not a law: run with
//! `--release -- --ignored --nocapture --test-threads 1`.
//!
//! One thread plays clients, one plays servers, both on epoll; between them the measured engine
//! relays as a pooler does: a client's query goes to a free server, or waits for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::Place;
use crate::engine::epoll::Epoll;
use crate::engine::{Address, Engine, Event, Socket, SocketOptions, clock};

const SERVERS: u64 = 20;
const QUERY: usize = 70;

/// What is measured: how many clients, and how long an answer is.
#[derive(Clone, Copy)]
pub(in crate::engine) struct Load {
    pub(in crate::engine) clients: u64,
    pub(in crate::engine) answer: usize,
    pub(in crate::engine) seconds: f64,
}

/// Relays under this load and prints the relay's own processor time per transaction.
pub(in crate::engine) fn relay<E: Engine<Handle = std::os::fd::OwnedFd>>(
    name: &str,
    make: impl FnOnce() -> E,
    load: Load,
) {
    let (server_side, servers) = Place::Tcp.listener();
    let (client_side, clients) = Place::Tcp.listener();
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    std::thread::scope(|scope| {
        let (server_stop, client_stop) = (Arc::clone(&stop), Arc::clone(&stop));
        let client_count = Arc::clone(&count);
        // Named, so that a profiler can tell them from the relay.
        let servers_thread = std::thread::Builder::new().name("servers".to_owned());
        let clients_thread = std::thread::Builder::new().name("clients".to_owned());
        servers_thread
            .spawn_scoped(scope, move || serve(server_side, load.answer, &server_stop))
            .expect("a thread");
        clients_thread
            .spawn_scoped(scope, move || ask(&clients, load, &client_stop, &client_count))
            .expect("a thread");
        let mut relay = Relay::new(make(), client_side, &servers);
        relay.turn_for(0.5);
        let (before, cpu, start) =
            (count.load(Ordering::Relaxed), clock::thread_cpu_time(), Instant::now());
        let turns = relay.turn_for(load.seconds);
        let done = (count.load(Ordering::Relaxed) - before) as f64;
        let cpu = (clock::thread_cpu_time() - cpu).as_secs_f64();
        println!(
            "{name:>6} {:>4} clients {:>8} B: {:6.2} us cpu, {:6.1} k/s, {:.2} turns each",
            load.clients,
            load.answer,
            cpu * 1e6 / done,
            done / start.elapsed().as_secs_f64() / 1e3,
            turns as f64 / done,
        );
        stop.store(true, Ordering::Relaxed);
    });
}

struct Relay<E: Engine> {
    engine: E,
    free: Vec<Socket>,
    queue: VecDeque<(Socket, Vec<u8>)>,
    /// By the server's index: whom it answers.
    busy: Vec<Option<Socket>>,
    events: Vec<Event<E::Handle>>,
}

const FROM_SERVER: u64 = 1 << 32;

impl<E: Engine<Handle = std::os::fd::OwnedFd>> Relay<E> {
    fn new(mut engine: E, listener: E::Handle, servers: &Address) -> Self {
        engine.listen(listener, 0).expect("a listener");
        for n in 0..SERVERS {
            let options = SocketOptions::default();
            engine.connect(servers, &options, FROM_SERVER + n).expect("a socket");
        }
        Self {
            engine,
            free: Vec::new(),
            queue: VecDeque::new(),
            busy: vec![None; 4096],
            events: Vec::new(),
        }
    }

    fn turn_for(&mut self, seconds: f64) -> u64 {
        let end = clock::monotonic() + std::time::Duration::from_secs_f64(seconds);
        let mut turns = 0;
        while self.engine.now() < end {
            turns += 1;
            let mut events = std::mem::take(&mut self.events);
            self.engine.wait(Some(end), &mut events).expect("a wait");
            for event in events.drain(..) {
                self.handle(event);
            }
            self.events = events;
        }
        turns
    }

    fn handle(&mut self, event: Event<E::Handle>) {
        match event {
            Event::Connected { socket, .. } => self.free.push(socket),
            Event::Accepted { handle, .. } => {
                let socket = self.engine.attach(handle, 1).expect("room");
                self.engine.read(socket);
            }
            Event::Read { token, socket, data } if token >= FROM_SERVER => {
                let client = self.busy[socket.index()].expect("a server answers when asked");
                self.engine.write(client, &data);
                if data.last() != Some(&b'Z') {
                    self.engine.read(socket);
                    return;
                }
                self.engine.read(client);
                match self.queue.pop_front() {
                    Some((next, query)) => self.link(next, socket, &query),
                    None => self.free.push(socket),
                }
            }
            Event::Read { socket, data, .. } => match (data.is_empty(), self.free.pop()) {
                (true, _) => {}
                (false, Some(server)) => self.link(socket, server, &data),
                (false, None) => self.queue.push_back((socket, data.to_vec())),
            },
            _ => {}
        }
    }

    fn link(&mut self, client: Socket, server: Socket, query: &[u8]) {
        self.busy[server.index()] = Some(client);
        self.engine.write(server, query);
        self.engine.read(server);
    }
}

fn serve(listener: std::os::fd::OwnedFd, answer: usize, stop: &AtomicBool) {
    let mut engine = Epoll::new().expect("an engine");
    engine.listen(listener, 0).expect("a listener");
    let mut bytes = vec![b'D'; answer];
    bytes[answer - 1] = b'Z';
    drive(engine, stop, |engine, event| match event {
        Event::Accepted { handle, .. } => {
            let socket = engine.attach(handle, 1).expect("room");
            engine.read(socket);
        }
        Event::Read { socket, data, .. } if !data.is_empty() => {
            engine.write(socket, &bytes);
            engine.read(socket);
        }
        _ => {}
    });
}

fn ask(to: &Address, load: Load, stop: &AtomicBool, count: &AtomicU64) {
    let mut engine = Epoll::new().expect("an engine");
    for n in 0..load.clients {
        engine.connect(to, &SocketOptions::default(), n).expect("a socket");
    }
    drive(engine, stop, |engine, event| match event {
        Event::Connected { socket, .. } => {
            engine.write(socket, &[b'Q'; QUERY]);
            engine.read(socket);
        }
        Event::Read { socket, data, .. } if !data.is_empty() => {
            if data.last() == Some(&b'Z') {
                count.fetch_add(1, Ordering::Relaxed);
                engine.write(socket, &[b'Q'; QUERY]);
            }
            engine.read(socket);
        }
        _ => {}
    });
}

fn drive(
    mut engine: Epoll,
    stop: &AtomicBool,
    mut handle: impl FnMut(&mut Epoll, Event<std::os::fd::OwnedFd>),
) {
    let mut events = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let soon = engine.now() + std::time::Duration::from_millis(20);
        engine.wait(Some(soon), &mut events).expect("a wait");
        for event in events.drain(..) {
            handle(&mut engine, event);
        }
    }
}
