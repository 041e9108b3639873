//! The common laws on epoll, over TCP and over Unix sockets, and what only epoll promises.

use std::os::fd::OwnedFd;

use headpond_core::Timestamp;

use super::Epoll;
use crate::engine::Address;
use crate::engine::conformance::{self, World};

/// One kind of real socket.
struct Real(conformance::Place);

impl World for Real {
    type Engine = Epoll;
    const WAITS: bool = true;

    fn engine(&mut self) -> Epoll {
        Epoll::new().expect("an engine")
    }

    fn listener(&mut self) -> (OwnedFd, Address) {
        self.0.listener()
    }

    fn idle(&mut self, engine: &mut Epoll) -> Timestamp {
        conformance::soon(engine)
    }
}

mod tcp {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Real(conformance::Place::Tcp)));
}

mod unix {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Real(conformance::Place::unix())));
}

#[test]
#[ignore = "a measurement"]
fn what_a_relayed_transaction_costs() {
    use crate::engine::uring::Uring;
    use conformance::measure::{Load, relay};
    let loads = [(1, 300), (8, 300), (64, 300), (256, 300), (8, 1 << 20)];
    for (clients, answer) in loads {
        let load = Load { clients, answer, seconds: 1.5 };
        for _ in 0..2 {
            relay("epoll", || Epoll::new().expect("an engine"), load);
            relay("uring", || Uring::new().expect("an engine"), load);
        }
    }
}
