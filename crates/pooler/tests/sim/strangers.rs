//! Strangers in great numbers: whoever is logged in is heard before them.
//!
//! Time stands still here, so what counts is turns: a bounded number of strangers for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};

use headpond_core::Lane;
use headpond_pooler::cancel::Registry;
use headpond_pooler::catalog::{Catalog, Lasting, StatementTable, View};
use headpond_pooler::config::{self, Env, Source};
use headpond_pooler::control::{Ask, Mail};
use headpond_pooler::engine::sim::{Endpoint, Net, Received, Sim};
use headpond_pooler::engine::{Address, Engine};
use headpond_pooler::log::{Destination, Format, Log};
use headpond_pooler::worker::mailbox::Mailbox;
use headpond_pooler::worker::{Load, Shared, Worker};
use tokio::sync::mpsc;

const STRANGERS: usize = 400;
/// More than a turn serves of them, and fewer than all.
const PER_TURN: usize = 50;

const INI: &str = "[databases]\n* = host=10.0.0.1\n[pgbouncer]\nlisten_addr = 10.1.0.1\n\
                   auth_type = any\nadmin_users = admin\nmax_client_conn = 5000\n";

/// One worker, its listener, and the control plane's ear.
struct Scene {
    net: Net,
    worker: Worker<Sim>,
    asks: mpsc::UnboundedReceiver<Ask>,
    address: Address,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("pooler.ini");
        std::fs::write(&path, INI).expect("a file");
        let loaded = config::load(&Source::File(path), &Env::empty());
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
        let lasting = Lasting::new(&config).expect("random bytes");
        let view = View::read(config, &lasting, &mut |_| {}).expect("a configuration");
        let net = Net::new(1);
        let engine = net.engine();
        let (control, asks) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            catalog: Catalog::new(view, 1, 1),
            mailboxes: vec![Mailbox::new(engine.waker())],
            loads: vec![Load::default()],
            cancels: Registry::default(),
            statements: StatementTable::default(),
            next_id: AtomicU64::new(1),
            clients: AtomicU32::new(0),
            phase: AtomicU8::new(0),
            left: tokio::sync::Notify::new(),
            control,
            log: Log::start(Format::Pgbouncer, Destination::default()),
        });
        let worker = Worker::new(Lane(0), engine, Arc::clone(&shared));
        let address = Address::Tcp(([10, 1, 0, 1], 6432).into());
        let listener = net.listen(&address).expect("a free address").into_handle();
        shared.post(Lane(0), Mail::Listen { tcp: vec![listener], unix: Vec::new() });
        let mut scene = Self { net, worker, asks, address };
        scene.settle();
        scene
    }

    fn connect(&self) -> Endpoint {
        self.net.connect(&self.address)
    }

    fn turn(&mut self) {
        self.worker.turn().expect("a simulated engine never fails");
    }

    /// Turns until nothing happens any more; connections and bytes take a little time.
    fn settle(&mut self) {
        for _ in 0..1_000 {
            while self.net.news().is_some() {}
            self.turn();
            let soon = self.net.now() + std::time::Duration::from_millis(10);
            if !self.net.is_busy() && !self.net.advance_until(soon) {
                return;
            }
        }
        panic!("the worker never comes to rest");
    }

    /// Moves what was written to the worker's side, and turns nothing.
    fn deliver(&self) {
        let soon = self.net.now() + std::time::Duration::from_millis(10);
        for _ in 0..10_000 {
            while self.net.news().is_some() {}
            if !self.net.advance_until(soon) {
                return;
            }
        }
    }
}

fn startup(user: &str, database: &str) -> Vec<u8> {
    let body = format!("user\0{user}\0database\0{database}\0\0");
    let length = u32::try_from(8 + body.len()).expect("short");
    [&length.to_be_bytes()[..], &[0, 3, 0, 0], body.as_bytes()].concat()
}

fn query(sql: &str) -> Vec<u8> {
    let length = u32::try_from(4 + sql.len() + 1).expect("short");
    [b"Q", &length.to_be_bytes()[..], sql.as_bytes(), b"\0"].concat()
}

fn closed(strangers: &[Endpoint]) -> usize {
    strangers.iter().filter(|stranger| stranger.is_abandoned()).count()
}

#[test]
fn whoever_is_logged_in_is_heard_before_all_strangers() {
    let mut scene = Scene::new();
    let console = scene.connect();
    console.write(&startup("admin", "pgbouncer"));
    scene.settle();
    assert!(matches!(console.read(usize::MAX), Received::Data(_)), "the console welcomes");
    let strangers: Vec<Endpoint> = (0..STRANGERS).map(|_| scene.connect()).collect();
    scene.settle();
    assert_eq!(scene.worker.population()[0], 1 + STRANGERS, "all of them are in");
    for stranger in &strangers {
        stranger.write(b"\0\0\0\x08rubbish");
    }
    console.write(&query("SHOW VERSION"));
    scene.deliver();
    scene.turn();
    assert!(matches!(scene.asks.try_recv(), Ok(Ask::Admin { .. })), "it is heard at once");
    let first = closed(&strangers);
    assert!((1..=PER_TURN).contains(&first), "{first} strangers in one turn");
    // Nor does it matter that they are in line already.
    let mut turns = 1;
    while closed(&strangers) < STRANGERS {
        let before = closed(&strangers);
        scene.turn();
        let more = closed(&strangers) - before;
        assert!((1..=PER_TURN).contains(&more), "{more} strangers in one turn");
        turns += 1;
    }
    assert!(turns >= STRANGERS / PER_TURN, "{turns} turns");
    scene.settle();
    assert_eq!(scene.worker.population(), [1, 0, 0], "nothing is left of them");
}

#[test]
fn a_strangers_bytes_stay_in_order_when_it_is_let_in_while_in_line() {
    let mut scene = Scene::new();
    let strangers: Vec<Endpoint> = (0..STRANGERS).map(|_| scene.connect()).collect();
    let late = scene.connect();
    scene.settle();
    // What it says comes in pieces, one per turn, while the others are in line before it.
    let words = [startup("admin", "pgbouncer"), query("SHOW VERSION")].concat();
    let mut pieces = words.chunks(7);
    for stranger in &strangers {
        stranger.write(b"\0\0\0\x08rubbish");
    }
    let mut asked = Vec::new();
    for _ in 0..2_000 {
        if let Some(piece) = pieces.next() {
            late.write(piece);
        }
        scene.deliver();
        scene.turn();
        while let Ok(ask) = scene.asks.try_recv() {
            if let Ask::Admin { text, .. } = ask {
                asked.push(text);
            }
        }
        if !asked.is_empty() {
            break;
        }
    }
    assert_eq!(asked, ["SHOW VERSION"]);
    assert_eq!(closed(&strangers), STRANGERS, "whoever came before it was served before it");
}

#[test]
fn nobody_is_accepted_while_the_line_is_long_and_all_are_in_the_end() {
    let mut scene = Scene::new();
    let strangers: Vec<Endpoint> = (0..STRANGERS).map(|_| scene.connect()).collect();
    scene.deliver();
    let mut most = 0;
    for _ in 0..1_000 {
        let before = scene.worker.population()[0];
        scene.turn();
        most = most.max(scene.worker.population()[0] - before);
        let soon = scene.net.now() + std::time::Duration::from_millis(10);
        if !scene.net.is_busy() && !scene.net.advance_until(soon) {
            break;
        }
    }
    assert!((1..=PER_TURN).contains(&most), "{most} came in in one turn");
    assert_eq!(scene.worker.population()[0], strangers.len());
}
