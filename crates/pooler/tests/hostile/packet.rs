//! First packets that no honest client sends.
//!
//! Invariant: none of them may let anybody in: no password of any user is in them.

use std::sync::{Arc, OnceLock};

use crate::support::message::{cancel_request, startup};
use crate::support::postgres::APP;
use crate::support::random::Random;

/// How the attacker goes on after the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits until the pooler closes, which it has to do by itself.
    Wait,
    /// It says that nothing more comes, and waits for the close.
    Finish,
    /// It resets the connection and reads nothing.
    Reset,
}

/// What one connection sends.
#[derive(Clone, Debug)]
pub struct Attack {
    pub name: &'static str,
    /// Each is one write.
    pub writes: Vec<Vec<u8>>,
    pub then: Then,
}

const SSL: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
const GSS: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 48];

type Make = fn(&mut Random) -> (Vec<Vec<u8>>, Then);

const ATTACKS: [(&str, Make); 19] = [
    ("noise", |r| (vec![noise(r, 600)], Then::Finish)),
    ("illegal length", |r| {
        let lengths = [0, 1, 3, 4, 7, 10_005, 1 << 20, 0x7FFF_FFFF, 0x8000_0000, u32::MAX];
        let length = lengths[r.below(lengths.len())];
        (vec![[&length.to_be_bytes()[..], &noise(r, 64)].concat()], Then::Wait)
    }),
    ("legal length, too little", |r| {
        let length = 9 + r.below(9_996) as u32;
        let version = [0, 3, 0, r.below(4) as u8];
        (vec![[&length.to_be_bytes()[..], &version].concat()], Then::Finish)
    }),
    ("other version", |r| {
        let versions = [0, 1, 0x0002_0000, 0x0004_0000, 0x0001_E240, 0xFFFF_FFFF];
        let version: u32 = versions[r.below(versions.len())];
        (vec![packet(&version.to_be_bytes(), b"user\0x\0\0")], Then::Wait)
    }),
    ("newer minor version and options", |r| {
        let version = 0x0003_0000 | (3 + r.below(9_996) as u32);
        let body = format!("user\0{}\0_pq_.a\0b\0_pq_.{}\0\0\0", name(r), name(r));
        (vec![packet(&version.to_be_bytes(), body.as_bytes())], Then::Finish)
    }),
    ("bytes behind SSLRequest", |r| (vec![[&SSL[..], &noise(r, 600)].concat()], Then::Finish)),
    ("SSLRequest, then noise", |r| (vec![SSL.to_vec(), noise(r, 300)], Then::Finish)),
    ("requests for encryption over and over", |r| {
        let one = |_| if r.one_in(2) { SSL } else { GSS };
        (vec![(0..40).flat_map(one).collect()], Then::Finish)
    }),
    ("TLS noise", |r| (vec![[&[22, 3, 1][..], &noise(r, 400)].concat()], Then::Finish)),
    ("damaged ClientHello", |r| (vec![damaged_hello(r)], Then::Finish)),
    ("damaged ClientHello after asking", |r| (vec![SSL.to_vec(), damaged_hello(r)], Then::Finish)),
    ("truncated startup", |r| {
        let whole = login(r);
        (vec![whole[..r.below(whole.len())].to_vec()], Then::Finish)
    }),
    ("startup byte by byte", |r| {
        let bytes: Vec<Vec<u8>> = login(r).chunks(1).map(<[u8]>::to_vec).collect();
        let kept = 1 + r.below(bytes.len().min(24));
        (bytes[..kept].to_vec(), Then::Reset)
    }),
    ("bad layout", |r| {
        let bodies: [&[u8]; 6] =
            [b"", b"\0\0", b"user", b"user\0x", b"user\0x\0", b"user\0\xff\xfe\0\0"];
        (vec![packet(&[0, 3, 0, 0], bodies[r.below(bodies.len())])], Then::Wait)
    }),
    ("odd parameters", |r| (vec![odd_parameters(r)], Then::Finish)),
    ("wrong cancel key", |r| {
        let key = noise(r, 300);
        (vec![cancel_request(&key)], Then::Finish)
    }),
    ("second startup", |r| (vec![[login(r), login(r)].concat()], Then::Wait)),
    ("message before the proof", |r| {
        let tag = [b'Q', b'P', b'd', b'X', 0, b'F', b'p', 0xff][r.below(8)];
        let lengths = [0, 3, 4, 5, 9, 65_536, u32::MAX];
        let length: u32 = lengths[r.below(lengths.len())];
        let message = [&[tag][..], &length.to_be_bytes(), b"SELECT 1\0"].concat();
        let first = if r.one_in(2) { login(r) } else { Vec::new() };
        (vec![first, message], Then::Finish)
    }),
    ("wrong proof", |r| (vec![login(r), sasl_initial(r), sasl_proof(r)], Then::Finish)),
];

impl Attack {
    /// Returns the attack that this seed stands for.
    pub fn new(random: &mut Random) -> Self {
        let (name, make) = ATTACKS[random.below(ATTACKS.len())];
        let (writes, then) = make(random);
        let writes = writes.into_iter().filter(|bytes| !bytes.is_empty()).collect();
        Self { name, writes, then: if random.one_in(5) { Then::Reset } else { then } }
    }
}

/// Fails if an answer lets somebody in, or is none that a login has.
pub fn check_answer(attack: &Attack, answer: &[u8]) {
    if attack.name.contains("cancel") {
        assert!(answer.is_empty(), "a cancel request is never answered");
    }
    let mut rest = answer;
    while let [tag, after @ ..] = rest {
        if matches!(tag, b'S' | b'N') && attack.writes.iter().any(|w| asks_encryption(w)) {
            rest = after;
            // What follows a yes is TLS's own.
            if *tag == b'S' {
                return;
            }
            continue;
        }
        if matches!(tag, 21 | 22) {
            return;
        }
        let Some((length, _)) = after.split_first_chunk::<4>() else { break };
        let length = u32::from_be_bytes(*length) as usize;
        let Some(body) = after.get(4..length) else { break };
        let is_legal = match tag {
            b'R' => body.len() > 4 && body[..4] == [0, 0, 0, 10] || body[..4] == [0, 0, 0, 11],
            b'E' => body.starts_with(b"SFATAL\0"),
            b'v' => true,
            _ => false,
        };
        assert!(is_legal, "{attack:?} is answered {:?}", String::from_utf8_lossy(answer));
        rest = &after[length..];
    }
}

fn asks_encryption(bytes: &[u8]) -> bool {
    bytes.starts_with(&SSL) || bytes.starts_with(&GSS)
}

fn packet(version: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + body.len()).expect("a short body");
    [&length.to_be_bytes()[..], version, body].concat()
}

fn noise(random: &mut Random, most: usize) -> Vec<u8> {
    (0..random.below(most)).map(|_| random.next() as u8).collect()
}

/// A name that nobody had before.
fn name(random: &mut Random) -> String {
    format!("n{:x}", random.next())
}

/// A startup packet that asks to be let in, as `app` or as somebody who does not exist.
fn login(random: &mut Random) -> Vec<u8> {
    let stranger = name(random);
    let database = name(random);
    let user = if random.one_in(2) { APP } else { &stranger };
    let database = if random.one_in(2) { APP } else { &database };
    startup(&[("user", user), ("database", database)])
}

fn odd_parameters(random: &mut Random) -> Vec<u8> {
    let many: Vec<(String, String)> = (0..500).map(|n| (format!("p{n}"), n.to_string())).collect();
    let (stranger, long) = (name(random), "x".repeat(random.below(9_000)));
    let options = ["-c a=b", "-c=", "-c", "--a=b", "--", "-c a\\ b=c", "\\", "-c -c -c", &long];
    let user = [("user", APP), ("user", &stranger), ("database", "\n\x1b[2J\u{202e}")];
    match random.below(5) {
        0 => startup(&many.iter().map(|(n, v)| (&n[..], &v[..])).collect::<Vec<_>>()),
        1 => startup(&[("user", ""), ("database", "x")]),
        2 => startup(&[("user", &long), ("database", &long[..long.len().min(500)])]),
        3 => startup(&[user[0], ("options", options[random.below(options.len())])]),
        _ => startup(&user),
    }
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + body.len()).expect("a short body");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

fn sasl_initial(random: &mut Random) -> Vec<u8> {
    let mechanisms = ["SCRAM-SHA-256", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "PLAIN", ""];
    let mechanism = mechanisms[random.below(mechanisms.len())];
    let flags = ["n,,", "n,,", "y,,", "p=tls-unique,,", "n,a=x,", ""];
    let first = format!("{}n=,r={}", flags[random.below(flags.len())], name(random));
    let length = [first.len() as u32, first.len() as u32, 1 << 20, u32::MAX][random.below(4)];
    let body = [mechanism.as_bytes(), b"\0", &length.to_be_bytes(), first.as_bytes()].concat();
    message(b'p', &body)
}

fn sasl_proof(random: &mut Random) -> Vec<u8> {
    let proof = "A".repeat([43, 44, 0, 4][random.below(4)]);
    message(b'p', format!("c=biws,r={},p={proof}=", name(random)).as_bytes())
}

/// A ClientHello, cut short or with a byte changed.
fn damaged_hello(random: &mut Random) -> Vec<u8> {
    static HELLO: OnceLock<Vec<u8>> = OnceLock::new();
    let mut hello = HELLO.get_or_init(client_hello).clone();
    if random.one_in(2) {
        hello.truncate(random.below(hello.len()));
    } else {
        let place = random.below(hello.len());
        hello[place] ^= 1 << random.below(8);
    }
    hello
}

fn client_hello() -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the defaults fit")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = "localhost".try_into().expect("a name");
    let mut connection =
        rustls::ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).expect("a vector takes all");
    }
    bytes
}
