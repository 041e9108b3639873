//! The common laws on io_uring, where the kernel allows it, and what only io_uring promises.

use std::os::fd::OwnedFd;

use headpond_core::Timestamp;

use super::Uring;
use crate::engine::Address;
use crate::engine::conformance::{self, World};

/// One kind of real socket; none where the kernel refuses io_uring.
struct Real(conformance::Place);

impl Real {
    fn open(place: conformance::Place) -> Option<Self> {
        match Uring::new() {
            Ok(_) => Some(Self(place)),
            Err(error) => {
                println!("skipped: io_uring is refused here: {error}");
                None
            }
        }
    }
}

impl World for Real {
    type Engine = Uring;
    const WAITS: bool = true;

    fn engine(&mut self) -> Uring {
        Uring::new().expect("an engine")
    }

    fn listener(&mut self) -> (OwnedFd, Address) {
        self.0.listener()
    }

    fn idle(&mut self, engine: &mut Uring) -> Timestamp {
        conformance::soon(engine)
    }
}

mod tcp {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Real::open(conformance::Place::Tcp));
}

mod unix {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Real::open(conformance::Place::unix()));
}
