//! The common laws on io_uring, where the kernel allows it, and what only io_uring promises.

use std::os::fd::OwnedFd;

use headpond_core::Timestamp;

use super::Uring;
use crate::engine::conformance::{self, World};
use crate::engine::epoll::Epoll;
use crate::engine::{Address, Chunk, Engine, Event, Flow, Socket, SocketOptions};

/// One kind of real socket; none where the kernel refuses io_uring.
struct Real(conformance::Place);

impl Real {
    fn open(place: conformance::Place) -> Option<Self> {
        match Uring::new() {
            Ok(_) => Some(Self(place)),
            Err(error) => {
                println!("skipped: io_uring is refused here: {error}");
                None
            }
        }
    }
}

impl World for Real {
    type Engine = Uring;
    const WAITS: bool = true;

    fn engine(&mut self) -> Uring {
        Uring::new().expect("an engine")
    }

    fn listener(&mut self) -> (OwnedFd, Address) {
        self.0.listener()
    }

    fn idle(&mut self, engine: &mut Uring) -> Timestamp {
        conformance::soon(engine)
    }
}

mod tcp {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Real::open(conformance::Place::Tcp));
}

mod unix {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Real::open(conformance::Place::unix()));
}

/// Waits until `enough` of the wanted were seen; other events are dropped.
fn gather<E: Engine, T>(
    engine: &mut E,
    enough: usize,
    mut want: impl FnMut(&mut E, Event<E::Handle>) -> Option<T>,
) -> Vec<T> {
    let (mut found, mut events) = (Vec::new(), Vec::new());
    let end = engine.now() + std::time::Duration::from_secs(20);
    while found.len() < enough && engine.now() < end {
        engine.wait(Some(end), &mut events).expect("a wait");
        for event in events.drain(..) {
            found.extend(want(engine, event));
        }
    }
    assert!(found.len() >= enough);
    found
}

/// Connections made by an epoll engine and accepted by this one.
fn callers(uring: &mut Uring, count: usize) -> (Epoll, Vec<(Socket, Socket)>) {
    let mut epoll = Epoll::new().expect("an engine");
    let (listener, address) = conformance::Place::Tcp.listener();
    let listener = uring.listen(listener, 0).expect("a listener");
    let mut pairs = Vec::new();
    for _ in 0..count {
        let client = epoll.connect(&address, &SocketOptions::default(), 1).expect("a socket");
        gather(&mut epoll, 1, |_, event| match event {
            Event::Connected { result, .. } => result.ok(),
            _ => None,
        });
        let server = gather(uring, 1, |uring, event| match event {
            Event::Accepted { handle, .. } => Some(uring.attach(handle, 2).expect("room")),
            _ => None,
        });
        pairs.push((client, server[0]));
    }
    uring.close(listener);
    (epoll, pairs)
}

fn chunk<H>(event: Event<H>) -> Option<(Socket, Chunk)> {
    match event {
        Event::Read { socket, data, .. } => Some((socket, data)),
        _ => None,
    }
}

#[test]
fn reads_without_a_buffer_wait_for_one_and_do_not_spin() {
    let Some(mut world) = Real::open(conformance::Place::Tcp) else { return };
    let mut uring = world.engine();
    let count = usize::from(super::buffers::COUNT);
    let (mut epoll, pairs) = callers(&mut uring, count + 30);
    for (client, server) in &pairs {
        assert_eq!(epoll.write(*client, b"hello"), Flow::Sent);
        uring.read(*server);
    }
    let kept = gather(&mut uring, count, |_, event| chunk(event));
    assert_eq!(kept.len(), count);
    let until = uring.now() + std::time::Duration::from_millis(30);
    let (mut waits, mut events) = (0, Vec::new());
    while uring.now() < until {
        uring.wait(Some(until), &mut events).expect("a wait");
        waits += 1;
    }
    assert!(events.is_empty() && waits < 5, "{} events in {waits} waits", events.len());
    drop(kept);
    let rest = gather(&mut uring, 30, |_, event| chunk(event));
    assert!(rest.iter().all(|(_, data)| **data == *b"hello"));
}

#[test]
fn a_connection_moves_between_kinds_of_engines() {
    let Some(mut world) = Real::open(conformance::Place::Tcp) else { return };
    let mut uring = world.engine();
    let (mut epoll, pairs) = callers(&mut uring, 1);
    let (client, server) = pairs[0];
    // From epoll the socket comes as non-blocking, which the ring must not take literally.
    let handle = epoll.detach(client).expect("nothing in flight");
    let client = uring.attach(handle, 1).expect("room");
    uring.read(client);
    uring.read(server);
    let soon = uring.now() + std::time::Duration::from_millis(5);
    uring.wait(Some(soon), &mut Vec::new()).expect("a wait");
    let mut sent = 0;
    while uring.write(client, &[7; 60_000]) == Flow::Sent {
        sent += 60_000;
    }
    sent += 60_000;
    let mut came = 0;
    let soon = |uring: &mut Uring| uring.now() + std::time::Duration::from_secs(10);
    let (end, mut events) = (soon(&mut uring), Vec::new());
    while came < sent && uring.now() < end {
        uring.wait(Some(end), &mut events).expect("a wait");
        for event in events.drain(..) {
            if let Some((socket, data)) = chunk(event) {
                came += data.len();
                uring.read(socket);
            }
        }
    }
    assert_eq!(came, sent);
    let handle = uring.detach(server).expect("its read is called back");
    let server = epoll.attach(handle, 3).expect("room");
    assert_eq!(uring.write(client, b"across"), Flow::Sent);
    epoll.read(server);
    let soon = uring.now() + std::time::Duration::from_millis(5);
    uring.wait(Some(soon), &mut events).expect("a wait");
    let back = gather(&mut epoll, 1, |_, event| chunk(event));
    assert_eq!(&*back[0].1, b"across");
}

#[test]
fn an_engine_ends_with_requests_under_way_and_chunks_alive() {
    let Some(mut world) = Real::open(conformance::Place::Tcp) else { return };
    for _ in 0..20 {
        let mut uring = world.engine();
        let (mut epoll, pairs) = callers(&mut uring, 4);
        for (client, server) in &pairs {
            epoll.write(*client, b"last words");
            uring.read(*server);
        }
        let kept = gather(&mut uring, 2, |_, event| chunk(event));
        while uring.write(pairs[0].1, &[1; 20_000]) == Flow::Sent {}
        let now = uring.now();
        uring.wait(Some(now), &mut Vec::new()).expect("a wait");
        drop(uring);
        assert!(kept.iter().all(|(_, data)| **data == *b"last words"));
    }
}

#[test]
fn a_listener_that_cannot_accept_says_so_once_and_does_not_spin() {
    if let Some(mut world) = Real::open(conformance::Place::Tcp) {
        conformance::check_unable_listener(&mut world.engine());
    }
}
