//! One run: workers, servers and clients on one network, turned until everybody is through.
//!
//! Invariant: nothing here depends on anything but the seed.
//! Not here: the laws about answers (`client.rs`) and statements (`ledger.rs`), what fails when
//! (`chaos.rs`).

mod laws;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64};
use std::time::Duration;

use headpond_core::{Lane, Timestamp};
use headpond_pooler::cancel::Registry;
use headpond_pooler::catalog::{Catalog, Lasting, Pool, Salted, StatementTable, View};
use headpond_pooler::config::{self, Env, Source};
use headpond_pooler::control::{Ask, Mail};
use headpond_pooler::engine::sim::{Endpoint, Net, News, Received, Sim};
use headpond_pooler::engine::{Address, Engine};
use headpond_pooler::log::Log;
use headpond_pooler::worker::mailbox::Mailbox;
use headpond_pooler::worker::{Load, Shared, Worker};
use headpond_wire::auth::scram;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::chaos::Chaos;
use crate::client::{self, Client};
use crate::ledger::{Ledger, Tally};
use crate::plan::{Plan, Sizes};
use crate::random::Dice;
use crate::server::{self, Postgres};

/// So long after the storm everybody must be through.
const PATIENCE: Duration = Duration::from_secs(300);
/// So long after the storm its last consequences are over.
const AFTERMATH: Duration = Duration::from_secs(10);
/// A connect that began under one configuration may end under the next.
const OPENING: Duration = Duration::from_secs(5);
/// Turns without the clock moving, beyond which the workers are chasing themselves.
const ROUNDS_MAX: usize = 50_000;

/// Something that happens later.
pub enum Timer {
    Server(usize, server::Alarm),
    Client(client::Alarm),
    Answer(Answer),
    Chaos(crate::chaos::Event),
    StormOver,
    Calm,
}

/// What the control plane answers.
pub enum Answer {
    Salted { lane: Lane, server: u64, salted: Salted },
    Secret { lane: Lane, caller: u64, secret: Arc<scram::Secret> },
    Resolved { lane: Lane, server: u64 },
}

/// A connection that carries a cancel request.
struct CancelLink {
    client: u32,
    end: Endpoint,
    heard: Vec<u8>,
}

/// How far a run is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Draining,
}

/// A run.
pub struct World {
    pub plan: Plan,
    pub net: Net,
    pub shared: Arc<Shared<Sim>>,
    pub servers: Vec<Postgres>,
    pub clients: Vec<Client>,
    pub ledger: Ledger,
    pub chaos: Chaos,
    pub busy: Vec<u32>,
    workers: Vec<Worker<Sim>>,
    asks: mpsc::UnboundedReceiver<Ask>,
    cancels: Vec<CancelLink>,
    timers: BTreeMap<u64, Timer>,
    next_timer: u64,
    next_client: u32,
    address: Address,
    dice: Dice,
    /// Sizes that were in force, and until when they may show.
    sizes: VecDeque<(Timestamp, Sizes)>,
    files: Files,
    stage: Stage,
    ends_at: Timestamp,
}

/// Where the configuration is written.
pub struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    /// A place of its own for one thread.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("userlist.txt"), crate::plan::userlist())
            .expect("a file");
        Self { directory }
    }

    fn load(&self, plan: &Plan) -> config::Config {
        let path = self.directory.path();
        let list = path.join("userlist.txt");
        write(&path.join("pooler.ini"), &plan.ini(&list.to_string_lossy()));
        let loaded = config::load(&Source::File(path.join("pooler.ini")), &Env::empty());
        loaded.unwrap_or_else(|errors| panic!("{errors}\n{}", plan.ini("userlist"))).config
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

impl World {
    /// Sets the scene of a seed.
    pub fn new(seed: u64, files: Files, log: &Log, is_told: bool) -> Self {
        let plan = Plan::draw(seed);
        let mut dice = Dice::new(seed);
        let net = Net::with(dice.bits(), plan.conditions.clone());
        let mut silent = |_text: String| {};
        let config = files.load(&plan);
        let lasting = Lasting::new(&config).expect("random bytes");
        let view = View::read(config, &lasting, &mut silent).expect("a configuration");
        let (control, asks) = mpsc::unbounded_channel();
        let engines: Vec<Sim> = (0..plan.lanes).map(|_| net.engine()).collect();
        let shared = Arc::new(Shared {
            catalog: Catalog::new(view, plan.lanes, dice.bits()),
            mailboxes: engines.iter().map(|engine| Mailbox::new(engine.waker())).collect(),
            loads: engines.iter().map(|_| Load::default()).collect(),
            cancels: Registry::default(),
            statements: StatementTable::default(),
            next_id: AtomicU64::new(1),
            clients: AtomicU32::new(0),
            phase: AtomicU8::new(0),
            left: tokio::sync::Notify::new(),
            control,
            log: log.clone(),
        });
        let lanes = engines.into_iter().zip(0..);
        let workers =
            lanes.map(|(engine, lane)| Worker::new(Lane(lane), engine, Arc::clone(&shared)));
        let workers = workers.collect();
        let address = at([10, 1, 0, 1], 6432);
        let listener = net.listen(&address).expect("a free address").into_handle();
        shared.post(Lane(0), Mail::Listen { tcp: vec![listener], unix: Vec::new() });
        let servers = (0..plan.servers)
            .map(|number| {
                let place = at([10, 0, 0, u8::try_from(number + 1).expect("few")], 5432);
                Postgres::new(&net, place, dice.split(), plan.server_proof, plan.times.clone())
            })
            .collect();
        let clients =
            (0..plan.clients).map(|place| Client::new(place, plan.lives, dice.split())).collect();
        let ledger = Ledger::new(is_told);
        let busy = vec![0; plan.lanes];
        let chaos = Chaos::new(dice.split());
        let ends_at = net.now() + plan.storm + PATIENCE;
        Self {
            plan,
            net,
            shared,
            servers,
            clients,
            ledger,
            chaos,
            busy,
            workers,
            asks,
            cancels: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            next_client: 0,
            address,
            dice,
            sizes: VecDeque::new(),
            files,
            stage: Stage::Running,
            ends_at,
        }
    }

    /// Lets something happen later.
    pub fn later(&mut self, after: Duration, timer: Timer) {
        self.next_timer += 1;
        self.timers.insert(self.next_timer, timer);
        self.net.timer(after, self.next_timer);
    }

    /// Runs to the end; returns what was seen, and the directory for the next run.
    pub fn run(mut self) -> (Ledger, Files) {
        let plan = self.plan.clone();
        self.ledger.note(|| format!("{plan:#?}\n{}", plan.ini("userlist")));
        self.sizes.push_back((Timestamp::MAX, plan.sizes.clone()));
        for place in 0..self.clients.len() {
            let after = self.dice.up_to(plan.storm / 2);
            self.later(after, Timer::Client(client::Alarm::GoOn(place)));
        }
        if let Some(every) = plan.fault_every {
            let after = self.dice.up_to(every);
            self.later(after, Timer::Chaos(crate::chaos::Event::Next));
        }
        self.later(plan.storm, Timer::StormOver);
        self.later(plan.storm + AFTERMATH, Timer::Calm);
        while self.ledger.violations.is_empty() {
            self.settle();
            self.check_pools();
            if self.is_done() {
                break;
            }
            if self.net.is_busy() {
                continue;
            }
            let before = self.net.now();
            if !self.net.advance_until(self.ends_at) && !self.net.is_busy() {
                self.ran_out();
                break;
            }
            self.work(before);
        }
        if self.ledger.violations.is_empty() {
            self.check_end();
        }
        self.ledger.tally.seeds = 1;
        self.ledger.tally.simulated_ms = self.net.now().as_nanos() / 1_000_000;
        self.count_moves();
        (self.ledger, self.files)
    }

    fn work(&mut self, before: Timestamp) {
        self.ledger.now = self.net.now().as_nanos() / 1000;
        let passed = self.net.now().since(before);
        for (number, busy) in self.busy.iter().enumerate() {
            if *busy > 0 {
                self.net.work(number, passed * *busy / 1000);
            }
        }
    }

    fn count_moves(&mut self) {
        let tally: &mut Tally = &mut self.ledger.tally;
        for worker in &self.workers {
            let [clients, servers] = worker.moves();
            tally.moved_clients += clients;
            tally.moved_servers += servers;
        }
    }

    /// Lets everybody act until nobody has anything to do at this time.
    fn settle(&mut self) {
        for round in 0.. {
            while let Some(news) = self.net.news() {
                self.on_news(news);
            }
            while let Ok(ask) = self.asks.try_recv() {
                self.on_ask(ask);
            }
            for worker in &mut self.workers {
                worker.turn().expect("a simulated engine never fails");
            }
            self.ledger.tally.turns += 1;
            if !self.net.is_busy() && self.asks.is_empty() {
                return;
            }
            if round > ROUNDS_MAX {
                self.ledger.violation("the workers never come to rest");
                return;
            }
        }
    }

    fn on_news(&mut self, news: News) {
        match news {
            News::Listener(id) => {
                if let Some(server) = self.servers.iter_mut().find(|server| server.listens(id)) {
                    server.accept();
                }
            }
            News::Endpoint(id) => self.on_endpoint(id),
            News::Timer(key) => {
                let Some(timer) = self.timers.remove(&key) else { return };
                self.on_timer(timer);
            }
        }
    }

    fn on_endpoint(&mut self, id: u64) {
        if let Some(number) = self.servers.iter().position(|server| server.has(id)) {
            self.with_server(number, |server, around| server.turn(id, around));
        } else if let Some(place) = self.clients.iter().position(|client| client.has(id)) {
            self.with_client(place, |client, _, around| client.turn(around));
        } else if let Some(at) = self.cancels.iter().position(|link| link.end.id() == id) {
            let link = &mut self.cancels[at];
            let over = loop {
                match link.end.read(usize::MAX) {
                    Received::Data(words) => link.heard.extend(words),
                    Received::Nothing => break false,
                    Received::End | Received::Reset => break true,
                }
            };
            if over {
                let link = self.cancels.swap_remove(at);
                // Who is killed before his request came in is told so like anybody.
                let text = String::from_utf8_lossy(&link.heard).into_owned();
                if !text.is_empty() && !text.contains("admin forced disconnect") {
                    self.ledger.violation(format!("a cancel was answered: {text:?}"));
                }
                self.ledger.wish_done(link.client);
            }
        }
    }

    fn on_timer(&mut self, timer: Timer) {
        match timer {
            Timer::Server(number, alarm) => {
                self.with_server(number, |server, around| server.alarm(alarm, around));
            }
            Timer::Client(alarm) => {
                let (client::Alarm::GoOn(place) | client::Alarm::Hear(place)) = alarm;
                self.with_client(place, |client, next, around| client.alarm(alarm, next, around));
            }
            Timer::Answer(answer) => self.answer(answer),
            Timer::Chaos(event) => self.on_chaos(event),
            Timer::StormOver => self.end_storm(),
            Timer::Calm => self.ledger.stormy = false,
        }
    }

    /// Gives a server what it needs, and does what it asks for.
    pub fn with_server(
        &mut self,
        number: usize,
        act: impl FnOnce(&mut Postgres, &mut server::Around<'_>),
    ) {
        let (mut alarms, mut arrived) = (Vec::new(), Vec::new());
        let clients = &self.clients;
        let is_leaving = |id: u32| clients.iter().any(|client| client.id == id && client.is_left());
        let mut around = server::Around {
            net: &self.net,
            ledger: &mut self.ledger,
            alarms: &mut alarms,
            arrived: &mut arrived,
            is_leaving: &is_leaving,
        };
        act(&mut self.servers[number], &mut around);
        for (after, alarm) in alarms {
            self.later(after, Timer::Server(number, alarm));
        }
        for (database, user) in arrived {
            self.check_limits(&database, &user);
        }
    }

    fn with_client(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Client, &mut u32, &mut client::Around<'_>),
    ) {
        let (mut alarms, mut cancels) = (Vec::new(), Vec::new());
        let mut around = client::Around {
            net: &self.net,
            plan: &self.plan,
            ledger: &mut self.ledger,
            address: &self.address,
            alarms: &mut alarms,
            cancels: &mut cancels,
        };
        act(&mut self.clients[place], &mut self.next_client, &mut around);
        for (after, alarm) in alarms {
            self.later(after, Timer::Client(alarm));
        }
        for (client, request) in cancels {
            let end = self.net.connect(&self.address);
            end.write(&request);
            self.ledger.wish(client);
            self.cancels.push(CancelLink { client, end, heard: Vec::new() });
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        let after = self.dice.up_to(Duration::from_millis(10));
        let answer = match ask {
            Ask::Salt { lane, server, password, salt, iterations } => {
                let value = Zeroizing::new(scram::salted_password(&password, &salt, iterations));
                Answer::Salted {
                    lane,
                    server,
                    salted: Salted { salt, iterations, value, password },
                }
            }
            Ask::Secret { lane, caller, user, password } => {
                let salt = self.dice.bits().to_be_bytes();
                let salted = scram::salted_password(&password, &salt, 4);
                let secret = Arc::new(scram::Secret::derive_from_salted(salted, &salt, 4));
                user.derived.store(Some(Arc::clone(&secret)));
                Answer::Secret { lane, caller, secret }
            }
            Ask::Resolve { lane, server, .. } => Answer::Resolved { lane, server },
            Ask::Admin { .. } | Ask::AdminCancel { .. } | Ask::AdminLeft { .. } => {
                panic!("nobody talks to the console here")
            }
            Ask::Act { .. } => panic!("nobody asks for anything over HTTP here"),
        };
        self.later(after, Timer::Answer(answer));
    }

    fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Salted { lane, server, salted } => {
                self.shared.post(lane, Mail::ServerSalted { server, salted });
            }
            Answer::Secret { lane, caller, secret } => {
                self.shared.post(lane, Mail::ClientSecret { caller, secret });
            }
            Answer::Resolved { lane, server } => {
                let result = Err("there are no names here".to_owned());
                self.shared.post(lane, Mail::Resolved { server, result });
            }
        }
    }

    /// Puts the plan's configuration into force.
    pub fn reload(&mut self) {
        let config = self.files.load(&self.plan);
        let lasting = self.shared.catalog.view().lasting();
        let view = View::read(config, &lasting, &mut |_| {}).expect("a configuration");
        let now = self.net.now();
        if let Some((until, _)) = self.sizes.back_mut() {
            *until = now + OPENING;
        }
        self.sizes.push_back((Timestamp::MAX, self.plan.sizes.clone()));
        let touched = self.shared.catalog.replace(view, now);
        self.shared.post_all(|| Mail::Reloaded);
        for pool in touched {
            self.shared.post(Lane(0), Mail::Poke { pool });
        }
    }

    /// Does something to every pool.
    pub fn with_pools(&mut self, act: impl Fn(&Pool, Timestamp)) {
        let now = self.net.now();
        for pool in self.shared.catalog.pools() {
            act(&pool, now);
            self.shared.post(Lane(0), Mail::Poke { pool });
        }
    }
}

fn at(ip: [u8; 4], port: u16) -> Address {
    Address::Tcp(std::net::SocketAddr::from((ip, port)))
}
