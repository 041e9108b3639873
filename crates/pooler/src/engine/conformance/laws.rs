//! The laws themselves, one function each.

use super::*;

fn two<W: World>(world: &mut W) -> Vec<W::Engine> {
    vec![world.engine(), world.engine()]
}

pub(in crate::engine) fn an_echo_returns_every_byte_in_order<W: World>(world: &mut W) {
    const TOTAL: usize = 600_000;
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let mut sizes = Sizes(7);
    let (mut sent, back) = (0, std::cell::Cell::new(0));
    let mut owed: Vec<u8> = Vec::new();
    let (mut client_free, mut server_free) = (true, true);
    engines[0].read(client);
    engines[1].read(server);
    let mut produce = |engine: &mut W::Engine, free: &mut bool| {
        while *free && sent < TOTAL {
            let len = sizes.next(9_000).min(TOTAL - sent);
            *free = engine.write(client, &pattern(sent, len)) == Flow::Sent;
            sent += len;
        }
    };
    produce(&mut engines[0], &mut client_free);
    run(
        world,
        &mut engines,
        |engines, _, event| match event {
            Event::Read { socket, data, .. } if socket == client => {
                check_pattern(back.get(), &data);
                back.set(back.get() + data.len());
                engines[0].read(client);
            }
            Event::Read { socket, data, .. } if socket == server => {
                if server_free {
                    server_free = engines[1].write(server, &data) == Flow::Sent;
                    engines[1].read(server);
                } else {
                    owed.extend_from_slice(&data);
                }
            }
            Event::Written { socket, result, .. } => {
                result.expect("both ends live");
                if socket == client {
                    client_free = true;
                    produce(&mut engines[0], &mut client_free);
                } else {
                    server_free = owed.is_empty()
                        || engines[1].write(server, &std::mem::take(&mut owed)) == Flow::Sent;
                    engines[1].read(server);
                }
            }
            other => panic!("unexpected {:?}", Named::of(&other)),
        },
        || back.get() == TOTAL,
    );
}

pub(in crate::engine) fn a_read_that_is_not_armed_holds_the_writer_back<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let sent = fill(&mut engines[0], client);
    assert!(engines[0].unsent(client) > 0);
    assert!(settle(world, &mut engines).is_empty(), "nobody armed a read");
    let more = pattern(sent, 10_000);
    assert_eq!(engines[0].write(client, &more), Flow::Blocked);
    let total = sent + more.len();
    let (came, flushed) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
    engines[1].read(server);
    run(
        world,
        &mut engines,
        |engines, _, event| match event {
            Event::Read { data, .. } => {
                check_pattern(came.get(), &data);
                came.set(came.get() + data.len());
                engines[1].read(server);
            }
            Event::Written { socket, result, .. } => {
                assert_eq!((socket, result.is_ok()), (client, true));
                assert_eq!(engines[0].unsent(client), 0);
                flushed.set(flushed.get() + 1);
            }
            other => panic!("unexpected {:?}", Named::of(&other)),
        },
        || came.get() == total && flushed.get() == 1,
    );
    assert_eq!(engines[0].write(client, b"again"), Flow::Sent);
}

/// Writes the pattern until the peer does not follow any more; returns how much.
fn fill<E: Engine>(engine: &mut E, socket: Socket) -> usize {
    let mut sent = 0;
    loop {
        let piece = pattern(sent, 50_000);
        let flow = engine.write(socket, &piece);
        sent += piece.len();
        match flow {
            Flow::Sent => assert!(sent < 1 << 28, "a writer is held back some day"),
            Flow::Blocked => return sent,
            Flow::Broken => panic!("the peer lives"),
        }
    }
}

pub(in crate::engine) fn a_read_is_delivered_once_per_arming<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    engines[1].read(server);
    engines[1].read(server);
    assert!(engines[1].is_armed(server));
    assert_eq!(engines[0].write(client, b"a"), Flow::Sent);
    let seen = settle(world, &mut engines);
    assert!(matches!(&seen[..], [Event::Read { data, .. }] if **data == *b"a"));
    assert!(!engines[1].is_armed(server));
    assert_eq!(engines[0].write(client, b"b"), Flow::Sent);
    assert!(settle(world, &mut engines).is_empty());
    engines[1].read(server);
    let seen = settle(world, &mut engines);
    assert!(matches!(&seen[..], [Event::Read { data, .. }] if **data == *b"b"));
}

/// Reads all that comes until the end or an error; returns the number of bytes.
fn read_to_end<W: World>(
    world: &mut W,
    engines: &mut [W::Engine],
    reader: usize,
    socket: Socket,
) -> Result<usize, io::ErrorKind> {
    let (came, end) = (std::cell::Cell::new(0), std::cell::Cell::new(None));
    engines[reader].read(socket);
    run(
        world,
        engines,
        |engines, _, event| match event {
            Event::Read { socket: of, data, .. } if of == socket => {
                check_pattern(came.get(), &data);
                came.set(came.get() + data.len());
                if data.is_empty() {
                    end.set(Some(Ok(came.get())));
                }
                engines[reader].read(socket);
            }
            Event::ReadFailed { socket: of, error, .. } if of == socket => {
                end.set(Some(Err(error.kind())));
            }
            Event::Written { .. } => {}
            other => panic!("unexpected {:?}", Named::of(&other)),
        },
        || end.get().is_some(),
    );
    end.get().expect("the end came")
}

pub(in crate::engine) fn the_end_of_a_stream_is_told_once_after_its_last_byte<W: World>(
    world: &mut W,
) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    assert_eq!(engines[0].write(client, &pattern(0, 3_000)), Flow::Sent);
    assert!(settle(world, &mut engines).is_empty());
    engines[0].close(client);
    assert_eq!(read_to_end(world, &mut engines, 1, server), Ok(3_000));
    engines[1].read(server);
    assert!(settle(world, &mut engines).is_empty());
}

pub(in crate::engine) fn half_a_connection_ends_after_what_was_written<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let sent = fill(&mut engines[0], client);
    engines[0].shutdown_write(client);
    assert_eq!(read_to_end(world, &mut engines, 1, server), Ok(sent));
    assert_eq!(engines[1].write(server, &pattern(0, 300)), Flow::Sent);
    engines[1].shutdown_write(server);
    assert_eq!(read_to_end(world, &mut engines, 0, client), Ok(300));
}

pub(in crate::engine) fn a_reset_reaches_the_reader_and_the_writer<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    engines[0].read(client);
    // Closing with unread bytes is an abort, not an end.
    assert_eq!(engines[0].write(client, b"never read"), Flow::Sent);
    assert!(settle(world, &mut engines).is_empty());
    engines[1].close(server);
    let seen = settle(world, &mut engines);
    let [Event::ReadFailed { error, .. }] = &seen[..] else {
        panic!("expected a failure of {} events", seen.len());
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    for _ in 0..100 {
        if engines[0].write(client, b"anyone there") == Flow::Broken {
            return;
        }
        let failed = |e: &Event<_>| matches!(e, Event::Written { result: Err(_), .. });
        if settle(world, &mut engines).iter().any(failed) {
            assert_eq!(engines[0].write(client, b"sure"), Flow::Broken);
            return;
        }
    }
    panic!("a writer must hear that the peer is gone");
}

pub(in crate::engine) fn a_connection_moves_between_engines_with_what_waits_in_it<W: World>(
    world: &mut W,
) {
    let mut engines = vec![world.engine(), world.engine(), world.engine()];
    let (client, server) = join(world, &mut engines);
    let (mut came, mut home, mut server) = (0, 2, server);
    for round in 0..20 {
        // Half of the time with an armed read, which the move forgets.
        if round % 2 == 0 {
            engines[home].read(server);
            assert!(settle(world, &mut engines).is_empty());
        } else {
            assert_eq!(engines[0].write(client, &pattern(came, 900)), Flow::Sent);
            assert!(settle(world, &mut engines).is_empty());
        }
        let handle = engines[home].detach(server).expect("nothing in flight");
        assert_eq!(engines[home].write(server, b"stale"), Flow::Broken);
        home = 3 - home;
        server = engines[home].attach(handle, SERVER + round).expect("room for one more");
        if round % 2 == 0 {
            assert_eq!(engines[0].write(client, &pattern(came, 900)), Flow::Sent);
        }
        let goal = came + 900;
        let place = std::cell::Cell::new(came);
        engines[home].read(server);
        run(
            world,
            &mut engines,
            |engines, n, event| {
                let Event::Read { token, socket, data } = event else {
                    panic!("unexpected {:?}", Named::of(&event));
                };
                assert_eq!((n, token, socket), (home, SERVER + round, server));
                check_pattern(place.get(), &data);
                place.set(place.get() + data.len());
                if place.get() < goal {
                    engines[n].read(server);
                }
            },
            || place.get() == goal,
        );
        came = goal;
    }
}

pub(in crate::engine) fn a_blocked_connection_does_not_move<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let sent = fill(&mut engines[0], client);
    assert!(engines[0].detach(client).is_none());
    engines[0].shutdown_write(client);
    assert_eq!(read_to_end(world, &mut engines, 1, server), Ok(sent));
}

pub(in crate::engine) fn a_wake_ends_the_wait_before_or_during_it<W: World>(world: &mut W) {
    let mut engine = world.engine();
    let waker = engine.waker();
    let mut events = Vec::new();
    waker.wake();
    waker.wake();
    engine.wait(None, &mut events).expect("a wait");
    assert!(matches!(events[..], [Event::Woken]));
    for _ in 0..if W::WAITS { 200 } else { 0 } {
        let waker = waker.clone();
        let thread = std::thread::spawn(move || waker.wake());
        events.clear();
        for _ in 0..ROUNDS {
            if !events.is_empty() {
                break;
            }
            let soon = engine.now() + std::time::Duration::from_secs(5);
            engine.wait(Some(soon), &mut events).expect("a wait");
        }
        assert!(matches!(events[..], [Event::Woken]));
        thread.join().expect("a thread that only wakes");
    }
}

pub(in crate::engine) fn each_of_many_connections_gets_its_own_bytes<W: World>(world: &mut W) {
    const MANY: usize = 300;
    let mut engines = two(world);
    let (listener, address) = world.listener();
    engines[1].listen(listener, LISTENER).expect("a listener");
    let pairs: Vec<_> = (0..MANY).map(|_| join_to(world, &mut engines, &address)).collect();
    for (n, (client, server)) in pairs.iter().enumerate() {
        engines[1].set_token(*server, n as u64);
        engines[1].read(*server);
        assert_eq!(engines[0].write(*client, &pattern(n, 700)), Flow::Sent);
    }
    let mut places = vec![0; MANY];
    let left = std::cell::Cell::new(MANY);
    run(
        world,
        &mut engines,
        |engines, _, event| {
            let Event::Read { token, socket, data } = event else {
                panic!("unexpected {:?}", Named::of(&event));
            };
            let n = token as usize;
            assert_eq!(socket, pairs[n].1);
            check_pattern(n + places[n], &data);
            places[n] += data.len();
            if places[n] == 700 {
                left.set(left.get() - 1);
            }
            engines[1].read(socket);
        },
        || left.get() == 0,
    );
}

pub(in crate::engine) fn nobody_listening_is_a_refusal<W: World>(world: &mut W) {
    let mut engines = vec![world.engine()];
    let (listener, address) = world.listener();
    drop(listener);
    let options = SocketOptions::default();
    let socket = engines[0].connect(&address, &options, CLIENT).expect("told later");
    let seen = settle(world, &mut engines);
    let [Event::Connected { token: CLIENT, socket: of, result: Err(error) }] = &seen[..] else {
        panic!("expected a refusal of {} events", seen.len());
    };
    assert_eq!((*of, error.kind()), (socket, io::ErrorKind::ConnectionRefused));
    engines[0].read(socket);
    assert_eq!(engines[0].write(socket, b"x"), Flow::Broken);
    assert!(settle(world, &mut engines).is_empty());
    engines[0].close(socket);
}

pub(in crate::engine) fn a_closed_socket_is_never_heard_of_again<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    engines[1].read(server);
    assert_eq!(engines[0].write(client, b"too late"), Flow::Sent);
    engines[1].close(server);
    engines[0].close(client);
    let (_listener, address) = world.listener();
    let options = SocketOptions::default();
    let socket = engines[0].connect(&address, &options, CLIENT).expect("a socket");
    engines[0].close(socket);
    // The slots are taken anew: events of the old ones must not be mistaken for theirs.
    let (client, server) = join(world, &mut engines);
    engines[0].read(client);
    engines[1].read(server);
    assert!(settle(world, &mut engines).is_empty());
}

pub(in crate::engine) fn a_closed_name_does_nothing<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    engines[1].close(server);
    engines[1].close(server);
    engines[1].read(server);
    engines[1].shutdown_write(server);
    engines[1].set_token(server, 9);
    engines[1].pause_accept(server);
    engines[1].resume_accept(server);
    assert_eq!(engines[1].write(server, b"x"), Flow::Broken);
    assert_eq!(engines[1].unsent(server), 0);
    assert!(!engines[1].is_armed(server));
    assert!(engines[1].detach(server).is_none());
    assert_eq!(read_to_end(world, &mut engines, 0, client), Ok(0));
}

pub(in crate::engine) fn a_paused_listener_accepts_when_it_resumes<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (listener, address) = world.listener();
    let listening = engines[1].listen(listener, LISTENER).expect("a listener");
    engines[1].pause_accept(listening);
    engines[1].pause_accept(listening);
    settle(world, &mut engines);
    let options = SocketOptions::default();
    engines[0].connect(&address, &options, CLIENT).expect("a socket");
    let seen = settle(world, &mut engines);
    assert!(!seen.iter().any(|e| matches!(e, Event::Accepted { .. })));
    engines[1].resume_accept(listening);
    engines[1].resume_accept(listening);
    let seen = settle(world, &mut engines);
    assert_eq!(seen.iter().filter(|e| matches!(e, Event::Accepted { .. })).count(), 1);
    // A listener moves like a connection.
    let handle = engines[1].detach(listening).expect("a listener moves");
    engines[0].listen(handle, LISTENER).expect("a listener");
    engines[1].connect(&address, &options, CLIENT).expect("a socket");
    let seen = settle(world, &mut engines);
    assert_eq!(seen.iter().filter(|e| matches!(e, Event::Accepted { .. })).count(), 1);
}

pub(in crate::engine) fn a_wait_lasts_as_long_as_asked<W: World>(world: &mut W) {
    let mut engines = [world.engine()];
    for micros in [50, 700, 2_300] {
        let until = engines[0].now() + std::time::Duration::from_micros(micros);
        let mut events = Vec::new();
        for _ in 0..ROUNDS {
            if engines[0].now() >= until {
                break;
            }
            engines[0].wait(Some(until), &mut events).expect("a wait");
            world.idle(&mut engines[0]);
            assert!(events.is_empty());
        }
        assert!(engines[0].now() >= until);
    }
}

pub(in crate::engine) fn bytes_written_before_the_connection_stands_follow_it<W: World>(
    world: &mut W,
) {
    let mut engines = two(world);
    let (listener, address) = world.listener();
    engines[1].listen(listener, LISTENER).expect("a listener");
    let options = SocketOptions::default();
    let client = engines[0].connect(&address, &options, CLIENT).expect("a socket");
    assert_ne!(engines[0].write(client, &pattern(0, 100)), Flow::Broken);
    assert_ne!(engines[0].write(client, &pattern(100, 100)), Flow::Broken);
    engines[0].shutdown_write(client);
    let (came, end) = (std::cell::Cell::new(0), std::cell::Cell::new(false));
    run(
        world,
        &mut engines,
        |engines, _, event| match event {
            Event::Accepted { handle, .. } => {
                let server = engines[1].attach(handle, SERVER).expect("room for one more");
                engines[1].read(server);
            }
            Event::Read { socket, data, .. } => {
                check_pattern(came.get(), &data);
                came.set(came.get() + data.len());
                end.set(data.is_empty());
                engines[1].read(socket);
            }
            Event::Connected { result, .. } | Event::Written { result, .. } => {
                result.expect("somebody listens");
            }
            other => panic!("unexpected {:?}", Named::of(&other)),
        },
        || end.get(),
    );
    assert_eq!(came.get(), 200);
}

pub(in crate::engine) fn a_chunk_keeps_its_bytes_while_others_come<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let kept = std::cell::RefCell::new(Vec::new());
    let mut sent = 0;
    engines[1].read(server);
    for _ in 0..200 {
        assert_ne!(engines[0].write(client, &pattern(sent, 3_000)), Flow::Broken);
        sent += 3_000;
        run(
            world,
            &mut engines,
            |engines, _, event| {
                if let Event::Read { data, .. } = event {
                    kept.borrow_mut().push(data);
                    engines[1].read(server);
                }
            },
            || kept.borrow().iter().map(|chunk| chunk.len()).sum::<usize>() == sent,
        );
        // Old ones are let go only in part, so that memory cannot start over.
        let mut chunks = kept.borrow_mut();
        let mut place = 0;
        for chunk in chunks.iter() {
            check_pattern(place, chunk);
            place += chunk.len();
        }
        if chunks.len() > 40 {
            sent = 0;
            chunks.clear();
        }
    }
}

pub(in crate::engine) fn a_token_changes_for_events_to_come<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    engines[1].read(server);
    assert_eq!(engines[0].write(client, b"a"), Flow::Sent);
    engines[1].set_token(server, 77);
    let seen = settle(world, &mut engines);
    assert!(matches!(&seen[..], [Event::Read { token: 77, .. }]));
}

pub(in crate::engine) fn a_pair_arrives_as_head_and_tail<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    let mut sizes = Sizes(3);
    let mut sent = 0;
    loop {
        let (head, tail) = (sizes.next(40_000), sizes.next(40_000));
        let (first, second) = (pattern(sent, head), pattern(sent + head, tail));
        sent += head + tail;
        if engines[0].write_pair(client, &first, &second) == Flow::Blocked {
            break;
        }
    }
    engines[0].shutdown_write(client);
    assert_eq!(read_to_end(world, &mut engines, 1, server), Ok(sent));
}

pub(in crate::engine) fn bytes_sent_before_close_arrive<W: World>(world: &mut W) {
    let mut engines = two(world);
    for _ in 0..20 {
        let (client, server) = join(world, &mut engines);
        engines[0].read(client);
        assert_eq!(engines[0].write(client, &pattern(0, 2_000)), Flow::Sent);
        assert_eq!(engines[0].write(client, &pattern(2_000, 200)), Flow::Sent);
        engines[0].close(client);
        assert_eq!(read_to_end(world, &mut engines, 1, server), Ok(2_200));
        engines[1].close(server);
    }
}

pub(in crate::engine) fn connections_at_rest_do_not_end_a_wait<W: World>(world: &mut W) {
    let mut engines = two(world);
    let (client, server) = join(world, &mut engines);
    for _ in 0..3 {
        // Bytes went both ways, and now both ends listen.
        engines[1].read(server);
        assert_eq!(engines[0].write(client, b"ping"), Flow::Sent);
        assert_eq!(settle(world, &mut engines).len(), 1);
        engines[0].read(client);
        assert_eq!(engines[1].write(server, b"pong"), Flow::Sent);
        assert_eq!(settle(world, &mut engines).len(), 1);
    }
    engines[0].read(client);
    engines[1].read(server);
    settle(world, &mut engines);
    if W::WAITS {
        for engine in &mut engines {
            let until = engine.now() + Duration::from_millis(20);
            let mut events = Vec::new();
            engine.wait(Some(until), &mut events).expect("a wait");
            assert!(events.is_empty() && engine.now() >= until);
        }
    }
}
