//! A source whose pools and databases the test sets, and a server in front of its monitor.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use headpond_monitor::alert::Severity;
use headpond_monitor::model::{
    Action, Actions, Bouncer, Client, Connections, Database, Holder, Later, Pool, Process, Setting,
    Source, Wait,
};
use headpond_monitor::{Check, Monitor, Options, Probe, Settings};
use headpond_stats::Snapshot;
use tokio::sync::oneshot;

/// What the monitor sees and does.
#[derive(Default)]
pub struct Fake {
    pub pools: Mutex<Vec<Pool>>,
    pub databases: Mutex<Vec<Database>>,
    pub bouncers: Mutex<Vec<Bouncer>>,
    pub clients: Mutex<Vec<Client>>,
    pub draining: Mutex<bool>,
    pub done: Mutex<Vec<(Action, String)>>,
}

impl Probe for Fake {
    fn live(&self) -> Check {
        Check::all(Vec::new())
    }

    fn ready(&self) -> Check {
        let draining = *self.draining.lock().expect("no test panics with it");
        Check::all(vec![("pooler".into(), !draining, String::new())])
    }

    fn started(&self) -> Check {
        Check::all(Vec::new())
    }

    fn collect(&self, into: &mut Snapshot) {
        for pool in self.pools.lock().expect("no test panics with it").iter() {
            into.gauge("fake_waiting", "").add(&[("pool", &pool.name)], u64::from(pool.waiting));
        }
    }
}

impl Source for Fake {
    fn process(&self) -> Process {
        let draining = *self.draining.lock().expect("no test panics with it");
        let phase = if draining { "draining" } else { "running" };
        Process {
            service: "fake".into(),
            phase,
            clients: 3,
            clients_max: 100,
            ..Process::default()
        }
    }

    fn pools(&self) -> Vec<Pool> {
        self.pools.lock().expect("no test panics with it").clone()
    }

    fn databases(&self) -> Vec<Database> {
        self.databases.lock().expect("no test panics with it").clone()
    }

    fn connections(&self) -> Later<'_, Connections> {
        let clients = self.clients.lock().expect("no test panics with it").clone();
        let wait =
            Wait { pool: "a/b".into(), reason: "pool_full", seconds: 2.0, ..Wait::default() };
        let holder = Holder { pool: "a/b".into(), place: "main.rs:7".into(), ..Holder::default() };
        let (waits, holders) = (vec![wait], vec![holder]);
        Box::pin(async { Connections { clients, waits, holders, ..Connections::default() } })
    }

    fn settings(&self) -> Vec<Setting> {
        let setting = |section: &str, key: &str| Setting {
            section: section.into(),
            key: key.into(),
            value: Some("***".into()),
            ..Setting::default()
        };
        vec![setting("databases.a", "password"), setting("pooler", "pool_mode")]
    }

    fn bouncers(&self) -> Vec<Bouncer> {
        self.bouncers.lock().expect("no test panics with it").clone()
    }
}

impl Actions for Fake {
    fn act(&self, action: Action, actor: String) -> Later<'_, Result<String, String>> {
        let refused = action == Action::Reload;
        self.done.lock().expect("no test panics with it").push((action, actor));
        Box::pin(async move { if refused { Err("no".into()) } else { Ok("yes".into()) } })
    }
}

/// A monitor that is served.
pub struct Server {
    pub address: SocketAddr,
    pub fake: Arc<Fake>,
    pub monitor: Arc<Monitor>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(settings: Settings) -> Self {
        let fake = Arc::new(Fake::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let source = Arc::clone(&fake);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                let actions = Arc::clone(&source) as Arc<dyn Actions>;
                let (monitor, watching) = Monitor::new(source, Some(actions), settings);
                let watching = tokio::spawn(watching);
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
                let address = listener.local_addr().expect("an address");
                let router = monitor.router();
                tell.send((address, monitor)).expect("the test waits");
                let shutdown = async {
                    // An error means that the test is gone.
                    let _ = stopped.await;
                };
                let options = Options::default();
                let served = headpond_monitor::serve_with(listener, router, &options, shutdown);
                served.await.expect("served");
                watching.abort();
            });
        });
        let (address, monitor) = told.recv().expect("the server starts");
        Self { address, fake, monitor, stop: Some(stop), thread: Some(thread) }
    }

    pub fn set_pools(&self, pools: Vec<Pool>) {
        *self.fake.pools.lock().expect("no test panics with it") = pools;
    }

    pub fn set_databases(&self, databases: Vec<Database>) {
        *self.fake.databases.lock().expect("no test panics with it") = databases;
    }

    pub fn set_bouncers(&self, bouncers: Vec<Bouncer>) {
        *self.fake.bouncers.lock().expect("no test panics with it") = bouncers;
    }

    /// Sends a request and returns its status, its head and its body.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).expect("the listener is bound");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
        let host = format!("127.0.0.1:{}", self.address.port());
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{length}Connection: close\r\n\r\n\
             {body}"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer in text");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        (status, head.to_lowercase(), body.to_owned())
    }

    pub fn get(&self, path: &str) -> (u16, serde_json::Value) {
        let (status, _, body) = self.ask("GET", path, "", "");
        (status, serde_json::from_str(&body).unwrap_or(serde_json::Value::Null))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It may have ended already.
            let _ = stop.send(());
        }
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
    }
}

/// The least severity there is.
pub const ANY: Severity = Severity::Info;
