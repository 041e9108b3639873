//! The free list under a model checker: every schedule of a few threads. `make loom` runs it.
//!
//! Left out: the core; a lock with a counter stands for it.

use loom::sync::{Arc, Mutex};
use loom::thread;

use crate::freelist::{Freelist, Taken};

/// The list with a queue behind a lock, as the pool has them: whoever finds nothing closes the list
/// under the lock, takes what was put down meanwhile, or waits; whoever cannot put a value down
/// gives it to who waits.
struct Desk {
    list: Freelist<u32>,
    behind: Mutex<Behind>,
}

#[derive(Default)]
struct Behind {
    waiting: u32,
    given: Vec<u32>,
    kept: Vec<u32>,
}

impl Desk {
    fn new(values: u32) -> Self {
        let list = Freelist::new();
        list.make_room(0, false);
        for place in 0..values {
            assert!(list.put(place as usize, place).is_ok());
        }
        Self { list, behind: Mutex::new(Behind::default()) }
    }

    /// Takes a value, or enters the queue.
    fn take(&self) -> Option<u32> {
        if let Taken::Value(_, value) = self.list.take() {
            return Some(value);
        }
        let mut behind = self.behind.lock().unwrap();
        self.list.close(|_, value| behind.kept.push(value));
        if let Some(value) = behind.kept.pop() {
            if behind.waiting == 0 {
                self.list.open();
            }
            return Some(value);
        }
        behind.waiting += 1;
        None
    }

    fn put(&self, value: u32) {
        let Err(value) = self.list.put(value as usize, value) else { return };
        let mut behind = self.behind.lock().unwrap();
        if behind.waiting > 0 {
            behind.waiting -= 1;
            behind.given.push(value);
        } else {
            behind.kept.push(value);
        }
        if behind.waiting == 0 {
            self.list.open();
        }
    }

    /// Returns every value that is not with a thread, and how many threads wait.
    fn rest(&self) -> (Vec<u32>, u32) {
        let mut behind = self.behind.lock().unwrap();
        let mut rest = std::mem::take(&mut behind.given);
        rest.append(&mut behind.kept);
        self.list.close(|_, value| rest.push(value));
        rest.sort_unstable();
        (rest, behind.waiting)
    }
}

/// Takes and gives back; returns whether there was anything.
fn visit(desk: &Desk) -> bool {
    let got = desk.take();
    if let Some(value) = got {
        desk.put(value);
    }
    got.is_some()
}

#[test]
fn two_threads_that_take_and_put_lose_nothing_and_leave_nobody_waiting() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(1));
        let other = thread::spawn({
            let desk = Arc::clone(&desk);
            move || visit(&desk)
        });
        let served = [visit(&desk), other.join().unwrap()];
        let (rest, waiting) = desk.rest();
        // Whoever found nothing was given the value: nobody waits while it lies around.
        assert_eq!((rest, waiting), (vec![0], 0), "{served:?}");
    });
}

#[test]
fn a_value_put_down_while_somebody_queues_reaches_who_queues() {
    loom::model(|| {
        let desk = Arc::new(Desk::new(1));
        let value = desk.take().expect("it lies there");
        let other = thread::spawn({
            let desk = Arc::clone(&desk);
            move || desk.put(value)
        });
        let got = desk.take();
        other.join().unwrap();
        let (rest, waiting) = desk.rest();
        match got {
            Some(got) => assert_eq!((got, rest.len(), waiting), (value, 0, 0)),
            None => assert_eq!((rest, waiting), (vec![value], 0), "it was given"),
        }
    });
}

#[test]
fn three_threads_never_have_the_same_value() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let desk = Arc::new(Desk::new(2));
        let visit_elsewhere = || {
            let desk = Arc::clone(&desk);
            thread::spawn(move || visit(&desk))
        };
        let others = [visit_elsewhere(), visit_elsewhere()];
        let (mine, also) = (desk.take(), desk.take());
        assert!(mine.is_none() || mine != also, "a value was had twice");
        for value in [mine, also].into_iter().flatten() {
            desk.put(value);
        }
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(desk.rest(), (vec![0, 1], 0));
    });
}
