//! Cancel keys: which client a CancelRequest means.
//!
//! Invariant: a key is random, unique while its client lives, and its process id is positive
//! (drivers break otherwise). Comparison takes the same time for every wrong key.
//! Not here: the lease on the server and sending the cancel on (`worker/cancel.rs`).

use std::collections::HashMap;

use parking_lot::Mutex;

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
    keys: Mutex<HashMap<i32, Entry>>,
}

impl Registry {
    /// Issues a key for a client.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn issue(&self, target: Target, long: bool) -> Result<(i32, Secret), getrandom::Error> {
        let mut keys = self.keys.lock();
        loop {
            let mut random = [0u8; 36];
            let wanted = if long { &mut random[..] } else { &mut random[..8] };
            getrandom::fill(wanted)?;
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
        let keys = self.keys.lock();
        let entry = keys.get(&pid)?;
        equal(entry.secret.bytes(), secret).then_some(entry.target)
    }

    /// The client moved to another worker.
    pub fn moved(&self, pid: i32, target: Target) {
        if let Some(entry) = self.keys.lock().get_mut(&pid) {
            entry.target = target;
        }
    }

    /// The client is gone; its key means nobody.
    pub fn revoke(&self, pid: i32) {
        self.keys.lock().remove(&pid);
    }

    /// Keys alive.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.lock().len()
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
    fn keys_are_unique_while_alive() {
        let registry = Registry::default();
        for n in 0..1000 {
            registry.issue(Target { lane: Lane(0), caller: n }, false).expect("random bytes");
        }
        assert_eq!(registry.len(), 1000);
    }
}
