//! We log in at a server.
//!
//! Invariant: a server is believed only in the order of the protocol: one request for a proof,
//! one proof, its signature checked, then AuthenticationOk, then the welcome up to the first
//! ReadyForQuery. What it sends is bounded, and hashing is capped and left to the shell.
//! Not here: connecting, encryption, deciding what to do with a refused login.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::mem;

use zeroize::Zeroizing;

use super::LOGIN_BODY_MAX;
use crate::auth::md5;
use crate::auth::scram::Keys;
use crate::auth::scram_client::{self, Binding, Challenged, Proven, Started};
use crate::backend::{
    Authentication, BackendKeyData, ErrorFields, Mechanisms, ParameterStatus, Status,
};
use crate::error::ProtocolError;
use crate::frame::{self, Frame};
use crate::frontend;
use crate::startup::Params;
use crate::tag::BackendTag;

pub use crate::frontend::ssl_request;

/// The most parameters a server may report at login.
const PARAMS_MAX: usize = 256;
/// The most bytes their names and values may take together, repeated reports counted each time.
const PARAM_BYTES_MAX: usize = 262_144;

/// A server's answer to SSLRequest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsAnswer {
    /// Encryption follows.
    Yes,
    /// The connection stays as it is.
    No,
}

/// Reads the answer to SSLRequest; `None` when it has not come.
///
/// # Errors
/// It is not exactly one byte: what comes behind it was not encrypted and must not be read as if
/// it were. An error message in its place is not shown, since anybody could have sent it.
pub fn ssl_answer(input: &[u8]) -> Result<Option<TlsAnswer>, ProtocolError> {
    match input {
        [] => Ok(None),
        [b'S'] => Ok(Some(TlsAnswer::Yes)),
        [b'N'] => Ok(Some(TlsAnswer::No)),
        [b'S' | b'N', ..] => Err(ProtocolError::DataAfterSslResponse),
        [b'E', ..] => Err(ProtocolError::TlsRefused),
        [tag, ..] => Err(ProtocolError::UnknownBackend { tag: *tag }),
    }
}

/// What proves to a server who we are.
pub enum Credential {
    /// Nothing: the server has to trust us.
    None,
    /// The password.
    Plain(Zeroizing<Vec<u8>>),
    /// `md5` and 32 hexadecimal digits.
    Md5(String),
    /// What was learned from a client's proof or a stored secret's owner.
    Scram(Keys),
}

/// What to log in with.
pub struct ConnectSpec {
    /// The startup parameters; `user` is left out of them.
    pub params: Params,
    /// The user.
    pub user: Vec<u8>,
    /// The proof.
    pub credential: Credential,
    /// Random bytes, never used before.
    pub nonce: [u8; 18],
    /// The hash of the server's certificate if the connection is encrypted.
    pub binding: Option<Vec<u8>>,
}

/// What a login needs next. The caller first sends what was staged.
pub enum Progress {
    /// More bytes, or the answer to the last question.
    NeedInput,
    /// A hash, made off the workers by [`salted_password`](crate::auth::scram::salted_password):
    /// [`Connect::derived`].
    Derive {
        /// The password.
        password: Zeroizing<Vec<u8>>,
        /// The salt.
        salt: Vec<u8>,
        /// How often to hash, already capped.
        iterations: u32,
    },
    /// Nothing: we are in.
    Ready(Box<Welcome>),
    /// Nothing: the server refused, and says why.
    Failed(Box<ErrorFields>),
}

/// What a server told us when it let us in.
#[derive(Clone, PartialEq, Eq)]
pub struct Welcome {
    /// Its parameters, each name once.
    pub params: Params,
    /// The process for cancel requests; 0 if it has none.
    pub pid: i32,
    /// The secret for cancel requests; empty if it has none.
    pub key: Vec<u8>,
    /// Where the session stands.
    pub status: Status,
}

/// One login at a server.
pub struct Connect {
    params: Params,
    user: Vec<u8>,
    credential: Credential,
    nonce: [u8; 18],
    binding: Option<Vec<u8>>,
    state: State,
}

enum State {
    /// Nothing was sent.
    Fresh,
    /// Waits for a request for a proof, or to be let in without.
    Request,
    /// Sent a password; waits to be let in.
    Password,
    /// Waits for the server's first SCRAM message.
    Sasl(Started),
    /// Waits for the shell to hash.
    Deriving(Challenged),
    /// Waits for the server's signature.
    Proof(Proven),
    /// The signature was right; waits to be let in.
    Signed,
    /// In; collects the welcome.
    Welcome(Collected),
    /// Over, one way or the other.
    Closed,
}

#[derive(Default)]
struct Collected {
    params: Params,
    bytes: usize,
    key: Option<(i32, Vec<u8>)>,
}

impl Connect {
    /// Prepares a login.
    #[must_use]
    pub fn new(spec: ConnectSpec) -> Self {
        let ConnectSpec { params, user, credential, nonce, binding } = spec;
        Self { params, user, credential, nonce, binding, state: State::Fresh }
    }

    /// Stages the startup packet. Once only.
    pub fn start(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.state, State::Fresh) {
            self.state = State::Closed;
            return;
        }
        let others = self.params.iter().filter(|(name, _)| name != b"user");
        let mut params: Vec<(&[u8], &[u8])> = Vec::with_capacity(self.params.len());
        params.extend([(&b"user"[..], self.user.as_slice())]);
        params.extend(others.map(|(name, value)| (name.as_slice(), value.as_slice())));
        frontend::startup(out, &params);
        self.state = State::Request;
    }

    /// Takes what the server sent; returns how many bytes are done with and what is needed next.
    /// Bytes not done with are given again, with more behind them. While a question is open
    /// nothing is taken.
    ///
    /// # Errors
    /// The server broke the protocol, cannot be logged in to with this credential, or does not
    /// know the secret itself. The login is over and the connection must be closed.
    pub fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Progress), ProtocolError> {
        let mut done = 0usize;
        loop {
            if matches!(self.state, State::Fresh | State::Deriving(_) | State::Closed) {
                return Ok((done, Progress::NeedInput));
            }
            let rest = input.get(done..).unwrap_or_default();
            // An error leaves the machine closed, because that is what it is while it steps.
            let state = mem::replace(&mut self.state, State::Closed);
            let Some(frame) = frame::whole(rest, LOGIN_BODY_MAX)? else {
                self.state = state;
                return Ok((done, Progress::NeedInput));
            };
            done = done.saturating_add(frame.total);
            if let Some(progress) = self.step(state, &frame, out)? {
                return Ok((done, progress));
            }
        }
    }

    /// Answers [`Progress::Derive`] with the salted password: stages the proof.
    pub fn derived(&mut self, salted: [u8; 32], out: &mut Vec<u8>) {
        let salted = Zeroizing::new(salted);
        self.state = match mem::replace(&mut self.state, State::Closed) {
            State::Deriving(challenged) => prove(challenged, &Keys::from_salted(&salted), out),
            _ => State::Closed,
        };
    }

    /// Makes one step from `state`; `self.state` is Closed meanwhile.
    fn step(
        &mut self,
        state: State,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Progress>, ProtocolError> {
        let tag = BackendTag::from_byte(frame.tag)
            .ok_or(ProtocolError::UnknownBackend { tag: frame.tag })?;
        self.state = match (tag, state) {
            (BackendTag::ErrorResponse, _) => {
                let fields = Box::new(ErrorFields::parse(frame.body));
                return Ok(Some(Progress::Failed(fields)));
            }
            (BackendTag::NoticeResponse, state) => state,
            (BackendTag::Authentication, state) => {
                return self.authentication(state, Authentication::read(frame.body)?, out);
            }
            (BackendTag::ParameterStatus, State::Welcome(mut collected)) => {
                collected.add(ParameterStatus::read(frame.body)?)?;
                State::Welcome(collected)
            }
            (BackendTag::BackendKeyData, State::Welcome(mut collected))
                if collected.key.is_none() =>
            {
                let BackendKeyData { pid, key } = BackendKeyData::read(frame.body)?;
                collected.key = Some((pid, key.to_vec()));
                State::Welcome(collected)
            }
            (BackendTag::ReadyForQuery, State::Welcome(collected)) => {
                let welcome = collected.finish(Status::read(frame.body)?);
                return Ok(Some(Progress::Ready(Box::new(welcome))));
            }
            _ => return Err(ProtocolError::UnexpectedBackend { tag: frame.tag }),
        };
        Ok(None)
    }

    fn authentication(
        &mut self,
        state: State,
        request: Authentication<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Progress>, ProtocolError> {
        self.state = match (request, state) {
            (Authentication::Ok, State::Request | State::Password | State::Signed) => {
                State::Welcome(Collected::default())
            }
            (Authentication::Cleartext, State::Request) => self.answer_cleartext(out)?,
            (Authentication::Md5 { salt }, State::Request) => self.answer_md5(salt, out)?,
            (Authentication::Sasl(offered), State::Request) => self.answer_sasl(offered, out)?,
            (Authentication::SaslContinue(message), State::Sasl(started)) => {
                return self.answer_challenge(started.challenge(message)?, out);
            }
            (Authentication::SaslFinal(message), State::Proof(proven)) => {
                proven.verify(message)?;
                State::Signed
            }
            (Authentication::Unsupported(code), State::Request) => {
                return Err(ProtocolError::UnsupportedAuthentication { code });
            }
            _ => {
                let tag = BackendTag::Authentication.byte();
                return Err(ProtocolError::UnexpectedBackend { tag });
            }
        };
        Ok(None)
    }

    fn answer_cleartext(&self, out: &mut Vec<u8>) -> Result<State, ProtocolError> {
        let Credential::Plain(password) = &self.credential else {
            return Err(ProtocolError::NoCredential);
        };
        frontend::password(out, password);
        Ok(State::Password)
    }

    fn answer_md5(&self, salt: [u8; 4], out: &mut Vec<u8>) -> Result<State, ProtocolError> {
        let response = match &self.credential {
            Credential::Plain(password) => {
                let stored = Zeroizing::new(md5::digest_password(&self.user, password));
                md5::respond(stored.as_bytes(), salt)
            }
            Credential::Md5(stored) => md5::respond(stored.as_bytes(), salt),
            Credential::None | Credential::Scram(_) => None,
        };
        frontend::password(out, &response.ok_or(ProtocolError::NoCredential)?);
        Ok(State::Password)
    }

    fn answer_sasl(
        &mut self,
        offered: Mechanisms<'_>,
        out: &mut Vec<u8>,
    ) -> Result<State, ProtocolError> {
        if !matches!(self.credential, Credential::Plain(_) | Credential::Scram(_)) {
            return Err(ProtocolError::NoCredential);
        }
        let names: Vec<&[u8]> = offered.iter().collect();
        let binding = Binding::choose(names.iter().copied(), self.binding.take())?;
        let (started, message) = scram_client::begin(self.nonce, &binding);
        frontend::sasl_initial(out, binding.mechanism(), &message);
        Ok(State::Sasl(started))
    }

    fn answer_challenge(
        &mut self,
        challenged: Challenged,
        out: &mut Vec<u8>,
    ) -> Result<Option<Progress>, ProtocolError> {
        match &self.credential {
            Credential::Scram(keys) => {
                self.state = prove(challenged, keys, out);
                Ok(None)
            }
            Credential::Plain(password) => {
                let password = password.clone();
                let (salt, iterations) = (challenged.salt.clone(), challenged.iterations);
                self.state = State::Deriving(challenged);
                Ok(Some(Progress::Derive { password, salt, iterations }))
            }
            Credential::None | Credential::Md5(_) => Err(ProtocolError::NoCredential),
        }
    }
}

fn prove(challenged: Challenged, keys: &Keys, out: &mut Vec<u8>) -> State {
    let (proven, message) = challenged.prove(keys);
    frontend::sasl_response(out, &message);
    State::Proof(proven)
}

impl Collected {
    fn add(&mut self, status: ParameterStatus<'_>) -> Result<(), ProtocolError> {
        let ParameterStatus { name, value } = status;
        let grown = name.len().saturating_add(value.len());
        self.bytes = self.bytes.saturating_add(grown);
        // The last report of a name is its value.
        self.params.retain(|(known, _)| known != name);
        if self.params.len() >= PARAMS_MAX || self.bytes > PARAM_BYTES_MAX {
            return Err(ProtocolError::TooManyParameters);
        }
        self.params.push((name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn finish(self, status: Status) -> Welcome {
        let (pid, key) = self.key.unwrap_or_default();
        Welcome { params: self.params, pid, key, status }
    }
}

// By kind only: passwords and keys have no Debug.
impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeedInput => f.write_str("NeedInput"),
            Self::Derive { iterations, .. } => write!(f, "Derive({iterations})"),
            Self::Ready(welcome) => write!(f, "Ready({welcome:?})"),
            Self::Failed(fields) => write!(f, "Failed({fields:?})"),
        }
    }
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("params", &self.params)
            .field("pid", &self.pid)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
