//! What threads share (the free list and the seats) under model checkers. loom tries every schedule
//! of a few threads, shuttle many random ones of more. `make loom` runs both.
//!
//! Invariant: the desk does with them what the pool does under its lock, in the same order.
//! Left out: the core; a queue stands for it. Wakers: they are kept under the lock.

use std::collections::VecDeque;

#[cfg(headpond_loom)]
use loom::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
};
#[cfg(headpond_shuttle)]
use shuttle::{
    sync::{Arc, Mutex, MutexGuard},
    thread,
};

use crate::freelist::Freelist;
use crate::seats::Seats;

/// A connection: its place, and the key by which its user had waited.
#[derive(Debug, PartialEq, Eq)]
struct Value {
    place: usize,
    seat: Option<usize>,
}

/// Whoever finds nothing closes the list under the lock, takes what was put down meanwhile, or
/// waits; whoever cannot put a value down gives it to who waits.
struct Desk {
    list: Freelist<Value>,
    seats: Seats<Value>,
    behind: Mutex<Behind>,
}

#[derive(Default)]
struct Behind {
    /// Keys of those who wait, in the order in which they came.
    waiting: VecDeque<usize>,
    free_keys: Vec<usize>,
    keys: usize,
    kept: Vec<Value>,
    /// Whether the list is closed.
    shut: bool,
}

/// What asking comes to.
enum Asked {
    Value(Value),
    Queued(usize),
}

impl Behind {
    fn take_key(&mut self) -> usize {
        self.free_keys.pop().unwrap_or_else(|| {
            self.keys += 1;
            self.keys - 1
        })
    }

    fn vacate(&mut self, value: &mut Value) {
        if let Some(key) = value.seat.take() {
            assert!(!self.free_keys.contains(&key), "a key was given back twice");
            self.free_keys.push(key);
        }
    }
}

impl Desk {
    fn new(values: usize) -> Self {
        let list = Freelist::new();
        list.open();
        for place in 0..values {
            list.make_room(place);
            assert_eq!(list.put(place, Value { place, seat: None }), Ok(()));
        }
        Self { list, seats: Seats::new(), behind: Mutex::new(Behind::default()) }
    }

    fn lock(&self) -> MutexGuard<'_, Behind> {
        self.behind.lock().unwrap()
    }

    /// Takes a value, or enters the queue.
    fn ask(&self) -> Asked {
        if let Some(value) = self.list.take() {
            return Asked::Value(value);
        }
        let mut behind = self.lock();
        self.shut(&mut behind);
        if behind.waiting.is_empty()
            && let Some(value) = behind.kept.pop()
        {
            self.open(&mut behind);
            return Asked::Value(value);
        }
        let key = behind.take_key();
        self.seats.make_room(key);
        behind.waiting.push_back(key);
        Asked::Queued(key)
    }

    /// Takes what was granted, if something was.
    fn fetch(&self, key: usize) -> Option<Value> {
        self.seats.take(key).or_else(|| {
            let _behind = self.lock();
            self.seats.take(key)
        })
    }

    /// Leaves the queue, or passes on what was granted.
    fn abandon(&self, key: usize) {
        let mut behind = self.lock();
        match self.seats.take(key) {
            Some(value) => self.pass(&mut behind, value),
            None => {
                behind.waiting.retain(|waiting| *waiting != key);
                behind.free_keys.push(key);
                self.open(&mut behind);
            }
        }
    }

    /// Closes the list and keeps what lies there.
    fn shut(&self, behind: &mut Behind) {
        if std::mem::replace(&mut behind.shut, true) {
            return;
        }
        let mut found = Vec::new();
        self.list.close(|_, value| found.push(value));
        found.into_iter().for_each(|value| self.lay_aside(behind, value));
    }

    /// Opens the list, unless somebody waits.
    fn open(&self, behind: &mut Behind) {
        if behind.waiting.is_empty() && std::mem::take(&mut behind.shut) {
            self.list.open();
        }
    }

    fn put(&self, value: Value) {
        let Err(value) = self.list.put(value.place, value) else { return };
        self.pass(&mut self.lock(), value);
    }

    fn pass(&self, behind: &mut Behind, value: Value) {
        self.lay_aside(behind, value);
        self.open(behind);
    }

    fn lay_aside(&self, behind: &mut Behind, mut value: Value) {
        behind.vacate(&mut value);
        match behind.waiting.pop_front() {
            Some(key) => {
                value.seat = Some(key);
                self.seats.fill(key, value);
            }
            None => behind.kept.push(value),
        }
    }

    /// Checks that nobody waits while something lies around, and returns the places of all values
    /// that are not with a thread, and how many wait.
    fn rest(&self) -> (Vec<usize>, usize) {
        let mut behind = self.lock();
        let mut rest = std::mem::take(&mut behind.kept);
        self.list.close(|_, value| rest.push(value));
        assert!(rest.is_empty() || behind.waiting.is_empty(), "somebody waits for what is idle");
        rest.extend((0..behind.keys).filter_map(|key| self.seats.take(key)));
        let mut places: Vec<usize> = rest.iter().map(|value| value.place).collect();
        places.sort_unstable();
        (places, behind.waiting.len())
    }
}

#[cfg(headpond_loom)]
mod every_schedule {
    use super::*;

    /// Takes and gives back, or waits and looks once whether it was given something.
    fn visit(desk: &Desk) {
        let got = match desk.ask() {
            Asked::Value(value) => Some(value),
            Asked::Queued(key) => desk.fetch(key),
        };
        if let Some(value) = got {
            desk.put(value);
        }
    }

    #[test]
    fn two_threads_that_take_and_put_lose_nothing_and_leave_nobody_waiting() {
        loom::model(|| {
            let desk = Arc::new(Desk::new(1));
            let other = thread::spawn({
                let desk = Arc::clone(&desk);
                move || visit(&desk)
            });
            visit(&desk);
            other.join().unwrap();
            assert_eq!(desk.rest(), (vec![0], 0), "whoever found nothing was given the value");
        });
    }

    #[test]
    fn a_value_put_down_while_somebody_queues_reaches_who_queues() {
        loom::model(|| {
            let desk = Arc::new(Desk::new(1));
            let Asked::Value(value) = desk.ask() else { panic!("it lies there") };
            let other = thread::spawn({
                let desk = Arc::clone(&desk);
                move || desk.put(value)
            });
            let asked = desk.ask();
            other.join().unwrap();
            let got = match asked {
                Asked::Value(value) => value,
                Asked::Queued(key) => desk.fetch(key).expect("it was given"),
            };
            assert_eq!((got.place, desk.rest()), (0, (vec![], 0)));
        });
    }

    #[test]
    fn a_value_granted_to_who_leaves_goes_to_the_next() {
        loom::model(|| {
            let desk = Arc::new(Desk::new(1));
            let Asked::Value(value) = desk.ask() else { panic!("it lies there") };
            let [Asked::Queued(first), Asked::Queued(second)] = [desk.ask(), desk.ask()] else {
                panic!("it is taken");
            };
            let other = thread::spawn({
                let desk = Arc::clone(&desk);
                move || desk.put(value)
            });
            let leaving = thread::spawn({
                let desk = Arc::clone(&desk);
                move || desk.abandon(first)
            });
            let early = desk.fetch(second);
            other.join().unwrap();
            leaving.join().unwrap();
            let got = early.or_else(|| desk.fetch(second)).expect("nobody else is left");
            desk.put(got);
            assert_eq!(desk.rest(), (vec![0], 0));
        });
    }

    #[test]
    fn three_threads_never_have_the_same_value() {
        let mut model = loom::model::Builder::new();
        // Each further one takes ten times as long.
        model.preemption_bound = Some(2);
        model.check(|| {
            let desk = Arc::new(Desk::new(2));
            let visit_elsewhere = || {
                let desk = Arc::clone(&desk);
                thread::spawn(move || visit(&desk))
            };
            let others = [visit_elsewhere(), visit_elsewhere()];
            let mine = [desk.ask(), desk.ask()].map(|asked| match asked {
                Asked::Value(value) => Some(value),
                Asked::Queued(key) => desk.fetch(key),
            });
            if let [Some(one), Some(two)] = &mine {
                assert_ne!(one.place, two.place, "a value was had twice");
            }
            for value in mine.into_iter().flatten() {
                desk.put(value);
            }
            for other in others {
                other.join().unwrap();
            }
            let (rest, waiting) = desk.rest();
            assert_eq!((rest, waiting), (vec![0, 1], 0));
        });
    }
}

#[cfg(headpond_shuttle)]
mod random_schedules {
    use shuttle::rand::{Rng, thread_rng};
    use shuttle::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const THREADS: usize = 5;
    const VISITS: usize = 4;
    const VALUES: usize = 3;
    /// Schedules of each kind: a minute or two together.
    const SCHEDULES: usize = 20_000;

    /// Takes and gives back until it has done so often enough; sometimes it leaves the queue.
    fn visit(desk: &Desk, held: &AtomicUsize) {
        for _ in 0..VISITS {
            let value = match desk.ask() {
                Asked::Value(value) => value,
                Asked::Queued(key) if thread_rng().gen_bool(0.25) => {
                    desk.abandon(key);
                    continue;
                }
                Asked::Queued(key) => loop {
                    match desk.fetch(key) {
                        Some(value) => break value,
                        None => thread::yield_now(),
                    }
                },
            };
            assert!(held.fetch_add(1, Ordering::SeqCst) < VALUES, "more are held than there are");
            thread::yield_now();
            held.fetch_sub(1, Ordering::SeqCst);
            desk.put(value);
        }
    }

    /// Everybody comes to an end (a lost wake-up would be an endless run, which fails), and then
    /// every value is there once.
    fn everybody_is_served_and_nothing_is_lost() {
        let (desk, held) = (Arc::new(Desk::new(VALUES)), Arc::new(AtomicUsize::new(0)));
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (desk, held) = (Arc::clone(&desk), Arc::clone(&held));
                thread::spawn(move || visit(&desk, &held))
            })
            .collect();
        // Housekeeping takes what lies idle and lays it down again, all the while.
        for place in 0..VALUES {
            let mut behind = desk.lock();
            let taken = desk.list.take_at(place);
            // Laid down by who had not seen yet that the list was closed, it is not put back.
            if let Some(Err(value)) = taken.map(|value| desk.list.put(place, value)) {
                desk.pass(&mut behind, value);
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(desk.rest(), ((0..VALUES).collect(), 0));
    }

    #[test]
    fn random_schedules_lose_no_slot() {
        shuttle::check_random(everybody_is_served_and_nothing_is_lost, SCHEDULES);
        println!("{SCHEDULES} random schedules of {THREADS} threads: 0 slots lost");
    }

    #[test]
    fn schedules_with_few_preemptions_at_the_worst_moments_lose_no_slot() {
        shuttle::check_pct(everybody_is_served_and_nothing_is_lost, SCHEDULES, 3);
        println!("{SCHEDULES} schedules with 3 preemptions of {THREADS} threads: 0 slots lost");
    }
}
