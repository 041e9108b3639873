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
