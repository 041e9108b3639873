//! A fleet of pools in front of one server, event by event, over the real [`PoolCore`].
//!
//! Nothing of the pool is modelled: each instance is the bookkeeping that runs in production, told
//! of a simulated time. What is modelled is around it: when requests come, how long they hold a
//! connection, how long a connect takes, what the server does under load and when it fails.
//!
//! Invariant: time never goes back; every request is served, refused, or still under way at the
//! end, and is counted once. The same seed gives the same outcome.
//! Left out: the network, and the processor of the pool itself: both cost microseconds, and waits
//! that matter are milliseconds.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Duration;

use headpond_core::{
    Acquire, CloseReason, Command, ConnId, ConnectFailure, Failure, Fate, Lane, Limits, Policy,
    PoolCore, Random, Refusal, Timestamp,
};

use super::incident::{Incident, What};
use super::service::Service;
use crate::arrival::exponential;
use crate::error::Error;
use crate::measure::{Times, nanos};

/// How long a refused client waits before it asks again.
const AGAIN: f64 = 0.1;
/// How long a check or a reset of a connection takes: a round trip within a data centre.
const ROUND_TRIP: Duration = Duration::from_micros(300);
/// How long it takes to hear that a server is not there.
const REFUSED: Duration = Duration::from_millis(1);

/// When requests come.
#[derive(Clone, PartialEq, Debug)]
pub enum Arrivals {
    /// So many a second over the whole fleet, independent of each other.
    Rate(f64),
    /// As recorded: requests in each second, repeated from the beginning when they end.
    Recorded(Vec<f64>),
    /// So many clients over the whole fleet that ask, are answered, and pause.
    Clients {
        /// How many.
        count: u32,
        /// Mean pause in seconds, drawn exponentially.
        think_s: f64,
    },
}

/// What to simulate.
#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    /// Processes with a pool each.
    pub instances: u32,
    /// Limits of each pool.
    pub limits: Limits,
    /// Rules of each pool.
    pub policy: Policy,
    /// When requests come.
    pub arrivals: Arrivals,
    /// How long they hold a connection.
    pub service: Service,
    /// How many requests the server computes at once; more share it and take longer in proportion.
    /// Default: `None`, because a server that waits for disks or others has no such number.
    pub server_cores: Option<f64>,
    /// How many connections the server lets in.
    pub connections_max: Option<u32>,
    /// How long a connect takes.
    pub connect: Duration,
    /// How long a request waits for a connection.
    pub timeout: Duration,
    /// What happens meanwhile.
    pub incidents: Vec<Incident>,
    /// How long requests do not count.
    pub warm_up_s: f64,
    /// How long they count.
    pub duration_s: f64,
    /// What the randomness begins with.
    pub seed: u64,
}

impl Scenario {
    /// Begins with one instance and the pool's default limits and rules, all of its connections
    /// kept open, on a server without limits of its own, for a minute.
    #[must_use]
    pub fn new(arrivals: Arrivals, service: Service) -> Self {
        Self {
            instances: 1,
            limits: Limits { min: u32::MAX, ..Limits::default() },
            policy: Policy::default(),
            arrivals,
            service,
            server_cores: None,
            connections_max: None,
            connect: Duration::from_millis(5),
            timeout: Duration::from_secs(30),
            incidents: Vec::new(),
            warm_up_s: 10.0,
            duration_s: 60.0,
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// From asking to having a connection.
    pub wait: Times,
    /// From asking to the answer.
    pub latency: Times,
    /// Answered requests per second.
    pub rate: f64,
    /// Refused because their time was over.
    pub timeouts: u64,
    /// Refused for another reason, or broken by a failover.
    pub failures: u64,
    /// The share of all requests that were not answered.
    pub error_share: f64,
    /// Connections in use as a share of all that may be, on average.
    pub utilisation: f64,
    /// The most connections the server had at once.
    pub connections_max: u32,
    /// Connections that were opened.
    pub opened: u64,
    /// The most requests that waited at once, in the whole fleet.
    pub waiting_max: u64,
    /// Seconds after the end of the last incident until a whole second's requests waited no
    /// longer than 1.5 times what they had before the first; `None` if there was no incident or
    /// it did not recover.
    pub recovered_after_s: Option<f64>,
    /// Events that were simulated.
    pub events: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A request of nobody in particular.
    Arrive,
    /// A client asks.
    Ask { client: u32 },
    /// A request is over.
    Done { instance: u32, conn: ConnId },
    /// A connect ends.
    Opened { instance: u32, conn: ConnId },
    /// A check or a reset ends.
    Ready { instance: u32, conn: ConnId },
    /// A pool has something to do.
    Timer { instance: u32 },
    /// An incident begins or ends.
    Incident,
}

/// An event and when; the earliest is the greatest, as the heap wants it.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: u64,
    order: u64,
    event: Event,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

/// A request.
#[derive(Clone, Copy, Debug)]
struct Caller {
    asked: u64,
    /// Who asks again afterwards; none in an open loop.
    client: Option<u32>,
}

/// A connection, as its instance sees it.
#[derive(Clone, Copy, Debug)]
struct Link {
    conn: ConnId,
    /// The request that it carries.
    caller: Option<(u32, u64)>,
}

struct Instance {
    core: PoolCore,
    /// By the connection's place; none where there is no open one.
    links: Vec<Option<Link>>,
    /// When its timer event is due.
    armed: u64,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    order: u64,
    heap: BinaryHeap<Due>,
    instances: Vec<Instance>,
    callers: Vec<Caller>,
    free: Vec<u32>,
    random: Random,
    from: u64,
    until: u64,
    down: bool,
    slow: f64,
    connections: u32,
    busy: u64,
    waiting: u64,
    /// Connection-nanoseconds in use, up to `looked`.
    used: f64,
    looked: u64,
    out: Outcome,
    completed: u64,
    asked: u64,
    /// Sum and count of waits in each second since requests count.
    seconds: Vec<(f64, u64)>,
}

/// Simulates a scenario.
///
/// # Errors
/// When it makes no sense: no instances, no time, no requests.
pub fn simulate(scenario: &Scenario) -> Result<Outcome, Error> {
    check(scenario)?;
    let mut world = World::new(scenario);
    world.begin();
    while let Some(due) = world.heap.pop() {
        if due.at >= world.until {
            break;
        }
        world.account(due.at);
        world.now = due.at;
        world.out.events += 1;
        world.happen(due.event);
    }
    let end = world.until;
    world.account(end);
    Ok(world.finish())
}

fn check(scenario: &Scenario) -> Result<(), Error> {
    let positive = |what: &str, value: f64| match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(Error::usage(what, format!("{value} is not above zero"))),
    };
    positive("instances", f64::from(scenario.instances))?;
    positive("duration", scenario.duration_s)?;
    positive("service time", scenario.service.mean())?;
    if let Some(cores) = scenario.server_cores {
        positive("server cores", cores)?;
    }
    match &scenario.arrivals {
        Arrivals::Rate(rate) => positive("rate", *rate),
        Arrivals::Recorded(seconds) => positive("recorded requests", seconds.iter().sum()),
        Arrivals::Clients { count, think_s } => {
            positive("clients", f64::from(*count))?;
            if *think_s >= 0.0 { Ok(()) } else { positive("pause", *think_s) }
        }
    }
}

fn to_nanos(seconds: f64) -> u64 {
    // A time below zero or too large is cut off.
    (seconds * 1e9) as u64
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let instance = |index: u32| Instance {
            core: PoolCore::new(
                Timestamp::ZERO,
                scenario.limits,
                scenario.policy,
                scenario.seed.wrapping_add(u64::from(index)),
            ),
            links: Vec::new(),
            armed: u64::MAX,
        };
        let from = to_nanos(scenario.warm_up_s);
        Self {
            scenario,
            now: 0,
            order: 0,
            heap: BinaryHeap::new(),
            instances: (0..scenario.instances).map(instance).collect(),
            callers: Vec::new(),
            free: Vec::new(),
            random: Random::new(scenario.seed),
            from,
            until: from + to_nanos(scenario.duration_s),
            down: false,
            slow: 1.0,
            connections: 0,
            busy: 0,
            waiting: 0,
            used: 0.0,
            looked: from,
            out: Outcome {
                wait: Times::default(),
                latency: Times::default(),
                rate: 0.0,
                timeouts: 0,
                failures: 0,
                error_share: 0.0,
                utilisation: 0.0,
                connections_max: 0,
                opened: 0,
                waiting_max: 0,
                recovered_after_s: None,
                events: 0,
            },
            completed: 0,
            asked: 0,
            seconds: vec![(0.0, 0); scenario.duration_s.ceil() as usize + 1],
        }
    }

    fn push(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.heap.push(Due { at, order: self.order, event });
    }

    fn after(&mut self, seconds: f64, event: Event) {
        self.push(self.now.saturating_add(to_nanos(seconds)), event);
    }

    fn begin(&mut self) {
        for incident in &self.scenario.incidents {
            for edge in [incident.from_s, incident.until_s] {
                self.push(self.from + to_nanos(edge), Event::Incident);
            }
        }
        match self.scenario.arrivals {
            Arrivals::Rate(_) | Arrivals::Recorded(_) => self.next_arrival(),
            Arrivals::Clients { count, think_s } => {
                for client in 0..count {
                    // Spread over the first pause, or all would ask at once for ever.
                    let spread = think_s.max(self.scenario.service.mean());
                    let first = spread * exponential(&mut self.random);
                    self.after(first, Event::Ask { client });
                }
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive => {
                let last = u64::from(self.scenario.instances - 1);
                let instance = self.random.up_to(last) as u32;
                self.next_arrival();
                self.ask(instance, None);
            }
            Event::Ask { client } => self.ask(client % self.scenario.instances, Some(client)),
            Event::Done { instance, conn } => self.done(instance, conn),
            Event::Opened { instance, conn } => self.opened(instance, conn),
            Event::Ready { instance, conn } => {
                let now = self.time();
                self.instances[instance as usize].core.ready(now, conn, Lane(0));
                self.obey(instance);
            }
            Event::Timer { instance } => {
                let now = self.time();
                let pool = &mut self.instances[instance as usize];
                if pool.armed <= self.now {
                    pool.armed = u64::MAX;
                    pool.core.handle_timeout(now);
                    self.obey(instance);
                }
            }
            Event::Incident => self.change(),
        }
    }

    const fn time(&self) -> Timestamp {
        Timestamp::from_nanos(self.now)
    }

    /// Adds up connections in use until `to`.
    fn account(&mut self, to: u64) {
        let to = to.min(self.until);
        if to > self.looked {
            self.used += self.busy as f64 * (to - self.looked) as f64;
            self.looked = to;
        }
    }

    fn next_arrival(&mut self) {
        let at_s = (self.now as f64 - self.from as f64) / 1e9;
        let usual = match &self.scenario.arrivals {
            Arrivals::Rate(rate) => *rate,
            Arrivals::Recorded(seconds) => seconds[at_s.max(0.0) as usize % seconds.len()],
            Arrivals::Clients { .. } => return,
        };
        let bursts = self.scenario.incidents.iter().filter(|incident| incident.covers(at_s));
        let factor: f64 = bursts.fold(1.0, |all, incident| match incident.what {
            What::Burst(factor) => all * factor,
            What::Failover | What::Slow(_) => all,
        });
        let rate = usual * factor;
        // A second without requests is looked at again when it is over.
        match rate > 0.0 {
            true => {
                let gap = exponential(&mut self.random) / rate;
                self.after(gap, Event::Arrive);
            }
            false => self.after(1.0, Event::Arrive),
        }
    }

    fn ask(&mut self, instance: u32, client: Option<u32>) {
        let caller = Caller { asked: self.now, client };
        let index = match self.free.pop() {
            Some(index) => {
                self.callers[index as usize] = caller;
                index
            }
            None => {
                self.callers.push(caller);
                self.callers.len() as u32 - 1
            }
        };
        if self.counts(self.now) {
            self.asked += 1;
        }
        let (now, deadline) = (self.time(), self.time() + self.scenario.timeout);
        let core = &mut self.instances[instance as usize].core;
        match core.acquire(now, Lane(0), u64::from(index), Some(deadline)) {
            Acquire::Granted { conn, .. } => self.serve(instance, conn, index),
            Acquire::Queued(_) => {
                self.waiting += 1;
                self.out.waiting_max = self.out.waiting_max.max(self.waiting);
            }
            Acquire::Refused(refusal) => self.refuse(index, refusal),
        }
        self.obey(instance);
    }

    const fn counts(&self, at: u64) -> bool {
        at >= self.from && at < self.until
    }

    /// A request has a connection.
    fn serve(&mut self, instance: u32, conn: ConnId, index: u32) {
        let asked = self.callers[index as usize].asked;
        let wait = self.now - asked;
        if self.counts(asked) {
            self.out.wait.record(wait);
            let second = &mut self.seconds[((asked - self.from) / 1_000_000_000) as usize];
            second.0 += wait as f64;
            second.1 += 1;
        }
        self.busy += 1;
        let crowd = self.scenario.server_cores.map_or(1.0, |cores| self.busy as f64 / cores);
        let time = self.scenario.service.draw(&mut self.random) * crowd.max(1.0) * self.slow;
        if let Some(Some(link)) = self.instances[instance as usize].links.get_mut(conn.index()) {
            link.caller = Some((index, asked));
        }
        self.after(time, Event::Done { instance, conn });
    }

    fn done(&mut self, instance: u32, conn: ConnId) {
        let now = self.time();
        let pool = &mut self.instances[instance as usize];
        let Some(Some(link)) = pool.links.get_mut(conn.index()) else { return };
        // A connection that broke meanwhile carries nothing, and its successor has another name.
        if link.conn != conn {
            return;
        }
        let Some((index, asked)) = link.caller.take() else { return };
        pool.core.release(now, conn, Lane(0), Fate::Reuse);
        self.busy -= 1;
        if self.counts(asked) {
            self.out.latency.record(self.now - asked);
        }
        if self.counts(self.now) {
            self.completed += 1;
        }
        self.leave(index, 0.0);
        self.obey(instance);
    }

    /// A request is over; its client pauses and asks again.
    fn leave(&mut self, index: u32, at_least: f64) {
        self.free.push(index);
        if let (Some(client), Arrivals::Clients { think_s, .. }) =
            (self.callers[index as usize].client, &self.scenario.arrivals)
        {
            let pause = at_least + think_s * exponential(&mut self.random);
            self.after(pause, Event::Ask { client });
        }
    }

    fn refuse(&mut self, index: u32, refusal: Refusal) {
        if self.counts(self.callers[index as usize].asked) {
            match refusal {
                Refusal::Timeout { .. } => self.out.timeouts += 1,
                _ => self.out.failures += 1,
            }
        }
        self.leave(index, AGAIN);
    }

    fn opened(&mut self, instance: u32, conn: ConnId) {
        let now = self.time();
        let full = self.scenario.connections_max.is_some_and(|max| self.connections >= max);
        let pool = &mut self.instances[instance as usize];
        if self.down || full {
            let why = if self.down { ConnectFailure::Refused } else { ConnectFailure::TooMany };
            pool.core.failed(now, conn, Failure::Connect(why));
        } else {
            if pool.links.len() <= conn.index() {
                pool.links.resize(conn.index() + 1, None);
            }
            pool.links[conn.index()] = Some(Link { conn, caller: None });
            self.connections += 1;
            self.out.opened += 1;
            self.out.connections_max = self.out.connections_max.max(self.connections);
            pool.core.ready(now, conn, Lane(0));
        }
        self.obey(instance);
    }

    /// An incident begins or ends: what goes on now?
    fn change(&mut self) {
        let at_s = (self.now as f64 - self.from as f64) / 1e9 + 1e-9;
        let going_on = self.scenario.incidents.iter().filter(|incident| incident.covers(at_s));
        let (was_down, mut down, mut slow) = (self.down, false, 1.0);
        for incident in going_on {
            match incident.what {
                What::Failover => down = true,
                What::Slow(factor) => slow *= factor,
                What::Burst(_) => {}
            }
        }
        (self.down, self.slow) = (down, slow);
        if down && !was_down {
            self.break_everything();
        }
    }

    fn break_everything(&mut self) {
        let now = self.time();
        for instance in 0..self.scenario.instances {
            let links = std::mem::take(&mut self.instances[instance as usize].links);
            for link in links.into_iter().flatten() {
                self.connections -= 1;
                if let Some((index, asked)) = link.caller {
                    self.busy -= 1;
                    if self.counts(asked) {
                        self.out.failures += 1;
                    }
                    self.leave(index, AGAIN);
                }
                self.instances[instance as usize].core.failed(now, link.conn, Failure::Lost);
            }
            self.obey(instance);
        }
    }

    /// Carries out what a pool asks for.
    fn obey(&mut self, instance: u32) {
        while let Some(command) = self.instances[instance as usize].core.poll_command() {
            self.carry_out(instance, command);
        }
        let pool = &mut self.instances[instance as usize];
        if let Some(next) = pool.core.poll_timeout() {
            let at = next.as_nanos().max(self.now);
            if at < pool.armed {
                pool.armed = at;
                self.push(at, Event::Timer { instance });
            }
        }
    }

    fn carry_out(&mut self, instance: u32, command: Command) {
        match command {
            Command::Open { conn } => {
                let time = if self.down { REFUSED } else { self.scenario.connect };
                let at = self.now + nanos(time);
                self.push(at, Event::Opened { instance, conn });
            }
            Command::Check { conn, .. } | Command::Reset { conn, .. } => {
                let at = self.now + nanos(ROUND_TRIP);
                self.push(at, Event::Ready { instance, conn });
            }
            Command::Close { conn, reason, .. } => self.close(instance, conn, reason),
            Command::Grant { caller, conn, .. } => {
                self.waiting -= 1;
                self.serve(instance, conn, caller as u32);
            }
            Command::Refuse { caller, refusal, .. } => {
                self.waiting -= 1;
                self.refuse(caller as u32, refusal);
            }
        }
    }

    fn close(&mut self, instance: u32, conn: ConnId, _reason: CloseReason) {
        let now = self.time();
        let pool = &mut self.instances[instance as usize];
        if let Some(link) = pool.links.get_mut(conn.index())
            && link.is_some_and(|link| link.conn == conn)
        {
            *link = None;
            self.connections -= 1;
        }
        pool.core.closed(now, conn);
    }

    fn finish(mut self) -> Outcome {
        let duration_s = (self.until - self.from) as f64 / 1e9;
        let size = f64::from(self.scenario.limits.size) * f64::from(self.scenario.instances);
        // Whoever still waits has waited so long already: that must not be left out.
        let mut unanswered = vec![true; self.callers.len()];
        for index in &self.free {
            unanswered[*index as usize] = false;
        }
        let held = self.instances.iter().flat_map(|pool| &pool.links).flatten();
        let mut waits = unanswered.clone();
        for (index, _) in held.filter_map(|link| link.caller) {
            waits[index as usize] = false;
        }
        for (index, caller) in self.callers.iter().enumerate() {
            if waits[index] && caller.asked >= self.from {
                self.out.wait.record(self.until - caller.asked);
            }
            if unanswered[index] && caller.asked >= self.from {
                self.out.latency.record(self.until - caller.asked);
            }
        }
        let errors = self.out.timeouts + self.out.failures;
        self.out.rate = self.completed as f64 / duration_s;
        self.out.error_share =
            if self.asked == 0 { 0.0 } else { errors as f64 / self.asked as f64 };
        self.out.utilisation = self.used / (duration_s * 1e9) / size;
        self.out.recovered_after_s = self.recovered();
        self.out
    }

    fn recovered(&self) -> Option<f64> {
        /// Waits below this are as good as none, whatever they were before.
        const NOTHING_NANOS: f64 = 1e6;
        let first = self.scenario.incidents.iter().map(|i| i.from_s).reduce(f64::min)?;
        let last = self.scenario.incidents.iter().map(|i| i.until_s).reduce(f64::max)?;
        let mean = |seconds: &[(f64, u64)]| {
            let (sum, count) =
                seconds.iter().fold((0.0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
            (count > 0).then(|| sum / count as f64)
        };
        let before = mean(self.seconds.get(..first as usize)?).unwrap_or(0.0);
        let bound = (before * 1.5).max(NOTHING_NANOS);
        let after = last.ceil() as usize;
        let good = |second: &(f64, u64)| mean(&[*second]).is_some_and(|wait| wait <= bound);
        let found = self.seconds.get(after..)?.iter().position(good)?;
        Some((after + found) as f64 - last)
    }
}

#[cfg(test)]
#[path = "simulate_tests.rs"]
mod tests;
