//! Secrets that are searched for wherever they must not be.
//!
//! Each has a name, so that a hit says which place leaked and where to; it is looked for as it
//! is, in base64 at any offset, url-encoded, and in hexadecimal digits.

use std::fmt::Write as _;

use crate::support::random::Random;

/// All secrets of a test, and what was found of them.
#[derive(Debug)]
pub struct Canaries {
    random: Random,
    secrets: Vec<Canary>,
    hits: Vec<String>,
    searched: usize,
}

#[derive(Debug)]
struct Canary {
    place: String,
    forms: Vec<String>,
}

impl Canaries {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), secrets: Vec::new(), hits: Vec::new(), searched: 0 }
    }

    /// Makes a secret for a place.
    pub fn secret(&mut self, place: &str) -> String {
        // The two signs are what url-encoding changes.
        let text = format!("k{:016x}/+{:08x}", self.random.next(), self.random.next() as u32);
        self.known(place, &text);
        text
    }

    /// Adds a secret that somebody else made.
    pub fn known(&mut self, place: &str, secret: &str) {
        self.bytes(place, secret.as_bytes());
        let canary = self.secrets.last_mut().expect("added above");
        canary.forms.extend([secret.to_owned(), url_encoded(secret)]);
        canary.forms.push(url_encoded(secret).to_lowercase());
    }

    /// Adds a secret of bytes.
    pub fn bytes(&mut self, place: &str, secret: &[u8]) {
        let mut forms: Vec<String> = (0..3).map(|offset| base64(secret, offset)).collect();
        forms.push(secret.iter().map(|byte| format!("{byte:02x}")).collect());
        self.secrets.push(Canary { place: place.to_owned(), forms });
    }

    /// Returns bytes that nobody can guess, for secrets of a special form.
    pub fn noise(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.random.next() as u8).collect()
    }

    /// Adds one more form of the secret that was added last.
    pub fn form(&mut self, form: String) {
        self.secrets.last_mut().expect("one was added").forms.push(form);
    }

    /// Looks for every secret in what came out somewhere.
    pub fn search(&mut self, sink: &str, text: &str) {
        self.searched += text.len();
        for canary in &self.secrets {
            if let Some(form) = canary.forms.iter().find(|form| text.contains(form.as_str())) {
                let line = text.lines().find(|line| line.contains(form.as_str()));
                let line = line.unwrap_or_default();
                self.hits.push(format!("{} is in {sink}: {line:?}", canary.place));
            }
        }
    }

    /// Fails if anything was found, or if too little was looked for.
    pub fn finish(self) {
        println!("{} secrets in {} bytes of output", self.secrets.len(), self.searched);
        assert_eq!(self.hits, Vec::<String>::new());
        assert!(self.secrets.len() >= 20 && self.searched > 10_000, "a search that proves nothing");
    }
}

fn url_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes all");
        }
    }
    encoded
}

/// Returns the digits that the bytes have in base64, whatever else stands around them, when they
/// begin at this offset in a group of three.
pub fn base64(bytes: &[u8], offset: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let padded = [&vec![0; offset][..], bytes].concat();
    let bit = |n: usize| padded[n / 8] >> (7 - n % 8) & 1;
    let first = (offset * 8).div_ceil(6);
    let digit = |n: usize| (0..6).fold(0, |value, k| value << 1 | bit(n * 6 + k));
    let digits = (first..padded.len() * 8 / 6).map(digit);
    digits.map(|value| char::from(DIGITS[usize::from(value)])).collect()
}

#[test]
fn a_secret_is_found_in_every_form() {
    let mut canaries = Canaries::new(1);
    let secret = canaries.secret("here");
    canaries.search("nowhere", "nothing");
    assert_eq!(canaries.hits.len(), 0);
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let base64 = |prefix: &str| base64(format!("{prefix}{secret}xx").as_bytes(), 0);
    let url = secret.replace('/', "%2F").replace('+', "%2B");
    let forms =
        [secret.clone(), base64(""), base64("a"), base64("ab"), url.to_lowercase(), url, hex];
    for (number, form) in forms.into_iter().enumerate() {
        canaries.search("there", &format!("a text with {form} in it"));
        assert_eq!(canaries.hits.len(), number + 1);
    }
}
