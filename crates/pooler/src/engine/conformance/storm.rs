//! One law: whatever is done to connections, in whatever order, none loses a byte.
//!
//! Connections between two sides of two engines each are written to, read, held back, moved and
//! half closed at random; every byte tells its place.

use super::*;

const CONNECTIONS: usize = 12;
const STEPS: usize = 250;

/// One direction of one connection, as its two ends saw it.
#[derive(Default)]
struct Way {
    written: usize,
    read: usize,
    is_blocked: bool,
    is_finished: bool,
    is_over: bool,
}

/// One end: which engine has it, and under what name.
#[derive(Clone, Copy)]
struct Place {
    engine: usize,
    socket: Socket,
}

struct Storm<'w, W: World> {
    world: &'w mut W,
    engines: Vec<W::Engine>,
    /// Both ends of each connection, by token: connection times two plus side.
    places: Vec<Place>,
    /// The direction that starts at the end with this token.
    ways: Vec<Way>,
    dice: Sizes,
}

pub(in crate::engine) fn a_storm_of_everything_keeps_every_byte<W: World>(world: &mut W) {
    for seed in 1..=if W::WAITS { 4 } else { 8 } {
        let mut storm = Storm::open(world, seed);
        for _ in 0..STEPS {
            storm.act();
            storm.turn();
        }
        storm.calm_down();
        for (end, way) in storm.ways.iter().enumerate() {
            assert!(way.is_over, "seed {seed}: end {end} never finished");
            assert_eq!(way.read, way.written, "seed {seed}: what end {end} sent");
        }
    }
}

impl<'w, W: World> Storm<'w, W> {
    fn open(world: &'w mut W, seed: u64) -> Self {
        let mut engines: Vec<_> = (0..4).map(|_| world.engine()).collect();
        let (listener, address) = world.listener();
        let listening = engines[3].listen(listener, LISTENER).expect("a listener");
        let (mut places, mut ways) = (Vec::new(), Vec::new());
        for _ in 0..CONNECTIONS {
            let (client, server) = join_to(world, &mut engines, &address);
            for (engine, socket) in [(0, client), (3, server)] {
                engines[engine].set_token(socket, places.len() as u64);
                places.push(Place { engine, socket });
                ways.push(Way::default());
            }
        }
        engines[3].close(listening);
        Self { world, engines, places, ways, dice: Sizes(seed) }
    }

    fn act(&mut self) {
        for _ in 0..self.dice.next(6) {
            let end = self.dice.next(self.places.len()) - 1;
            match self.dice.next(20) {
                1..=9 => self.write(end),
                10..=16 => self.arm(end),
                17..=19 => self.relocate(end),
                _ => {
                    if self.dice.next(10) == 1 {
                        self.finish(end);
                    }
                }
            }
        }
    }

    fn write(&mut self, end: usize) {
        let max = if self.dice.next(8) == 1 { 60_000 } else { 3_000 };
        let len = self.dice.next(max);
        let (place, way) = (self.places[end], &mut self.ways[end]);
        if way.is_finished || way.is_blocked {
            return;
        }
        let bytes = pattern(way.written, len);
        way.written += len;
        let split = len / 3;
        let (head, tail) = bytes.split_at(split);
        match self.engines[place.engine].write_pair(place.socket, head, tail) {
            Flow::Sent => {}
            Flow::Blocked => way.is_blocked = true,
            Flow::Broken => panic!("both ends live"),
        }
    }

    fn arm(&mut self, end: usize) {
        let place = self.places[end];
        self.engines[place.engine].read(place.socket);
    }

    fn finish(&mut self, end: usize) {
        let place = self.places[end];
        if !std::mem::replace(&mut self.ways[end].is_finished, true) {
            self.engines[place.engine].shutdown_write(place.socket);
        }
    }

    /// Moves an end between the two engines of its side, if it may move.
    fn relocate(&mut self, end: usize) {
        let Place { engine, socket } = self.places[end];
        if let Some(handle) = self.engines[engine].detach(socket) {
            let engine = engine ^ 1;
            let socket = self.engines[engine].attach(handle, end as u64).expect("room");
            self.places[end] = Place { engine, socket };
        }
    }

    fn turn(&mut self) -> bool {
        let mut quiet = true;
        for engine in 0..self.engines.len() {
            let (now, mut events) = (self.engines[engine].now(), Vec::new());
            self.engines[engine].wait(Some(now), &mut events).expect("a wait");
            for event in events {
                quiet = false;
                self.handle(engine, &event);
            }
        }
        if quiet {
            self.world.idle(&mut self.engines[0]);
        }
        quiet
    }

    fn handle(&mut self, engine: usize, event: &Happened<W::Engine>) {
        match event {
            Event::Read { token, socket, data } => {
                let end = *token as usize;
                let place = self.places[end];
                assert_eq!((place.engine, place.socket), (engine, *socket));
                let way = &mut self.ways[end ^ 1];
                // The end is told once by each engine.
                assert!(!way.is_over || data.is_empty());
                check_pattern(way.read, data);
                way.read += data.len();
                way.is_over = data.is_empty();
            }
            Event::Written { token, result, .. } => {
                assert!(result.is_ok(), "both ends live");
                let way = &mut self.ways[*token as usize];
                assert!(way.is_blocked, "told only after it was said");
                way.is_blocked = false;
            }
            other => panic!("unexpected {:?}", Named::of(other)),
        }
    }

    /// Ends every direction and reads until all are over.
    fn calm_down(&mut self) {
        for end in 0..self.places.len() {
            self.finish(end);
        }
        for _ in 0..ROUNDS {
            if self.ways.iter().all(|way| way.is_over) {
                return;
            }
            for end in 0..self.places.len() {
                self.arm(end);
            }
            self.turn();
        }
    }
}
