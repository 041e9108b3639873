//! What the relay costs: no allocation once it is warm, and nanoseconds per message.
//!
//! Not here: a bound on the time, which depends on the machine. `cargo test --release --test
//! session_cost -- --nocapture` prints it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use headpond_wire::session::{
    ClientState, Context, Interner, Linked, Mode, Parameters, ServerState, Settings, Staged,
    Statement, Step, Tracked, from_client, from_server, link, part,
};
use headpond_wire::{Status, backend, frontend};

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct One(Arc<Statement>);

impl Interner for One {
    fn intern(&self, _: &[u8]) -> Arc<Statement> {
        Arc::clone(&self.0)
    }
}

struct Pair {
    c: ClientState,
    s: ServerState,
    settings: Settings,
    statements: One,
    staged: Staged,
    calls: u64,
}

impl Pair {
    fn new(share_unnamed: bool) -> Self {
        let tracked = Tracked::standard();
        let values = [(&b"TimeZone"[..], &b"UTC"[..])];
        Self {
            c: ClientState::new(Parameters::new(&tracked, values)),
            s: ServerState::new(&tracked, values, Status::Idle),
            settings: Settings {
                mode: Mode::Transaction,
                statements_max: 100,
                share_unnamed,
                simple_query_allowed: true,
                message_max: 0,
                statement_bytes_max: 1 << 20,
            },
            statements: One(Arc::new(Statement::new(1, *b"select $1\0\0\0"))),
            staged: Staged::default(),
            calls: 0,
        }
    }

    /// One exchange: link, all of the client's bytes, all of the server's, part.
    fn exchange(&mut self, asked: &[u8], answered: &[u8]) {
        let Self { c, s, settings, statements, staged, calls } = self;
        let mut cx = Context { settings, statements, staged };
        assert_eq!(link(c, s, &mut cx), Linked::Ready);
        let mut at = 0;
        while at < asked.len() {
            *calls += 1;
            match from_client(c, Some(s), &asked[at..], &mut cx) {
                Ok(Step::Forward(n) | Step::Swallow(n)) => at += n,
                other => panic!("{other:?}"),
            }
        }
        at = 0;
        while at < answered.len() {
            *calls += 1;
            match from_server(s, Some(c), &answered[at..], &mut cx) {
                Ok(Step::Forward(n) | Step::Swallow(n)) => at += n,
                other => panic!("{other:?}"),
            }
        }
        assert!(s.is_settled());
        part(c, s);
        cx.staged.to_server.clear();
        cx.staged.to_client.clear();
    }
}

struct Case {
    name: &'static str,
    messages: u32,
    share_unnamed: bool,
    first: (Vec<u8>, Vec<u8>),
    asked: Vec<u8>,
    answered: Vec<u8>,
}

fn bytes(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn rows(out: &mut Vec<u8>, count: usize) {
    for _ in 0..count {
        backend::data_row(out, &[Some(b"1"), Some(b"some text")]);
    }
    backend::command_complete(out, b"SELECT 1");
    backend::ready_for_query(out, Status::Idle);
}

fn cases() -> Vec<Case> {
    let columns = [backend::Column::text(b"a"), backend::Column::text(b"b")];
    let simple = |count| {
        bytes(|out| {
            backend::row_description(out, &columns);
            rows(out, count);
        })
    };
    let use_it = |out: &mut Vec<u8>, name: &[u8]| {
        frontend::bind_text(out, b"", name, &[Some(b"17")]);
        frontend::describe(out, frontend::Target::Portal, b"");
        frontend::execute(out, b"", 0);
        frontend::sync(out);
    };
    let used = |out: &mut Vec<u8>| {
        backend::bind_complete(out);
        backend::row_description(out, &columns);
        rows(out, 1);
    };
    let query = bytes(|out| frontend::query(out, b"select 1, 'some text'"));
    let prepare = bytes(|out| {
        frontend::parse(out, b"s1", b"select $1", &[]);
        frontend::sync(out);
    });
    let prepared = bytes(|out| {
        backend::parse_complete(out);
        backend::ready_for_query(out, Status::Idle);
    });
    let unnamed = bytes(|out| {
        frontend::parse(out, b"", b"select $1", &[]);
        use_it(out, b"");
    });
    let parsed_and_used = bytes(|out| {
        backend::parse_complete(out);
        used(out);
    });
    let case = |name, messages, asked: &Vec<u8>, answered| Case {
        name,
        messages,
        share_unnamed: false,
        first: (asked.clone(), Vec::clone(&answered)),
        asked: asked.clone(),
        answered,
    };
    vec![
        case("simple query, 1 row", 5, &query, simple(1)),
        case("simple query, 100 rows", 104, &query, simple(100)),
        case("unnamed extended query", 11, &unnamed, parsed_and_used.clone()),
        Case {
            name: "prepared statement",
            messages: 9,
            share_unnamed: false,
            first: (prepare, prepared),
            asked: bytes(|out| use_it(out, b"s1")),
            answered: bytes(used),
        },
        Case {
            name: "shared unnamed query",
            messages: 10,
            share_unnamed: true,
            first: (unnamed.clone(), parsed_and_used),
            asked: unnamed,
            answered: bytes(used),
        },
    ]
}

#[test]
fn nothing_is_allocated_once_the_relay_is_warm() {
    for case in cases() {
        let mut pair = Pair::new(case.share_unnamed);
        pair.exchange(&case.first.0, &case.first.1);
        for _ in 0..10 {
            pair.exchange(&case.asked, &case.answered);
        }
        let before = ALLOCATIONS.get();
        for _ in 0..1000 {
            pair.exchange(&case.asked, &case.answered);
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "{}", case.name);
    }
}

#[test]
fn the_cost_of_a_message_is_printed() {
    let (batches, rounds) = (50, 1000u32);
    for case in cases() {
        let mut pair = Pair::new(case.share_unnamed);
        pair.exchange(&case.first.0, &case.first.1);
        pair.calls = 0;
        // The fastest batch is the one that was disturbed least.
        let mut nanos = f64::INFINITY;
        for _ in 0..batches {
            let begin = Instant::now();
            for _ in 0..rounds {
                pair.exchange(black_box(&case.asked), black_box(&case.answered));
            }
            nanos = nanos.min(begin.elapsed().as_nanos() as f64 / f64::from(rounds));
        }
        println!(
            "{:24} {:7.1} ns, {:5.1} ns per message, {:.1} calls",
            case.name,
            nanos,
            nanos / f64::from(case.messages),
            pair.calls as f64 / f64::from(batches * rounds)
        );
    }
}
