//! The common laws in calm and rough weather, and what only the simulation promises.

use std::net::SocketAddr;

use headpond_core::Timestamp;

use super::*;
use crate::engine::conformance::World;
use crate::engine::{Engine, Event};

struct Weather {
    net: Net,
    next_port: u16,
}

impl Weather {
    fn new(seed: u64, conditions: Conditions) -> Self {
        Self { net: Net::with(seed, conditions), next_port: 1 }
    }
}

impl World for Weather {
    type Engine = Sim;
    const WAITS: bool = false;

    fn engine(&mut self) -> Sim {
        self.net.engine()
    }

    fn listener(&mut self) -> (Handle, Address) {
        let address = port(self.next_port);
        self.next_port += 1;
        let listener = self.net.listen(&address).expect("a free address");
        (listener.into_handle(), address)
    }

    fn idle(&mut self, engine: &mut Sim) -> Timestamp {
        self.net.advance();
        engine.now()
    }
}

fn port(number: u16) -> Address {
    Address::Tcp(SocketAddr::from(([10, 0, 0, 1], number)))
}

mod calm {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Weather::new(1, Conditions::calm())));
}

mod rough {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Weather::new(2, Conditions::rough())));
}

/// An echo server on an engine, a client that the test plays, and all that was observed.
fn echo_trace(seed: u64, conditions: Conditions, total: usize) -> Vec<(u64, usize)> {
    let net = Net::with(seed, conditions);
    let mut sim = net.engine();
    let listener = net.listen(&port(1)).expect("a free address");
    sim.listen(listener.into_handle(), 0).expect("a listener");
    let client = net.connect(&port(1));
    client.write(&(0..total).map(|n| n as u8).collect::<Vec<_>>());
    let (mut trace, mut back, mut events) = (Vec::new(), 0, Vec::new());
    for _ in 0..100_000 {
        while let Some(News::Endpoint(_)) = net.news() {
            while let Received::Data(bytes) = client.read(usize::MAX) {
                assert!(bytes.iter().enumerate().all(|(n, b)| *b == (back + n) as u8));
                back += bytes.len();
                trace.push((net.now().as_nanos(), bytes.len()));
            }
        }
        if back == total {
            return trace;
        }
        sim.wait(None, &mut events).expect("a wait");
        for event in events.drain(..) {
            match event {
                Event::Accepted { handle, peer, .. } => {
                    assert_eq!(peer, crate::engine::Peer::Sim(client.id()));
                    let socket = sim.attach(handle, 0).expect("room");
                    sim.read(socket);
                }
                Event::Read { socket, data, .. } => {
                    trace.push((net.now().as_nanos(), data.len()));
                    if sim.write(socket, &data) == crate::engine::Flow::Sent {
                        sim.read(socket);
                    }
                }
                Event::Written { socket, .. } => sim.read(socket),
                other => panic!("unexpected {:?}", other.socket()),
            }
        }
        assert!(net.is_busy() || net.advance(), "seed {seed}: {back} of {total} came back");
    }
    panic!("seed {seed}: no end");
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_one_another() {
    let first = echo_trace(5, Conditions::rough(), 20_000);
    assert_eq!(first, echo_trace(5, Conditions::rough(), 20_000));
    assert_ne!(first, echo_trace(6, Conditions::rough(), 20_000));
}

#[test]
fn every_weather_delivers_every_byte() {
    for seed in 0..300 {
        echo_trace(seed, Conditions::drawn(seed), 2_000);
    }
}

#[test]
fn no_more_than_the_capacity_is_ever_on_its_way() {
    let net = Net::with(9, Conditions { capacity: 1_000, ..Conditions::rough() });
    let listener = net.listen(&port(1)).expect("a free address");
    let client = net.connect(&port(1));
    while net.advance() {}
    let server = listener.accept().expect("a caller");
    client.write(&[7; 5_000]);
    while net.advance() {}
    assert_eq!((client.unsent(), server.unread()), (4_000, 1_000));
    assert_eq!(server.read(300), Received::Data(vec![7; 300]));
    while net.advance() {}
    assert_eq!((client.unsent(), server.unread()), (3_700, 1_000));
}

#[test]
fn an_unreachable_address_never_answers_and_a_silent_end_hears_nothing() {
    let net = Net::new(3);
    let listener = net.listen(&port(1)).expect("a free address");
    net.set_unreachable(&port(1), true);
    let lost = net.connect(&port(1));
    while net.advance() {}
    assert_eq!((lost.phase(), listener.accept().is_none()), (Phase::Connecting, true));
    net.set_unreachable(&port(1), false);
    let client = net.connect(&port(1));
    while net.advance() {}
    let server = listener.accept().expect("a caller");
    assert_eq!(client.phase(), Phase::Open);
    net.silence(client.id());
    server.write(b"hello");
    client.write(b"hello");
    drop(server);
    while net.advance() {}
    assert_eq!((client.read(9), client.phase()), (Received::Nothing, Phase::Open));
}

#[test]
fn a_cut_resets_both_ends_and_closing_with_unread_bytes_the_other() {
    let net = Net::new(3);
    let listener = net.listen(&port(1)).expect("a free address");
    let pair = || {
        let client = net.connect(&port(1));
        while net.advance() {}
        (client, listener.accept().expect("a caller"))
    };
    let (client, server) = pair();
    net.cut(client.id());
    while net.advance() {}
    assert_eq!((client.read(9), server.read(9)), (Received::Reset, Received::Reset));
    assert!(client.is_broken() && server.is_broken());
    let (client, server) = pair();
    client.write(b"unread");
    while net.advance() {}
    drop(server);
    while net.advance() {}
    assert_eq!(client.phase(), Phase::Reset);
}

#[test]
fn timers_and_waits_are_due_in_order_of_time() {
    let net = Net::new(3);
    let mut sim = net.engine();
    let start = net.now();
    let after = |micros| std::time::Duration::from_micros(micros);
    net.timer(after(30), 30);
    net.timer(after(10), 10);
    sim.wait(Some(start + after(20)), &mut Vec::new()).expect("a wait");
    assert!(net.advance() && net.news() == Some(News::Timer(10)));
    assert!(net.advance() && net.now() == start + after(20) && net.is_busy());
    sim.wait(None, &mut Vec::new()).expect("a wait");
    assert!(!net.advance_until(start + after(25)) && net.news().is_none());
    assert!(net.advance() && net.news() == Some(News::Timer(30)));
    assert!(!net.advance() && !net.is_busy());
}

#[test]
fn without_descriptors_accepting_stops_until_resumed() {
    let net = Net::new(3);
    let mut sim = net.engine();
    let listener = net.listen(&port(1)).expect("a free address");
    let listener = sim.listen(listener.into_handle(), 4).expect("a listener");
    let _client = net.connect(&port(1));
    while net.advance() {}
    net.set_exhausted(true);
    let mut events = Vec::new();
    sim.wait(None, &mut events).expect("a wait");
    sim.wait(None, &mut events).expect("a wait");
    assert!(matches!(events[..], [Event::AcceptFailed { token: 4, .. }]));
    net.set_exhausted(false);
    sim.resume_accept(listener);
    events.clear();
    sim.wait(None, &mut events).expect("a wait");
    assert!(matches!(events[..], [Event::Accepted { token: 4, .. }]));
}

/// Not a law: how many short runs fit into a second. Run with `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn runs_per_second() {
    let start = std::time::Instant::now();
    for seed in 0..5_000 {
        echo_trace(seed, Conditions::rough(), 2_000);
    }
    println!("{:.0} echo runs per second", 5_000.0 / start.elapsed().as_secs_f64());
}
