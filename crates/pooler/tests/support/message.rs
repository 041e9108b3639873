//! Messages of protocol 3.0 as a client writes them, byte for byte.
//!
//! Written from the protocol's description and not with `headpond-wire`: a test must not share a
//! mistake with what it tests.

/// Builds the bytes of one write: several messages in a row.
#[derive(Clone, Debug, Default)]
pub struct Messages(Vec<u8>);

impl Messages {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Adds the messages of `other`.
    pub fn then(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    pub fn query(self, sql: &str) -> Self {
        self.message(b'Q', &[sql.as_bytes(), b"\0"])
    }

    pub fn parse(self, name: &str, sql: &str) -> Self {
        self.message(b'P', &[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"])
    }

    /// Binds text parameters to the unnamed portal; all results as text.
    pub fn bind(self, statement: &str, parameters: &[&str]) -> Self {
        let mut body = Vec::new();
        body.extend_from_slice(b"\0");
        body.extend_from_slice(statement.as_bytes());
        body.extend_from_slice(b"\0\0\0");
        body.extend_from_slice(&count(parameters.len()));
        for parameter in parameters {
            body.extend_from_slice(&length(parameter.len()));
            body.extend_from_slice(parameter.as_bytes());
        }
        body.extend_from_slice(b"\0\0");
        self.message(b'B', &[&body])
    }

    pub fn describe_statement(self, name: &str) -> Self {
        self.message(b'D', &[b"S", name.as_bytes(), b"\0"])
    }

    pub fn describe_portal(self) -> Self {
        self.message(b'D', &[b"P\0"])
    }

    pub fn execute(self) -> Self {
        self.message(b'E', &[b"\0\0\0\0\0"])
    }

    pub fn close_statement(self, name: &str) -> Self {
        self.message(b'C', &[b"S", name.as_bytes(), b"\0"])
    }

    pub fn sync(self) -> Self {
        self.message(b'S', &[])
    }

    pub fn flush(self) -> Self {
        self.message(b'H', &[])
    }

    pub fn copy_data(self, data: &[u8]) -> Self {
        self.message(b'd', &[data])
    }

    pub fn copy_done(self) -> Self {
        self.message(b'c', &[])
    }

    pub fn copy_fail(self, reason: &str) -> Self {
        self.message(b'f', &[reason.as_bytes(), b"\0"])
    }

    pub fn terminate(self) -> Self {
        self.message(b'X', &[])
    }

    fn message(mut self, tag: u8, parts: &[&[u8]]) -> Self {
        self.0.push(tag);
        self.0.extend_from_slice(&length(4 + parts.iter().map(|p| p.len()).sum::<usize>()));
        parts.iter().for_each(|part| self.0.extend_from_slice(part));
        self
    }
}

/// Returns a StartupMessage of protocol 3.0.
pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = 0x0003_0000_u32.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    [&length(4 + body.len())[..], &body].concat()
}

/// Returns a CancelRequest.
pub fn cancel_request(key: &[u8]) -> Vec<u8> {
    [&length(8 + key.len())[..], &80_877_102_u32.to_be_bytes(), key].concat()
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("tests send little").to_be_bytes()
}

fn count(n: usize) -> [u8; 2] {
    u16::try_from(n).expect("tests send few").to_be_bytes()
}
