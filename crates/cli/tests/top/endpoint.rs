//! A pooler that says what a test wants, or nothing.
//!
//! Not here: a real one, which `pooling.rs` has.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// As a pooler does.
    Well,
    /// It takes requests and says nothing.
    Never,
    /// It closes every connection.
    Gone,
}

struct Inside {
    manner: Manner,
    /// What was asked, in order.
    asked: Vec<String>,
    pools: Value,
    rows: usize,
}

/// Serves until the test ends.
pub struct Endpoint {
    address: SocketAddr,
    inside: Arc<(Mutex<Inside>, Condvar)>,
}

/// Returns a pool as `/api/v1/pools` has it.
pub fn pool(name: &str, used: u32) -> Value {
    json!({
        "name": name, "database": "shop", "user": "web", "backend": "postgresql",
        "mode": "transaction", "paused": false, "breaker": "closed",
        "connections": { "used": used, "idle": 2 }, "size_max": 10, "waiting": 0,
        "health": { "status": "healthy", "text": "" },
        "figures": { "queries_rate": 123.4, "query_p50_seconds": 0.002 },
    })
}

impl Endpoint {
    /// Starts with one pool.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let pools = json!([pool("shop/web", 4)]);
        let inside = Inside { manner: Manner::Well, asked: Vec::new(), pools, rows: 3 };
        let inside = Arc::new((Mutex::new(inside), Condvar::new()));
        let shared = Arc::clone(&inside);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { address, inside }
    }

    /// Returns where it is.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers so from now on; whoever waits for an answer gets it.
    pub fn answer(&self, manner: Manner) {
        self.inside.0.lock().expect("no thread panics").manner = manner;
        self.inside.1.notify_all();
    }

    /// Has these pools from now on.
    pub fn pools(&self, pools: Value) {
        self.inside.0.lock().expect("no thread panics").pools = pools;
    }

    /// Has so many clients from now on.
    pub fn rows(&self, rows: usize) {
        self.inside.0.lock().expect("no thread panics").rows = rows;
    }

    /// Waits until something was asked that is as wanted.
    pub fn wait_asked(&self, wanted: impl Fn(&str) -> bool) {
        let asked = |inside: &mut Inside| !inside.asked.iter().any(|asked| wanted(asked));
        let inside = self.inside.0.lock().expect("no thread panics");
        let patience = std::time::Duration::from_secs(60);
        let waited = self.inside.1.wait_timeout_while(inside, patience, asked);
        assert!(!waited.expect("no thread panics").1.timed_out(), "it was not asked");
    }

    /// Returns what was asked that is as wanted.
    pub fn asked(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let inside = self.inside.0.lock().expect("no thread panics");
        inside.asked.iter().filter(|asked| wanted(asked)).cloned().collect()
    }
}

/// Answers one request; whoever asked may have left.
fn serve(stream: TcpStream, shared: &(Mutex<Inside>, Condvar)) {
    let mut reader = BufReader::new(&stream);
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    let mut line = String::new();
    while matches!(reader.read_line(&mut line), Ok(3..)) {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        if name == "Content-Length" {
            length = value.parse().expect("a number");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a whole body");
    let request = format!("{} {}", first.trim_end(), String::from_utf8_lossy(&body));
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut inside = shared.0.lock().expect("no thread panics");
    inside.asked.push(request);
    shared.1.notify_all();
    while inside.manner == Manner::Never {
        inside = shared.1.wait(inside).expect("no thread panics");
    }
    if inside.manner == Manner::Gone {
        return;
    }
    let answer = answer(&inside, &path).to_string();
    drop(inside);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
    let _ = (&stream).write_all(format!("{head}{answer}").as_bytes());
}

fn answer(inside: &Inside, path: &str) -> Value {
    let client =
        |id: usize| json!({ "id": id, "user": "web", "database": "shop", "place": "here" });
    match path.split('?').next().unwrap_or_default() {
        "/api/v1/status" => json!({
            "at": "2026-12-01T10:20:30.123Z", "status": "healthy", "alerts_firing": 0,
            "process": { "service": "headpond", "version": "9.9", "uptime_seconds": 7300.0,
                         "clients": 12, "clients_max": 100, "phase": "running" },
        }),
        "/api/v1/pools" => json!({ "total": 1, "pools": inside.pools }),
        "/api/v1/clients" => {
            let clients: Vec<Value> = (1..=inside.rows.min(1000)).map(client).collect();
            json!({ "found": inside.rows, "clients": clients })
        }
        "/api/v1/history" => json!({
            "fields": ["used", "waiting"],
            "points": [[20.0, 1.0, 0.0], [10.0, 4.0, 0.0], [0.0, 2.0, 1.0]],
        }),
        path if path.starts_with("/api/v1/actions/") => json!({ "result": "shop paused" }),
        path => {
            let name = path.rsplit('/').next().unwrap_or_default();
            json!({ "found": 0, name: [] })
        }
    }
}
