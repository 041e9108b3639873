//! A server that speaks PostgreSQL's protocol and is a queue of textbook shape.
//!
//! It has so many workers; each request needs one for a time that is drawn. Which worker is free
//! when is computed, not waited for: a request that arrives now begins when the first worker is
//! free and ends after its service time, whatever the scheduler of this machine does meanwhile. So
//! errors of sleeping do not add up, and the queue behaves as theory says.
//!
//! Invariant: requests are served in the order of their arrival (first come, first served).
//! Left out: everything of SQL.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headpond_core::Random;
use headpond_wire::FrontendTag;
use headpond_wire::backend::{self, Status};
use headpond_wire::frame;

/// How long a request needs a worker.
#[derive(Clone, Copy, Debug)]
pub enum Service {
    Fixed(Duration),
    Exponential(Duration),
}

/// A running server; its threads end with their connections.
#[derive(Clone)]
pub struct Fake {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    service: Service,
    queue: Mutex<Queue>,
    served: AtomicU64,
}

struct Queue {
    /// When each worker is free.
    free: Vec<Instant>,
    random: Random,
}

impl Fake {
    /// Starts a server with so many workers.
    pub fn start(workers: usize, service: Service) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let queue = Queue { free: vec![Instant::now(); workers], random: Random::new(77) };
        let shared =
            Arc::new(Shared { service, queue: Mutex::new(queue), served: AtomicU64::new(0) });
        let fake = Self { port, shared };
        let server = fake.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.talk(stream));
            }
        });
        fake
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("postgres://bench@127.0.0.1:{}/bench?sslmode=disable", self.port)
    }

    /// Returns how many requests were served.
    pub fn served(&self) -> u64 {
        self.shared.served.load(Relaxed)
    }

    /// Stops all work for a while from now on, as a checkpoint or a lock would.
    pub fn stall(&self, time: Duration) {
        let until = Instant::now() + time;
        for free in &mut self.shared.queue.lock().expect("nobody panics").free {
            *free = (*free).max(until);
        }
    }

    /// Ends the conversation when the client does.
    fn talk(&self, mut stream: TcpStream) -> Option<()> {
        stream.set_nodelay(true).ok()?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).ok()?;
        let length = usize::try_from(u32::from_be_bytes(head)).ok()?;
        stream.read_exact(&mut vec![0; length.checked_sub(4)?]).ok()?;
        let mut out = Vec::new();
        backend::authentication_ok(&mut out);
        backend::backend_key_data(&mut out, 1, b"1234");
        backend::ready_for_query(&mut out, Status::Idle);
        stream.write_all(&out).ok()?;
        let (mut input, mut buffer) = (Vec::new(), [0; 8192]);
        loop {
            let n = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
            input.extend_from_slice(&buffer[..n]);
            while let Some(found) = frame::whole(&input, 1 << 20).ok()? {
                let (tag, total) = (FrontendTag::from_byte(found.tag)?, found.total);
                input.drain(..total);
                out.clear();
                self.answer(tag, &mut out)?;
                stream.write_all(&out).ok()?;
            }
        }
    }

    fn answer(&self, tag: FrontendTag, out: &mut Vec<u8>) -> Option<()> {
        match tag {
            FrontendTag::Parse => backend::parse_complete(out),
            FrontendTag::Bind => backend::bind_complete(out),
            FrontendTag::Describe => backend::no_data(out),
            FrontendTag::Execute => {
                self.serve();
                backend::command_complete(out, b"SELECT 0");
            }
            FrontendTag::Query => {
                self.serve();
                backend::command_complete(out, b"SELECT 0");
                backend::ready_for_query(out, Status::Idle);
            }
            FrontendTag::Sync => backend::ready_for_query(out, Status::Idle),
            _ => return None,
        }
        Some(())
    }

    /// Waits for a worker and for the service.
    fn serve(&self) {
        let end = {
            let mut queue = self.shared.queue.lock().expect("nobody panics");
            let time = match self.shared.service {
                Service::Fixed(time) => time,
                Service::Exponential(mean) => {
                    let uniform = (queue.random.up_to(u64::MAX - 1) as f64 + 1.0) / u64::MAX as f64;
                    mean.mul_f64(-uniform.ln())
                }
            };
            let free = queue.free.iter_mut().min().expect("there are workers");
            *free = (*free).max(Instant::now()) + time;
            *free
        };
        if let Some(rest) = end.checked_duration_since(Instant::now()) {
            std::thread::sleep(rest);
        }
        self.shared.served.fetch_add(1, Relaxed);
    }
}
