//! The common laws on epoll, over TCP and over Unix sockets, and what only epoll promises.

use std::os::fd::OwnedFd;

use headpond_core::Timestamp;

use super::Epoll;
use crate::engine::conformance::{self, World};
use crate::engine::{Address, Engine, Event};

/// One kind of real socket.
struct Real(conformance::Place);

impl World for Real {
    type Engine = Epoll;
    const WAITS: bool = true;

    fn engine(&mut self) -> Epoll {
        Epoll::new().expect("an engine")
    }

    fn listener(&mut self) -> (OwnedFd, Address) {
        self.0.listener()
    }

    fn idle(&mut self, engine: &mut Epoll) -> Timestamp {
        conformance::soon(engine)
    }
}

mod tcp {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Real(conformance::Place::Tcp)));
}

mod unix {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Real(conformance::Place::unix())));
}

#[test]
fn a_listener_that_cannot_accept_says_so_once_and_does_not_spin() {
    conformance::check_unable_listener(&mut Epoll::new().expect("an engine"));
}

#[test]
fn streams_share_a_turn_and_take_turns() {
    const STREAMS: usize = 12;
    const EACH: usize = 150_000;
    let mut world = Real(conformance::Place::unix());
    let (listener, address) = world.listener();
    let mut engines = [world.engine(), world.engine()];
    engines[1].listen(listener, 0).expect("a listener");
    let pairs: Vec<_> =
        (0..STREAMS).map(|_| conformance::join_to(&mut world, &mut engines, &address)).collect();
    for (client, server) in &pairs {
        engines[0].write(*client, &[5; EACH]);
        engines[1].read(*server);
    }
    let [_, server_side] = &mut engines;
    let (mut order, mut events) = (Vec::new(), Vec::new());
    while order.len() < STREAMS * 2 {
        let now = server_side.now();
        server_side.wait(Some(now), &mut events).expect("a wait");
        let turn: usize = events.iter().map(chunk_len).sum();
        assert!(turn <= super::ARENA);
        for event in events.drain(..) {
            let socket = event.socket().expect("a stream");
            order.push(socket);
            server_side.read(socket);
        }
    }
    // Everyone is served once before anyone is served twice.
    let mut first: Vec<_> = order[..STREAMS].to_vec();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), STREAMS);
}

fn chunk_len<H>(event: &Event<H>) -> usize {
    match event {
        Event::Read { data, .. } => data.len(),
        other => panic!("unexpected event of {:?}", other.socket()),
    }
}

#[test]
#[ignore = "a measurement"]
fn what_a_relayed_transaction_costs() {
    use crate::engine::uring::Uring;
    use conformance::measure::{Load, relay};
    let loads = [(1, 300), (8, 300), (64, 300), (256, 300), (8, 1 << 20)];
    for (clients, answer) in loads {
        let load = Load { clients, answer, seconds: 1.5 };
        for _ in 0..2 {
            relay("epoll", || Epoll::new().expect("an engine"), load);
            relay("uring", || Uring::new().expect("an engine"), load);
        }
    }
}
