//! Cancel keys: which client a CancelRequest means.
//!
//! Invariant: a key is random, unique while its client lives, and its process id is positive
//! (drivers break otherwise). Comparison takes the same time for every wrong key.
//! Not here: the lease on the server and sending the cancel on (`worker/cancel.rs`).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::Mutex;
use zeroize::Zeroize;

use headpond_core::Lane;

/// The secret half of a key: 4 bytes in protocol 3.0, 32 in 3.2.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// Protocol 3.0.
    Short([u8; 4]),
    /// Protocol 3.2: at least 128 bits cannot be guessed.
    Long(Box<[u8; 32]>),
}

impl Secret {
    /// The bytes as they travel in BackendKeyData.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Secret::Short(bytes) => bytes,
            Secret::Long(bytes) => &bytes[..],
        }
    }
}

/// Where the client with a key lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// Its worker.
    pub lane: Lane,
    /// Its place there (index and generation).
    pub caller: u64,
}

struct Entry {
    secret: Secret,
    target: Target,
}

/// All keys handed out by this process.
#[derive(Default)]
pub struct Registry {
    issued: Mutex<Issued>,
}

#[derive(Default)]
struct Issued {
    keys: HashMap<i32, Entry, BuildHasherDefault<Spread>>,
    random: Random,
}

/// Hashes process ids, which are random and ours: nobody outside can make two of them meet.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_i32(&mut self, pid: i32) {
        // The odd number nearest to 2^64 divided by the golden ratio: the table looks at the
        // highest bits as well as at the lowest.
        self.0 = u64::from(pid.cast_unsigned()).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// Random bytes of the operating system, fetched many at a time: once for dozens of logins.
struct Random {
    bytes: Box<[u8; Self::AT_A_TIME]>,
    used: usize,
}

impl Default for Random {
    fn default() -> Self {
        Self { bytes: Box::new([0; Self::AT_A_TIME]), used: Self::AT_A_TIME }
    }
}

impl Random {
    /// Linux gives up to 256 bytes in one piece, whatever signals come meanwhile.
    const AT_A_TIME: usize = 256;

    /// Fills `wanted`, at most 256 bytes, with bytes that nobody else gets or will find here.
    fn fill(&mut self, wanted: &mut [u8]) -> Result<(), getrandom::Error> {
        if Self::AT_A_TIME - self.used < wanted.len() {
            getrandom::fill(&mut self.bytes[..])?;
            self.used = 0;
        }
        let taken = &mut self.bytes[self.used..self.used + wanted.len()];
        wanted.copy_from_slice(taken);
        taken.zeroize();
        self.used += wanted.len();
        Ok(())
    }
}

impl Registry {
    /// Issues a key for a client.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn issue(&self, target: Target, long: bool) -> Result<(i32, Secret), getrandom::Error> {
        let mut issued = self.issued.lock();
        let Issued { keys, random: source } = &mut *issued;
        loop {
            let mut random = [0u8; 36];
            let wanted = if long { &mut random[..] } else { &mut random[..8] };
            source.fill(wanted)?;
            let (pid, rest) = random.split_at(4);
            let pid = i32::from_be_bytes([pid[0] & 0x7f, pid[1], pid[2], pid[3]]);
            if pid == 0 || keys.contains_key(&pid) {
                continue;
            }
            let secret = if long {
                let mut bytes = [0; 32];
                bytes.copy_from_slice(rest);
                Secret::Long(Box::new(bytes))
            } else {
                Secret::Short([rest[0], rest[1], rest[2], rest[3]])
            };
            keys.insert(pid, Entry { secret: secret.clone(), target });
            return Ok((pid, secret));
        }
    }

    /// Finds the client of a key; `None` for an unknown or wrong one.
    #[must_use]
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Target> {
        let issued = self.issued.lock();
        let entry = issued.keys.get(&pid)?;
        equal(entry.secret.bytes(), secret).then_some(entry.target)
    }

    /// The client moved to another worker.
    pub fn moved(&self, pid: i32, target: Target) {
        if let Some(entry) = self.issued.lock().keys.get_mut(&pid) {
            entry.target = target;
        }
    }

    /// The client is gone; its key means nobody.
    pub fn revoke(&self, pid: i32) {
        self.issued.lock().keys.remove(&pid);
    }

    /// Keys alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.issued.lock().keys.len()
    }

    /// Returns true if no key is alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Compares without telling by its duration where the first difference is.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0u8, |seen, (x, y)| seen | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Target = Target { lane: Lane(0), caller: 7 };

    #[test]
    fn a_key_finds_its_client_until_it_is_revoked() {
        let registry = Registry::default();
        for long in [false, true] {
            let (pid, secret) = registry.issue(HERE, long).expect("random bytes");
            assert!(pid > 0);
            assert_eq!(registry.find(pid, secret.bytes()), Some(HERE));
            let mut wrong = secret.bytes().to_vec();
            wrong[3] ^= 1;
            assert_eq!(registry.find(pid, &wrong), None);
            assert_eq!(registry.find(pid, &secret.bytes()[..3]), None);
            registry.revoke(pid);
            assert_eq!(registry.find(pid, secret.bytes()), None);
        }
        assert!(registry.is_empty());
    }

    #[test]
    fn random_bytes_are_given_out_once_and_not_kept() {
        let mut random = Random::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..200 {
            let mut bytes = [0; 36];
            random.fill(&mut bytes).expect("random bytes");
            assert!(bytes != [0; 36] && seen.insert(bytes));
            assert!(random.bytes[..random.used].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn keys_are_unique_while_alive() {
        let registry = Registry::default();
        for n in 0..1000 {
            registry.issue(Target { lane: Lane(0), caller: n }, false).expect("random bytes");
        }
        assert_eq!(registry.len(), 1000);
    }
}
