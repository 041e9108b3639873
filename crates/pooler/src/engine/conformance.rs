//! The laws every engine keeps, stated once and run on each.
//!
//! Both ends of each connection are driven by engines, in turns, by one thread: nothing here
//! sleeps, and a round in which nothing happens lets a little time pass.
//! Not here: what only one engine promises (its own file).

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use headpond_core::Timestamp;

use super::{Address, Chunk, Engine, Event, Flow, Socket, SocketOptions, Waker, socket};

mod laws;
pub(super) mod measure;
mod storm;

pub(super) use laws::*;
pub(super) use storm::a_storm_of_everything_keeps_every_byte;

/// Where engines of one kind live: how to make them, and listeners between them.
pub(super) trait World {
    type Engine: Engine;

    /// Whether a wait really waits, for other threads.
    const WAITS: bool;

    /// Returns another engine of this world.
    fn engine(&mut self) -> Self::Engine;

    /// Returns a listener and where to reach it.
    fn listener(&mut self) -> (<Self::Engine as Engine>::Handle, Address);

    /// Lets time pass after a round without events; `engine` is one of those of the round.
    fn idle(&mut self, engine: &mut Self::Engine) -> Timestamp;
}

/// Where real sockets listen.
pub(super) enum Place {
    /// The loopback interface, any port.
    Tcp,
    /// The abstract namespace, which leaves no files; the number of names used so far.
    Unix(u32),
}

impl Place {
    pub(super) fn unix() -> Self {
        Self::Unix(0)
    }

    pub(super) fn listener(&mut self) -> (OwnedFd, Address) {
        match self {
            Self::Tcp => {
                let any = SocketAddr::from(([127, 0, 0, 1], 0));
                let listener = socket::listen_tcp(any, 512, false).expect("a listener");
                let addr = socket::local_addr(&listener).expect("a socket").expect("a TCP one");
                (listener, Address::Tcp(addr))
            }
            Self::Unix(used) => {
                *used += 1;
                let (process, thread) = (std::process::id(), std::thread::current().id());
                let path = PathBuf::from(format!("@headpond-{process}-{thread:?}-{used}"));
                let listener = socket::listen_unix(&path, 0o600, None).expect("a listener");
                (listener, Address::Unix(path))
            }
        }
    }
}

/// Returns how long a round may last in which nothing happens.
pub(super) fn soon<E: Engine>(engine: &mut E) -> Timestamp {
    engine.now() + Duration::from_millis(2)
}

/// Checks an engine with a listener on which accepting fails: a bound socket that does not
/// listen fails each time, as any does while descriptors are lacking.
pub(super) fn check_unable_listener<E: Engine<Handle = OwnedFd>>(engine: &mut E) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let listener = engine.listen(socket.into(), LISTENER).expect("watched");
    for _ in 0..3 {
        let (mut events, mut waits) = (Vec::new(), 0);
        let until = engine.now() + Duration::from_millis(15);
        while engine.now() < until {
            engine.wait(Some(until), &mut events).expect("a wait");
            waits += 1;
        }
        assert!(matches!(&events[..], [Event::AcceptFailed { token: LISTENER, .. }]));
        assert!(waits < 6, "{waits} waits");
        engine.resume_accept(listener);
    }
    engine.close(listener);
}

type Happened<E> = Event<<E as Engine>::Handle>;

/// A round limit that no correct engine comes near.
const ROUNDS: usize = 20_000;

/// Turns all engines until `done` says so; `handle` gets every event with its engine's number.
fn run<W: World>(
    world: &mut W,
    engines: &mut [W::Engine],
    mut handle: impl FnMut(&mut [W::Engine], usize, Happened<W::Engine>),
    mut done: impl FnMut() -> bool,
) {
    let mut events = Vec::new();
    let mut until = None;
    for _ in 0..ROUNDS {
        if done() {
            return;
        }
        let mut quiet = true;
        for n in 0..engines.len() {
            let now = engines[n].now();
            engines[n].wait(Some(until.take().unwrap_or(now)), &mut events).expect("a wait");
            for event in events.drain(..) {
                quiet = false;
                handle(engines, n, event);
            }
        }
        if quiet {
            until = Some(world.idle(&mut engines[0]));
        }
    }
    panic!("nothing led to the end in {ROUNDS} rounds");
}

/// Runs a fixed number of rounds, to see what does not happen.
fn settle<W: World>(world: &mut W, engines: &mut [W::Engine]) -> Vec<Happened<W::Engine>> {
    let mut seen = Vec::new();
    let mut rounds = 0;
    let counted = || {
        rounds += 1;
        rounds > 12
    };
    run(world, engines, |_, _, event| seen.push(event), counted);
    seen
}

/// Connects through the first engine and attaches in the last; returns both ends.
fn join<W: World>(world: &mut W, engines: &mut [W::Engine]) -> (Socket, Socket) {
    let (listener, address) = world.listener();
    let last = engines.len() - 1;
    let listening = engines[last].listen(listener, LISTENER).expect("a listener");
    let (client, server) = join_to(world, engines, &address);
    engines[last].close(listening);
    (client, server)
}

pub(super) fn join_to<W: World>(
    world: &mut W,
    engines: &mut [W::Engine],
    address: &Address,
) -> (Socket, Socket) {
    let options = SocketOptions::default();
    let client = engines[0].connect(address, &options, CLIENT).expect("a socket");
    let last = engines.len() - 1;
    let found = std::cell::Cell::new((false, None));
    let handle = |engines: &mut [W::Engine], _, event: Happened<W::Engine>| match event {
        Event::Connected { socket, result, .. } if socket == client => {
            result.expect("a connection");
            found.set((true, found.get().1));
        }
        Event::Accepted { handle, .. } => {
            let socket = engines[last].attach(handle, SERVER).expect("room for one more");
            found.set((found.get().0, Some(socket)));
        }
        other => panic!("unexpected {:?}", Named::of(&other)),
    };
    run(world, engines, handle, || matches!(found.get(), (true, Some(_))));
    (client, found.get().1.expect("found above"))
}

const LISTENER: u64 = 1;
const CLIENT: u64 = 2;
const SERVER: u64 = 3;

/// What to say of an event in a panic, whatever its handle is.
#[derive(Debug)]
#[allow(dead_code, reason = "shown by Debug")]
enum Named<'a> {
    Connected(Socket, &'a io::Result<()>),
    Read(Socket, usize),
    ReadFailed(Socket, &'a io::Error),
    Written(Socket, &'a io::Result<()>),
    AcceptFailed(&'a io::Error),
    Accepted,
    Woken,
}

impl<'a> Named<'a> {
    fn of<H>(event: &'a Event<H>) -> Self {
        match event {
            Event::Connected { socket, result, .. } => Self::Connected(*socket, result),
            Event::Read { socket, data, .. } => Self::Read(*socket, data.len()),
            Event::ReadFailed { socket, error, .. } => Self::ReadFailed(*socket, error),
            Event::Written { socket, result, .. } => Self::Written(*socket, result),
            Event::AcceptFailed { error, .. } => Self::AcceptFailed(error),
            Event::Accepted { .. } => Self::Accepted,
            Event::Woken => Self::Woken,
        }
    }
}

/// Bytes whose value tells their place, so that any loss or swap shows.
fn pattern(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(pattern_byte).collect()
}

fn pattern_byte(place: usize) -> u8 {
    let mixed = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8
}

#[track_caller]
fn check_pattern(from: usize, data: &Chunk) {
    for (n, byte) in data.iter().enumerate() {
        assert_eq!(*byte, pattern_byte(from + n), "byte {}", from + n);
    }
}

/// A small generator, for sizes: the same each run.
struct Sizes(u64);

impl Sizes {
    fn next(&mut self, max: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) as usize % max + 1
    }
}

/// Declares each law as a test of its own, in a fresh world.
macro_rules! keeps_the_laws {
    ($world:expr) => {
        crate::engine::conformance::keeps_the_laws! { $world,
            an_echo_returns_every_byte_in_order,
            a_read_that_is_not_armed_holds_the_writer_back,
            a_read_is_delivered_once_per_arming,
            the_end_of_a_stream_is_told_once_after_its_last_byte,
            half_a_connection_ends_after_what_was_written,
            a_reset_reaches_the_reader_and_the_writer,
            a_connection_moves_between_engines_with_what_waits_in_it,
            a_blocked_connection_does_not_move,
            a_wake_ends_the_wait_before_or_during_it,
            each_of_many_connections_gets_its_own_bytes,
            nobody_listening_is_a_refusal,
            a_closed_socket_is_never_heard_of_again,
            a_closed_name_does_nothing,
            a_paused_listener_accepts_when_it_resumes,
            a_wait_lasts_as_long_as_asked,
            bytes_written_before_the_connection_stands_follow_it,
            a_chunk_keeps_its_bytes_while_others_come,
            a_token_changes_for_events_to_come,
            a_pair_arrives_as_head_and_tail,
            bytes_sent_before_close_arrive,
            connections_at_rest_do_not_end_a_wait,
            a_storm_of_everything_keeps_every_byte,
        }
    };
    ($world:expr, $($law:ident,)*) => { $(
        #[test]
        fn $law() {
            if let Some(mut world) = $world {
                crate::engine::conformance::$law(&mut world);
            }
        }
    )* };
}

pub(super) use keeps_the_laws;
