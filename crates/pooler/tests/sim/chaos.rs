//! What goes wrong, and what operators do meanwhile.
//!
//! Invariant: whatever was broken is mended when the storm is over.

use std::time::Duration;

use headpond_pooler::control::{Mail, Select};
use headpond_pooler::engine::sim::Conditions;

use crate::plan::Times;
use crate::random::Dice;
use crate::server::Mood;
use crate::world::{Timer, World};

/// Something that is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The next thing goes wrong.
    Next,
    /// A server is well again.
    Mend(usize),
    /// Pools serve again.
    Resume,
    /// There are descriptors again.
    Refill,
}

/// The dice of all this.
pub struct Chaos {
    dice: Dice,
    is_over: bool,
}

impl Chaos {
    /// Nothing is broken yet.
    pub fn new(dice: Dice) -> Self {
        Self { dice, is_over: false }
    }
}

impl World {
    /// Something is due.
    pub fn on_chaos(&mut self, event: Event) {
        match event {
            Event::Next if self.chaos.is_over => {}
            Event::Next => {
                self.go_wrong();
                let every = self.plan.fault_every.expect("set when the first was due");
                let after = self.chaos.dice.up_to(every * 2);
                self.later(after, Timer::Chaos(Event::Next));
            }
            Event::Mend(number) => self.mend(number),
            Event::Resume => self.with_pools(|pool, now| pool.core.lock().resume(now)),
            Event::Refill => self.net.set_exhausted(false),
        }
    }

    fn go_wrong(&mut self) {
        let number = self.chaos.dice.below(self.servers.len());
        let soon = self.chaos.dice.up_to(Duration::from_millis(400));
        match self.chaos.dice.below(26) {
            0..=4 => self.with_server(number, |server, around| server.doom(around)),
            5 | 6 => self.with_server(number, |server, around| server.terminate(around)),
            7 | 8 => self.with_server(number, |server, around| server.cut(around)),
            9 if self.plan.silence => {
                self.with_server(number, |server, around| server.silence(around));
            }
            9..=11 => {
                let moods = [Mood::Starting, Mood::Crowded, Mood::Strict, Mood::Mute];
                let mood = *self.chaos.dice.pick(&moods);
                self.ledger.fault(|| format!("server {number} is {mood:?}"));
                self.servers[number].mood = mood;
                self.later(soon, Timer::Chaos(Event::Mend(number)));
            }
            12 => {
                self.ledger.fault(|| format!("server {number} does not listen"));
                self.servers[number].set_listening(&self.net, false);
                self.later(soon, Timer::Chaos(Event::Mend(number)));
            }
            13 => {
                self.ledger.fault(|| format!("server {number} cannot be reached"));
                self.net.set_unreachable(&self.servers[number].address, true);
                self.later(soon, Timer::Chaos(Event::Mend(number)));
            }
            14 | 15 => self.cut_client(),
            16 | 17 => self.with_server(number, |server, around| server.volunteer(around)),
            18 => {
                self.ledger.fault(|| "PAUSE".into());
                self.with_pools(|pool, now| pool.core.lock().pause(now));
                self.later(soon, Timer::Chaos(Event::Resume));
            }
            19 => {
                self.ledger.fault(|| "RELOAD".into());
                self.plan.vary(&mut self.chaos.dice);
                self.reload();
            }
            20 => {
                self.ledger.fault(|| "RECONNECT".into());
                self.with_pools(|pool, now| pool.core.lock().renew(now));
            }
            21 if self.chaos.dice.one_in(4) => self.kill_clients(),
            21 | 22 => self.strain(),
            23 => {
                self.ledger.fault(|| "no descriptors".into());
                self.net.set_exhausted(true);
                self.later(soon / 4, Timer::Chaos(Event::Refill));
            }
            24 => {
                let zone = *self.chaos.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"]);
                self.servers[number].defaults.insert("TimeZone", zone.to_owned());
            }
            _ => {
                let dice = &mut self.chaos.dice;
                let times = Times {
                    slow_percent: *dice.pick(&[0, 10, 90]),
                    longest: Duration::from_millis(*dice.pick(&[20, 1000, 3000])),
                    mute_cancel_percent: self.plan.times.mute_cancel_percent,
                };
                self.servers[number].set_times(times);
            }
        }
    }

    fn cut_client(&mut self) {
        let place = self.chaos.dice.below(self.clients.len());
        if let Some(end) = self.clients[place].end() {
            let id = self.clients[place].id;
            self.ledger.fault(|| format!("client {id} is cut off"));
            self.ledger.gone(id);
            self.net.cut(end);
        }
    }

    fn kill_clients(&mut self) {
        self.ledger.fault(|| "KILL of clients".into());
        let select = match self.chaos.dice.below(3) {
            0 => Select::All,
            1 => Select::Database("db0".into()),
            _ => Select::Id(self.chaos.dice.below(100) as u64),
        };
        self.shared.post_all(|| Mail::CloseClients(select.clone()));
    }

    /// Makes workers busy, so that clients come to others.
    fn strain(&mut self) {
        for busy in &mut self.busy {
            *busy = *self.chaos.dice.pick(&[0, 300, 700, 1000]);
        }
        let busy = self.busy.clone();
        self.ledger.note(|| format!("workers are busy: {busy:?}"));
    }

    fn mend(&mut self, number: usize) {
        let address = self.servers[number].address.clone();
        self.net.set_unreachable(&address, false);
        self.servers[number].set_listening(&self.net, true);
        self.servers[number].mood = Mood::Up;
        self.ledger.note(|| format!("server {number} is well"));
        self.with_server(number, |server, around| server.wake(around));
    }

    /// Everything works again, and everybody may wait as long as it takes.
    pub fn end_storm(&mut self) {
        self.ledger.note(|| "the storm is over".into());
        self.chaos.is_over = true;
        self.net.set_exhausted(false);
        let quick = Conditions { delay_max: Duration::from_millis(1), ..Conditions::rough() };
        self.net.set_conditions(quick);
        for number in 0..self.servers.len() {
            self.mend(number);
            let times = Times {
                slow_percent: 10,
                longest: Duration::from_millis(20),
                ..self.plan.times.clone()
            };
            self.servers[number].set_times(times);
        }
        self.with_pools(|pool, now| pool.core.lock().resume(now));
        self.plan.be_patient();
        self.reload();
    }
}
