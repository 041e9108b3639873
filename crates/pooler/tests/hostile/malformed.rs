//! Strangers who send rubbish: no descriptor, no memory, no way in, and no harm to others.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::packet::{Attack, Then, check_answer};
use crate::raw::{Raw, Way};
use crate::support::message::Messages;
use crate::support::pooler::{Headpond, Place};
use crate::support::postgres::{APP, APP_PASSWORD};
use crate::support::random::Random;
use crate::support::{Pooler, Postgres};
use crate::usage::{MIB, Usage, assert_calm, grown, report};
use crate::wished;

const WARM_UP: usize = 2_000;
const ATTACKERS: usize = 4;
const QUESTIONS: usize = 2_000;
/// The database that lets `app` in over the unix socket without a proof.
pub const HEALTHY: &str = "healthy";

/// What the pooler writes about clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// Everything.
    All,
    /// Nothing, because a million lines are no part of what is measured.
    Nothing,
}

#[test]
fn no_malformed_connection_leaves_a_trace_or_gets_in() {
    let seed = Random::seed();
    let count = wished("HEADPOND_TEST_MALFORMED", 20_000);
    let postgres = Postgres::start();
    let pooler = start(&postgres, if count <= 100_000 { Logging::All } else { Logging::Nothing });
    let usage = Usage::of(pooler.pid());
    let healthy = Way::unix(pooler.place());
    attack(pooler.place(), seed, 0..WARM_UP);
    let alone = report("a healthy client alone", ask_for(&healthy, |asked| asked < QUESTIONS));
    let base = usage.descriptors();
    let before = usage.memory();
    let over = AtomicBool::new(false);
    let started = Instant::now();
    let times = thread::scope(|scope| {
        let asks = scope.spawn(|| ask_for(&healthy, |_| !over.load(Ordering::Relaxed)));
        attack(pooler.place(), seed, WARM_UP..WARM_UP + count);
        over.store(true, Ordering::Relaxed);
        asks.join().expect("the healthy client is served")
    });
    let lasted = started.elapsed();
    let among = report("a healthy client meanwhile", times);
    let after = usage.memory();
    println!(
        "{count} connections in {lasted:?}, {:.2} MiB more, p99 times {:.1}",
        grown(before, after),
        among.as_secs_f64() / alone.as_secs_f64()
    );
    let open = usage.descriptors_settle(base);
    assert!(open <= base, "{open} descriptors are open, {base} were (seed {seed})");
    assert!(after <= before + 8 * MIB, "{:.2} MiB grown (seed {seed})", grown(before, after));
    assert_calm(pooler.log());
}

/// A pooler that asks everybody for a proof but the healthy client, by its database.
pub fn start(postgres: &Postgres, log: Logging) -> Headpond {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    Headpond::start("pgbouncer.ini", |place| {
        let write = |name: &str, text: &str| {
            std::fs::write(place.directory.join(name), text).expect("the directory is ours");
        };
        write("server.crt", &certificate);
        write("server.key", &key);
        write("userlist.txt", &format!("\"{APP}\" \"{APP_PASSWORD}\"\n"));
        write(
            "hba.conf",
            &format!(
                "local {HEALTHY} {APP} trust\nlocal all all scram-sha-256\n\
                 host all all 127.0.0.0/8 scram-sha-256\n"
            ),
        );
        format!(
            "[databases]\n{HEALTHY} = host=127.0.0.1 port={server} dbname={APP}\n\
             * = host=127.0.0.1 port={server}\n\
             [http]\nlisten = 127.0.0.1:{http}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir = {folder}\nauth_type = hba\nauth_hba_file = {folder}/hba.conf\n\
             auth_file = {folder}/userlist.txt\nclient_tls_sslmode = allow\n\
             client_tls_cert_file = {folder}/server.crt\n\
             client_tls_key_file = {folder}/server.key\n\
             log_connections = {log}\nlog_disconnections = {log}\nlog_pooler_errors = {log}\n",
            server = postgres.port(),
            http = place.http_port,
            port = place.port,
            folder = place.directory.display(),
            log = u8::from(log == Logging::All),
        )
    })
}

/// Asks the same again and again while `goes_on` says so of how often it asked.
fn ask_for(way: &Way, goes_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let mut client = Raw::enter(way, HEALTHY);
    let question = Messages::new().query("SELECT 1");
    let mut times = Vec::new();
    while goes_on(times.len()) {
        let asked = Instant::now();
        client.ask(&question);
        times.push(asked.elapsed());
    }
    times
}

/// Makes the connections that these numbers stand for, several at a time.
fn attack(place: &Place, seed: u64, numbers: Range<usize>) {
    let next = AtomicUsize::new(numbers.start);
    thread::scope(|scope| {
        for _ in 0..ATTACKERS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        return;
                    }
                    let (attack, answer) = strike_once(place, seed, number);
                    check_answer(&attack, &answer);
                }
            });
        }
    });
}

/// Makes the connection that a number stands for; returns what it was answered.
pub fn strike_once(place: &Place, seed: u64, number: usize) -> (Attack, Vec<u8>) {
    let mut random = Random::new(seed ^ (number as u64).wrapping_mul(0x9E37_79B9));
    let way = way(place, &mut random);
    let attack = Attack::new(&mut random);
    let ended = strike(&way, &attack);
    let told = || format!("{number} of seed {seed}, {way:?}: {attack:?}");
    let answer = ended.unwrap_or_else(|error| panic!("{}: {error}", told()));
    (attack, answer)
}

/// Half of them come over the unix socket, the others from two hundred addresses.
fn way(place: &Place, random: &mut Random) -> Way {
    if random.one_in(2) {
        return Way::unix(place);
    }
    let last = u8::try_from(2 + random.below(200)).expect("below 202");
    let to = SocketAddr::from(([127, 0, 0, 1], place.port));
    Way::Tcp(Ipv4Addr::new(127, 0, 0, last), to)
}

/// Makes one connection; returns all that the pooler said once it closed.
fn strike(way: &Way, attack: &Attack) -> io::Result<Vec<u8>> {
    let mut stream = way.connect()?;
    for bytes in &attack.writes {
        // The pooler may have closed already, with the rest on its way.
        if let Err(error) = stream.write_all(bytes) {
            is_closed(error)?;
            break;
        }
    }
    let mut answer = Vec::new();
    match attack.then {
        Then::Reset => return Ok(answer),
        Then::Wait => {}
        Then::Finish => stream.finish().or_else(is_closed)?,
    }
    stream.read_to_end(&mut answer).map(drop).or_else(is_closed)?;
    Ok(answer)
}

fn is_closed(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => Ok(()),
        _ => Err(error),
    }
}
