//! What a seed stands for: the weather, the servers, the configuration, the clients.
//!
//! Invariant: drawn from the seed alone, before anything runs.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::Duration;

use headpond_pooler::engine::sim::Conditions;
use headpond_wire::auth::{md5, scram};

use crate::random::Dice;

/// How somebody proves who he is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    Trust,
    Plain,
    Md5,
    Scram,
}

/// How long a server takes for what it is asked.
#[derive(Clone, Debug)]
pub struct Times {
    /// Statements of a hundred that take any time.
    pub slow_percent: usize,
    /// The longest of those; most are much shorter.
    pub longest: Duration,
    /// Cancel connections of a hundred that are never closed.
    pub mute_cancel_percent: usize,
}

impl Times {
    /// How long one statement takes.
    pub fn draw(&self, dice: &mut Dice) -> Duration {
        if !dice.percent(self.slow_percent) {
            return Duration::ZERO;
        }
        let longest = if dice.one_in(5) { self.longest } else { self.longest / 50 };
        dice.up_to(longest)
    }

    /// How long a cancel connection stays open; none for ever.
    pub fn cancel(&self, dice: &mut Dice) -> Option<Duration> {
        (!dice.percent(self.mute_cancel_percent)).then(|| dice.up_to(Duration::from_millis(20)))
    }
}

/// When a client keeps its server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Session,
    Transaction,
    Statement,
}

/// What is in the configuration and may change with a reload.
#[derive(Clone, Debug)]
pub struct Sizes {
    pub pool: usize,
    pub min: usize,
    pub reserve: usize,
    pub database_max: usize,
    pub user_max: usize,
    pub lifetime_ms: usize,
    pub idle_timeout_ms: usize,
    pub query_wait_ms: usize,
    pub check_delay_ms: usize,
}

/// A run, as its seed draws it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub lanes: usize,
    pub conditions: Conditions,
    pub servers: usize,
    pub databases: usize,
    pub users: Vec<&'static str>,
    pub mode: Mode,
    pub client_proof: Proof,
    pub server_proof: Proof,
    pub times: Times,
    pub sizes: Sizes,
    /// Prepared statements kept per server; 0: they are not followed.
    pub statements_max: usize,
    pub share_unnamed: bool,
    pub clients: usize,
    pub lives: usize,
    pub acts: usize,
    /// How long things may fail.
    pub storm: Duration,
    /// How often something fails; none for never.
    pub fault_every: Option<Duration>,
    /// Limits of queries and transactions are in force.
    pub limits: bool,
    /// Servers may fall silent: every query has a limit.
    pub silence: bool,
    fixed: String,
}

const PASSWORD: &str = "secret";
const ITERATIONS: u32 = 4;

/// The password of a user.
pub fn password_of(user: &str) -> String {
    format!("{PASSWORD} of {user}")
}

/// The SCRAM secret of a user, as a server keeps it; derived once per process.
pub fn secret_of(user: &str) -> String {
    static SECRETS: OnceLock<Vec<(&'static str, String)>> = OnceLock::new();
    let secrets = SECRETS.get_or_init(|| {
        let make = |user: &'static str| {
            let salt = b"salt and pepper!";
            let salted = scram::salted_password(password_of(user).as_bytes(), salt, ITERATIONS);
            let secret = scram::Secret::derive_from_salted(salted, salt, ITERATIONS);
            (user, secret.to_secret_string())
        };
        USERS.iter().map(|user| make(user)).collect()
    });
    let found = secrets.iter().find(|(known, _)| *known == user);
    found.map(|(_, secret)| secret.clone()).expect("one of our users")
}

/// All users: two with plain passwords, one known by an MD5 digest, one by a SCRAM secret.
pub const USERS: [&str; 4] = ["plain1", "plain2", "hashed", "salted"];

/// The text of userlist.txt.
pub fn userlist() -> String {
    let digest = md5::digest_password(b"hashed", password_of("hashed").as_bytes());
    let secrets = [password_of("plain1"), password_of("plain2"), digest, secret_of("salted")];
    let lines =
        USERS.iter().zip(secrets).map(|(user, secret)| format!("\"{user}\" \"{secret}\"\n"));
    lines.collect()
}

impl Plan {
    /// Draws the run of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed_0f7e_e150_0000);
        let dice = &mut dice;
        let mode = match dice.below(20) {
            0 | 1 => Mode::Statement,
            2..=4 => Mode::Session,
            _ => Mode::Transaction,
        };
        let (client_proof, server_proof, users) = draw_proofs(dice);
        let crowd = dice.one_in(25);
        let limits = dice.one_in(4);
        let times = Times {
            slow_percent: *dice.pick(&[0, 5, 30, 60]),
            longest: Duration::from_millis(*dice.pick(&[20, 200, 3000])),
            mute_cancel_percent: *dice.pick(&[0, 0, 10]),
        };
        let statements_max = *dice.pick(&[0, 1, 2, 5, 200, 200]);
        let mut plan = Self {
            lanes: dice.within(1, 3),
            conditions: draw_conditions(dice),
            servers: dice.within(1, 2),
            databases: dice.within(1, 2),
            users,
            mode,
            client_proof,
            server_proof,
            times,
            sizes: draw_sizes(dice),
            statements_max,
            share_unnamed: statements_max > 0 && dice.one_in(4),
            clients: if crowd { dice.within(100, 300) } else { dice.within(2, 30) },
            lives: dice.within(1, 3),
            acts: if crowd { dice.within(3, 8) } else { dice.within(5, 25) },
            storm: Duration::from_millis(*dice.pick(&[100, 500, 2000, 8000])),
            fault_every: *dice.pick(&[
                None,
                Some(Duration::from_millis(3)),
                Some(Duration::from_millis(15)),
                Some(Duration::from_millis(60)),
                Some(Duration::from_millis(250)),
            ]),
            limits,
            silence: false,
            fixed: String::new(),
        };
        let query_limit = if limits { *dice.pick(&[1500, 0, 5000]) } else { 0 };
        plan.silence = query_limit > 0;
        plan.fixed = plan.draw_fixed(query_limit, dice);
        plan
    }

    /// Changes what a reload may change.
    pub fn vary(&mut self, dice: &mut Dice) {
        self.sizes = draw_sizes(dice);
    }

    /// Makes everybody wait as long as it takes.
    pub fn be_patient(&mut self) {
        self.sizes.query_wait_ms = 0;
    }

    /// The configuration.
    pub fn ini(&self, userlist: &str) -> String {
        let sizes = &self.sizes;
        let mut text = String::from("[databases]\n");
        for database in 0..self.databases {
            let hosts = match (self.servers, database) {
                (2, 0) => "10.0.0.1,10.0.0.2",
                (2, _) => "10.0.0.2",
                _ => "10.0.0.1",
            };
            let _ = writeln!(text, "db{database} = host={hosts} port=5432 dbname=db{database}");
        }
        let _ = write!(
            text,
            "[pgbouncer]\nauth_file = {userlist}\nlog_connections = 1\nlog_stats = 0\n\
             max_client_conn = 10000\ndefault_pool_size = {}\nmin_pool_size = {}\n\
             reserve_pool_size = {}\nmax_db_connections = {}\nmax_user_connections = {}\n\
             server_lifetime = {}ms\nserver_idle_timeout = {}ms\nquery_wait_timeout = {}ms\n\
             server_check_delay = {}ms\n{}",
            sizes.pool,
            sizes.min.min(sizes.pool),
            sizes.reserve,
            sizes.database_max,
            sizes.user_max,
            sizes.lifetime_ms,
            sizes.idle_timeout_ms,
            sizes.query_wait_ms,
            sizes.check_delay_ms,
            self.fixed,
        );
        text
    }

    fn draw_fixed(&self, query_limit: u32, dice: &mut Dice) -> String {
        let mode = match self.mode {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
            Mode::Statement => "statement",
        };
        let auth = match self.client_proof {
            Proof::Trust => "trust",
            Proof::Plain => "plain",
            Proof::Md5 => "md5",
            Proof::Scram => "scram-sha-256",
        };
        let (transaction, idle) = match self.limits {
            true => (*dice.pick(&[0, 3000]), *dice.pick(&[0, 1000])),
            false => (0, 0),
        };
        let check = *dice.pick(&["", "<empty>", "select 1"]);
        let reset = if self.mode == Mode::Session || dice.one_in(6) { 1 } else { 0 };
        format!(
            "pool_mode = {mode}\nauth_type = {auth}\nscram_iterations = {ITERATIONS}\n\
             server_check_query = {check}\nserver_reset_query = DISCARD ALL\n\
             server_reset_query_always = {reset}\nserver_round_robin = {}\n\
             server_connect_timeout = {}ms\nserver_login_retry = {}ms\nserver_fast_close = {}\n\
             client_login_timeout = {}ms\ncancel_wait_timeout = {}ms\n\
             query_timeout = {query_limit}ms\n\
             transaction_timeout = {transaction}ms\nidle_transaction_timeout = {idle}ms\n\
             client_idle_timeout = {}ms\nquery_wait_notify = {}\nreserve_pool_timeout = {}ms\n\
             max_prepared_statements = {}\nserver_tls_sslmode = {}\n\
             [headpond]\nshare_unnamed_statements = {}\non_failing = {}\nconnects_max = {}\n\
             local_first_ms = {}\n",
            dice.below(2),
            dice.pick(&[300, 1000, 3000]),
            dice.pick(&[100, 1000]),
            dice.below(2),
            dice.pick(&[20_000, 60_000]),
            dice.pick(&[500, 3000]),
            if self.limits { *dice.pick(&[0, 2000]) } else { 0 },
            dice.below(3),
            dice.pick(&[1, 50, 500]),
            self.statements_max,
            dice.pick(&["disable", "prefer"]),
            u8::from(self.share_unnamed),
            dice.pick(&["fail", "hold"]),
            dice.pick(&[1, 2, 8]),
            dice.pick(&[0, 1, 20]),
        )
    }
}

fn draw_proofs(dice: &mut Dice) -> (Proof, Proof, Vec<&'static str>) {
    let plain = ["plain1", "plain2"];
    let (client, server, users): (_, _, &[&'static str]) = match dice.below(8) {
        0..=2 => (Proof::Trust, Proof::Trust, &USERS),
        3 => (Proof::Md5, Proof::Md5, &USERS[..3]),
        4 => (Proof::Md5, Proof::Trust, &USERS[..3]),
        5 => (Proof::Scram, Proof::Scram, &["plain1", "plain2", "salted"]),
        6 => (Proof::Scram, Proof::Md5, &plain),
        _ => (Proof::Plain, Proof::Plain, &plain),
    };
    let many = dice.within(1, users.len().min(2));
    let first = dice.below(users.len());
    let users = users.iter().cycle().skip(first).take(many).copied().collect();
    (client, server, users)
}

fn draw_conditions(dice: &mut Dice) -> Conditions {
    match dice.below(5) {
        0 => Conditions::calm(),
        1 => Conditions::rough(),
        _ => Conditions::drawn(dice.bits()),
    }
}

fn draw_sizes(dice: &mut Dice) -> Sizes {
    Sizes {
        pool: dice.within(1, 6),
        min: *dice.pick(&[0, 0, 0, 1, 3]),
        reserve: *dice.pick(&[0, 0, 1, 2]),
        database_max: *dice.pick(&[0, 0, 0, 1, 2, 4]),
        user_max: *dice.pick(&[0, 0, 0, 1, 3]),
        lifetime_ms: *dice.pick(&[3_600_000, 3_600_000, 300, 2000, 0]),
        idle_timeout_ms: *dice.pick(&[0, 600_000, 200, 1000]),
        query_wait_ms: *dice.pick(&[0, 0, 500, 5000, 120_000]),
        check_delay_ms: *dice.pick(&[0, 50, 1000]),
    }
}
