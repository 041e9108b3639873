//! The common laws on epoll, over TCP and over Unix sockets, and what only epoll promises.

use headpond_core::Timestamp;

use super::Epoll;
use crate::engine::conformance::World;
use crate::engine::{Address, Engine, socket};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// TCP on the loopback interface.
struct Tcp;

impl World for Tcp {
    type Engine = Epoll;
    const WAITS: bool = true;

    fn engine(&mut self) -> Epoll {
        Epoll::new().expect("an engine")
    }

    fn listener(&mut self) -> (OwnedFd, Address) {
        let any = "127.0.0.1:0".parse().expect("an address");
        let listener = socket::listen_tcp(any, 512, false).expect("a listener");
        let addr = socket::local_addr(&listener).expect("a socket").expect("a TCP one");
        (listener, Address::Tcp(addr))
    }

    fn idle(&mut self, engine: &mut Epoll) -> Timestamp {
        engine.now() + Duration::from_millis(2)
    }
}

mod tcp {
    use super::*;
    crate::engine::conformance::keeps_the_laws!(Some(Tcp));
}
