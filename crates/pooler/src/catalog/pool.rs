//! One pool: the servers of a (database, user) pair and what belongs to them.
//!
//! Invariant: the bookkeeping is behind one short lock that is never held across I/O; everything
//! that is read per query is behind an `Arc` that is replaced whole.
//! Not here: carrying out the commands of the core (`worker/`).

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use headpond_core::{Limits, Policy, PoolCore};
use headpond_stats::{Counter, Distribution, Histogram};
use headpond_wire::auth::scram;
use headpond_wire::backend;
use headpond_wire::login::connect::Welcome;
use headpond_wire::session;
use headpond_wire::startup::{Params, Replication, options as options_of};
use parking_lot::Mutex;

use super::database::{Database, User};
use super::forget::Rest;

/// What makes two clients share servers: everything that a server connection cannot change later.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PoolKey {
    /// Name of the `[databases]` entry.
    pub database: String,
    /// The user that the servers log in as.
    pub user: String,
    /// What the servers replicate; such a server belongs to one client for its whole life.
    pub replication: Option<Replication>,
}

/// The resolved settings of a pool; replaced whole on reload.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// What the relay needs.
    pub session: session::Settings,
    /// Sizes.
    pub limits: Limits,
    /// Times and orders.
    pub policy: Policy,
    /// Run at release in session mode (or always); empty for none.
    pub reset_query: Vec<u8>,
    /// Also in transaction and statement mode.
    pub reset_always: bool,
    /// Run on idle servers before use; `None` for no check. Empty text is an empty query.
    pub check_query: Option<Vec<u8>>,
    /// Run on each new server.
    pub connect_query: Option<Vec<u8>>,
    /// Connect and login together.
    pub connect_timeout: Duration,
    /// How long a client waits for a server; zero for ever.
    pub query_wait_timeout: Duration,
    /// Notice to a client queued this long; zero for none.
    pub query_wait_notify: Duration,
    /// Limit of one query.
    pub query_timeout: Duration,
    /// Limit of idling in a transaction.
    pub idle_transaction_timeout: Duration,
    /// Limit of a transaction.
    pub transaction_timeout: Duration,
    /// Limit of idling outside one.
    pub client_idle_timeout: Duration,
    /// How long a cancel may take.
    pub cancel_wait_timeout: Duration,
    /// Session mode: close a server marked for closing as soon as it is idle.
    pub fast_close: bool,
}

/// Counters of a pool on one worker: written by that worker alone.
#[derive(Default)]
pub struct PoolStats {
    /// Servers handed to clients.
    pub assignments: Counter,
    /// Transactions finished.
    pub transactions: Counter,
    /// Queries finished.
    pub queries: Counter,
    /// Bytes from clients.
    pub received: Counter,
    /// Bytes to clients.
    pub sent: Counter,
    /// Nanoseconds inside transactions.
    pub transaction_time: Counter,
    /// Nanoseconds inside queries.
    pub query_time: Counter,
    /// Nanoseconds waited for servers.
    pub wait_time: Counter,
    /// Parse messages from clients.
    pub client_parses: Counter,
    /// Parse messages to servers.
    pub server_parses: Counter,
    /// Bind messages.
    pub binds: Counter,
    /// Logins finished.
    pub logins: Counter,
    /// Connects that succeeded.
    pub connects: Counter,
    /// Connects that failed.
    pub connect_failures: Counter,
    /// Servers closed.
    pub closes: Counter,
    /// Errors that the pooler sent to clients.
    pub errors: Counter,
    /// Cancels sent on.
    pub cancels: Counter,
    /// Notices and notifications that nobody was there to hear.
    pub dropped_notices: Counter,
    /// Clients that gave up waiting or were refused.
    pub refusals: Counter,
    /// Waits by reason.
    pub waits: [Times; WaitReason::COUNT],
    /// Query durations.
    pub query_seconds: Times,
    /// Transaction durations.
    pub transaction_seconds: Times,
    /// Connect and login durations.
    pub connect_seconds: Times,
}

/// A histogram that takes its memory with the first duration: a pool that never served anybody
/// costs little, and whoever may ask for databases that do not exist can make many of those.
#[derive(Debug, Default)]
pub struct Times(OnceLock<Box<Histogram>>);

impl Times {
    /// Counts one duration. Only the owning thread may call this.
    pub fn record(&self, duration: Duration) {
        self.0.get_or_init(Box::default).record(duration);
    }

    /// Adds what was recorded so far to `sum`.
    pub fn add_to(&self, sum: &mut Distribution) {
        if let Some(histogram) = self.0.get() {
            histogram.add_to(sum);
        }
    }
}

/// Why a client waits for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// Every server is in use and the pool is at its size.
    PoolFull,
    /// A new server is on its way.
    Connecting,
    /// An idle server is being checked or moved to this worker.
    Preparing,
    /// PAUSE.
    Paused,
    /// The server cannot be reached.
    ServerDown,
    /// `max_db_connections` or `max_user_connections`.
    Budget,
}

impl WaitReason {
    /// How many there are.
    pub const COUNT: usize = 6;
    /// All of them, in the order of [`PoolStats::waits`].
    pub const ALL: [WaitReason; Self::COUNT] = [
        WaitReason::PoolFull,
        WaitReason::Connecting,
        WaitReason::Preparing,
        WaitReason::Paused,
        WaitReason::ServerDown,
        WaitReason::Budget,
    ];

    /// The label value and the words in error details.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WaitReason::PoolFull => "pool_full",
            WaitReason::Connecting => "connecting",
            WaitReason::Preparing => "preparing",
            WaitReason::Paused => "paused",
            WaitReason::ServerDown => "server_down",
            WaitReason::Budget => "budget",
        }
    }
}

/// A salted password computed once: a server keeps the salt of a role until its password changes.
#[derive(Clone)]
pub struct Salted {
    /// The salt the server sent.
    pub salt: Vec<u8>,
    /// The iteration count the server sent.
    pub iterations: u32,
    /// PBKDF2 of the password.
    pub value: zeroize::Zeroizing<[u8; 32]>,
    /// The password it was made of.
    pub password: zeroize::Zeroizing<Vec<u8>>,
}

/// What servers log in with, beyond the configuration.
#[derive(Default)]
pub struct Credentials {
    /// Keys that a client's SCRAM login yielded (pass-through).
    pub scram: Option<scram::Keys>,
    /// A password that a client sent in the clear.
    pub plain: Option<zeroize::Zeroizing<Vec<u8>>>,
    /// The last PBKDF2 result.
    pub salted: Option<Salted>,
}

/// What the first server of a pool reported.
pub struct Greeting {
    /// As it came.
    pub welcome: Welcome,
    /// The parameters that follow clients; shared by all that change none.
    pub parameters: session::Parameters,
    /// What every client is told, as it is sent: the parameters that are nobody's own.
    fixed: Vec<u8>,
    /// Which of the parameters in `welcome` each client has values of its own for.
    followed: Vec<usize>,
    /// What clients were told that wished for something; the clients of one program all wish for
    /// the same.
    told: ArcSwap<Vec<Arc<Told>>>,
}

/// What clients with the same wishes are told.
struct Told {
    /// What they wished for: the parameters of their startup packet, and whether what stands in
    /// `options` counted.
    wishes: Params,
    with_options: bool,
    parameters: session::Parameters,
    bytes: Vec<u8>,
}

/// How many different wishes a pool remembers the answer to.
const TOLD_MAX: usize = 8;
/// The longest wishes, in bytes, whose answer is remembered.
const WISHES_MAX: usize = 512;

impl Greeting {
    /// Prepares what the clients of a pool are told.
    #[must_use]
    pub fn new(welcome: Welcome, parameters: session::Parameters) -> Self {
        let (mut fixed, mut followed) = (Vec::new(), Vec::new());
        for (place, (name, value)) in welcome.params.iter().enumerate() {
            if parameters.get(name).is_some() {
                followed.push(place);
            } else {
                backend::parameter_status(&mut fixed, name, value);
            }
        }
        Self { welcome, parameters, fixed, followed, told: ArcSwap::default() }
    }

    /// Tells a client all parameters, and returns those that follow it: with the values of its
    /// startup packet where it names them there.
    ///
    /// `extra` gives what is wished for beyond `wishes` and the settings in their `options`, which
    /// count `with_options`; whoever has such wishes has an answer of its own.
    pub fn tell(
        &self,
        out: &mut Vec<u8>,
        wishes: &Params,
        with_options: bool,
        extra: Option<impl FnOnce(&mut Params)>,
    ) -> session::Parameters {
        let told = self.told.load();
        let is_same = |t: &&Arc<Told>| t.with_options == with_options && t.wishes == *wishes;
        if extra.is_none()
            && let Some(told) = told.iter().find(is_same)
        {
            out.extend_from_slice(&told.bytes);
            return told.parameters.clone();
        }
        let mut wanted = wishes.clone();
        if with_options {
            let options = wishes.iter().find(|(name, _)| name == b"options");
            // They were checked at startup.
            let settings = options.and_then(|(_, text)| options_of(text).ok());
            wanted.extend(settings.unwrap_or_default());
        }
        let remember = extra.is_none()
            && told.len() < TOLD_MAX
            && wishes.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
                <= WISHES_MAX;
        if let Some(extra) = extra {
            extra(&mut wanted);
        }
        let pairs = wanted.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let parameters = self.parameters.with_all(pairs);
        let start = out.len();
        self.write(out, &parameters);
        if remember {
            let mut more = Vec::clone(&told);
            more.push(Arc::new(Told {
                wishes: wishes.clone(),
                with_options,
                parameters: parameters.clone(),
                bytes: out[start..].to_vec(),
            }));
            // Of two at the same time one is forgotten, and comes again.
            self.told.store(Arc::new(more));
        }
        parameters
    }

    /// Writes all parameters, those that follow a client with its own values.
    fn write(&self, out: &mut Vec<u8>, own: &session::Parameters) {
        out.extend_from_slice(&self.fixed);
        for (name, value) in
            self.followed.iter().filter_map(|place| self.welcome.params.get(*place))
        {
            backend::parameter_status(out, name, own.get(name).unwrap_or(value));
        }
    }
}

/// One pool.
pub struct Pool {
    /// Which.
    pub key: PoolKey,
    /// Small dense number: index into the workers' tables.
    pub id: u32,
    /// Who gets which connection.
    pub core: Mutex<PoolCore>,
    /// Its database.
    pub database: Arc<Database>,
    /// Its user.
    pub user: Arc<User>,
    /// Replaced on reload.
    pub settings: ArcSwap<PoolSettings>,
    /// What the first server login reported; clients log in with it.
    pub welcome: ArcSwapOption<Greeting>,
    /// What servers log in with.
    pub credentials: Mutex<Credentials>,
    /// The last error of a server login, repeated to clients while logins fail.
    pub last_error: Mutex<Option<String>>,
    /// Counters, one per lane.
    pub stats: Vec<PoolStats>,
    /// Clients that are logged in to it.
    pub clients: AtomicU32,
    /// The deadline for which some worker has a timer, in nanoseconds; `u64::MAX` for none.
    pub armed: AtomicU64,
    /// An Open was postponed because an outer budget is full.
    pub starved: AtomicBool,
    /// Which host of a list is next.
    pub next_host: AtomicU32,
    /// Taken out of the configuration: its clients are closed at their next step.
    pub removed: AtomicBool,
    /// Since when nobody uses it.
    pub rest: Rest,
}

impl Pool {
    /// Adds one counter over all lanes.
    #[must_use]
    pub fn total(&self, counter: impl Fn(&PoolStats) -> &Counter) -> u64 {
        self.stats.iter().map(|lane| counter(lane).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Extra = fn(&mut Params);
    const NOTHING: Option<Extra> = None;

    fn pairs(pairs: &[(&str, &str)]) -> Params {
        pairs
            .iter()
            .map(|(name, value)| (name.as_bytes().into(), value.as_bytes().into()))
            .collect()
    }

    fn greeting() -> Greeting {
        let reported =
            pairs(&[("server_version", "16"), ("TimeZone", "UTC"), ("application_name", "")]);
        let tracked = session::Tracked::standard();
        let values = reported.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
        let parameters = session::Parameters::new(&tracked, values);
        let status = headpond_wire::Status::Idle;
        let welcome = Welcome { params: reported, pid: 0, key: Vec::new(), status };
        Greeting::new(welcome, parameters)
    }

    fn told(greeting: &Greeting, wishes: &Params, with_options: bool) -> (Vec<u8>, Vec<String>) {
        let mut out = b"before".to_vec();
        let parameters = greeting.tell(&mut out, wishes, with_options, NOTHING);
        let values = parameters
            .iter()
            .map(|(n, v)| format!("{}={}", String::from_utf8_lossy(n), String::from_utf8_lossy(v)));
        (out, values.collect())
    }

    #[test]
    fn a_client_is_told_the_same_whether_or_not_somebody_wished_for_it_before() {
        let wishes = [
            pairs(&[("user", "a")]),
            pairs(&[("user", "a"), ("TimeZone", "GMT")]),
            pairs(&[("user", "a"), ("application_name", "x"), ("options", "-c timezone=CET")]),
            pairs(&[("user", "a"), ("application_name", "y"), ("options", "-c timezone=CET")]),
        ];
        let used = greeting();
        for _ in 0..3 {
            for wishes in &wishes {
                for with_options in [false, true] {
                    let fresh = told(&greeting(), wishes, with_options);
                    assert_eq!(told(&used, wishes, with_options), fresh);
                }
            }
        }
        assert_eq!(used.told.load().len(), TOLD_MAX);
    }

    #[test]
    fn only_a_few_short_wishes_are_remembered() {
        let used = greeting();
        for n in 0..100 {
            let name = format!("client {n}");
            told(&used, &pairs(&[("application_name", &name)]), true);
        }
        assert_eq!(used.told.load().len(), TOLD_MAX);
        let used = greeting();
        told(&used, &pairs(&[("application_name", &"x".repeat(WISHES_MAX))]), true);
        assert!(used.told.load().is_empty());
    }

    #[test]
    fn a_wish_of_ones_own_is_not_remembered_for_others() {
        let used = greeting();
        let wishes = pairs(&[("application_name", "x")]);
        let extra = |wanted: &mut Params| wanted.extend(pairs(&[("application_name", "x - host")]));
        let parameters = used.tell(&mut Vec::new(), &wishes, true, Some(extra));
        assert_eq!(parameters.get(b"application_name"), Some(&b"x - host"[..]));
        assert_eq!(told(&used, &wishes, true), told(&greeting(), &wishes, true));
    }
}
