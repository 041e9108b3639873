//! A client logs in at us.
//!
//! Invariant: the user of the one startup packet is the user whose secret is checked; a second
//! startup packet, a message nobody asked for, or bytes slipped in before encryption end it.
//! Not here: looking users up, encryption itself, and everything after AuthenticationOk
//! (parameters, cancel key, ReadyForQuery).

use alloc::string::ToString;
use alloc::vec::Vec;
use core::mem;

use zeroize::Zeroizing;

use super::LOGIN_BODY_MAX;
use crate::auth::scram::Keys;
use crate::auth::scram_server::{Exchange, Offer, Outcome};
use crate::auth::{cleartext, md5};
use crate::backend::{self, Notice};
use crate::error::{ProtocolError, SaslFault};
use crate::frame::{self, Frame};
use crate::frontend::{Password, SaslInitial};
use crate::startup::{First, Startup, USER_MAX, parse_first};
use crate::tag::FrontendTag;

pub use super::ask::{Ask, AuthFailure, Challenge, TlsOffer};

/// The login of one client.
pub struct Accept {
    tls: TlsOffer,
    ssl_asked: bool,
    gss_asked: bool,
    user: Vec<u8>,
    state: State,
}

enum State {
    /// Waits for a first packet.
    First,
    /// Waits for the shell's answer about encryption.
    TlsAsked,
    /// Said yes; waits until the encryption stands.
    TlsHandshake,
    /// Waits for the shell to challenge or refuse.
    StartupAsked,
    /// Waits for a password in clear.
    Plain,
    /// Waits for the shell to judge the password.
    PasswordAsked,
    /// Waits for an MD5 answer.
    Md5 { salt: [u8; 4], digest: Option<Zeroizing<[u8; 32]>> },
    /// Waits for the choice of a SASL mechanism.
    SaslInitial(Offer),
    /// Waits for the SCRAM proof.
    SaslProof(Exchange),
    /// The client is in.
    Done,
    /// Over.
    Closed,
}

/// What one message leads to.
enum Step {
    /// A part of the message is missing.
    Wait,
    /// So many bytes are done with; go on.
    Next(usize),
    /// So many bytes are done with; the shell has to act.
    Ask(usize, Ask),
}

impl Accept {
    /// Starts with a fresh connection.
    #[must_use]
    pub const fn new(tls: TlsOffer) -> Self {
        Self { tls, ssl_asked: false, gss_asked: false, user: Vec::new(), state: State::First }
    }

    /// Returns the user of the startup packet: the only one this login can ever be for.
    #[must_use]
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// Takes what the client sent; returns how many bytes are done with and what is needed next.
    /// Bytes not done with are given again, with more behind them. While a question is open
    /// nothing is taken.
    ///
    /// # Errors
    /// The client broke the protocol. The login is over; whatever was staged may still be sent,
    /// then the error unless it [is silent](ProtocolError::is_silent).
    pub fn receive(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(usize, Ask), ProtocolError> {
        let mut done = 0usize;
        loop {
            let rest = input.get(done..).unwrap_or_default();
            // An error leaves the machine closed, because that is what it is while it steps.
            let state = mem::replace(&mut self.state, State::Closed);
            match self.step(state, rest, out)? {
                Step::Wait => return Ok((done, Ask::NeedInput)),
                Step::Next(taken) => done = done.saturating_add(taken),
                Step::Ask(taken, ask) => return Ok((done.saturating_add(taken), ask)),
            }
        }
    }

    /// Answers [`Ask::Tls`]: stages one byte. After yes, encryption follows and then
    /// [`Accept::tls_established`].
    pub fn tls_answer(&mut self, yes: bool, out: &mut Vec<u8>) {
        if !matches!(self.state, State::TlsAsked) {
            self.state = State::Closed;
        } else if yes {
            out.push(b'S');
            self.state = State::TlsHandshake;
        } else {
            out.push(b'N');
            self.state = State::First;
        }
    }

    /// Says that encryption stands; what comes next was sent inside.
    pub fn tls_established(&mut self) {
        let agreed = matches!(self.state, State::TlsHandshake);
        self.tls = TlsOffer::Established;
        self.state = if agreed { State::First } else { State::Closed };
    }

    /// Answers [`Ask::Startup`]: stages the request for a proof, or lets the client in. Bytes that
    /// were left over are given to [`Accept::receive`] again. Out of turn it ends the login.
    pub fn challenge(&mut self, how: Challenge, out: &mut Vec<u8>) -> Ask {
        if !matches!(self.state, State::StartupAsked) {
            self.state = State::Closed;
            return Ask::Closed;
        }
        self.state = match how {
            Challenge::Trust => return self.let_in(None, out),
            Challenge::Plain => {
                backend::authentication_cleartext(out);
                State::Plain
            }
            Challenge::Md5 { salt, digest } => {
                backend::authentication_md5(out, salt);
                State::Md5 { salt, digest: digest.map(Zeroizing::new) }
            }
            Challenge::Scram { secret, genuine, nonce, binding } => {
                let offer = Offer { secret, genuine, nonce, binding };
                backend::authentication_sasl(out, offer.mechanisms());
                State::SaslInitial(offer)
            }
        };
        Ask::NeedInput
    }

    /// Answers [`Ask::PlainPassword`] with yes. Out of turn it ends the login.
    pub fn accept_plain(&mut self, out: &mut Vec<u8>) -> Ask {
        if matches!(self.state, State::PasswordAsked) {
            return self.let_in(None, out);
        }
        self.state = State::Closed;
        Ask::Closed
    }

    /// Ends the login with an error.
    pub fn refuse(&mut self, notice: &Notice<'_>, out: &mut Vec<u8>) {
        self.state = State::Closed;
        backend::error_response(out, notice);
    }

    /// Ends the login after an error of [`Accept::receive`]: stages its words, unless it is silent.
    pub fn refuse_broken(&mut self, error: &ProtocolError, out: &mut Vec<u8>) {
        self.state = State::Closed;
        if !error.is_silent() {
            let text = error.to_string();
            let notice = Notice::new(error.severity(), error.sqlstate(), &text);
            backend::error_response(out, &notice);
        }
    }

    fn let_in(&mut self, keys: Option<Keys>, out: &mut Vec<u8>) -> Ask {
        self.state = State::Done;
        backend::authentication_ok(out);
        Ask::Authenticated(keys)
    }

    /// Makes one step from `state`; `self.state` is Closed meanwhile.
    fn step(
        &mut self,
        state: State,
        input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Step, ProtocolError> {
        match state {
            State::Closed => Ok(Step::Ask(input.len(), Ask::Closed)),
            State::First => self.first(input, out),
            State::TlsAsked
            | State::TlsHandshake
            | State::StartupAsked
            | State::PasswordAsked
            | State::Done => {
                self.state = state;
                Ok(Step::Wait)
            }
            State::Plain | State::Md5 { .. } | State::SaslInitial(_) | State::SaslProof(_) => {
                let frame = match answer(input)? {
                    Answer::Frame(frame) => frame,
                    Answer::Goodbye => return Ok(Step::Ask(input.len(), Ask::Closed)),
                    Answer::Wait => {
                        self.state = state;
                        return Ok(Step::Wait);
                    }
                };
                self.proof(state, &frame, out)
            }
        }
    }

    fn first(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Step, ProtocolError> {
        let Some((taken, first)) = parse_first(input)? else {
            self.state = State::First;
            return Ok(Step::Wait);
        };
        // Whoever waits for our answer has sent nothing behind the request, so what is there was
        // slipped in and must not be read, neither as it is nor as if it had been encrypted.
        let more = input.len() > taken;
        match first {
            First::Ssl if self.tls == TlsOffer::Established => Err(ProtocolError::SslInsideSsl),
            First::Gss if self.tls == TlsOffer::Established => Err(ProtocolError::GssInsideSsl),
            First::Ssl if more => Err(ProtocolError::DataAfterSslRequest),
            First::Gss if more => Err(ProtocolError::DataAfterGssRequest),
            First::Ssl if mem::replace(&mut self.ssl_asked, true) => {
                Err(ProtocolError::UnsupportedProtocol { major: 1234, minor: 5679 })
            }
            First::Gss if mem::replace(&mut self.gss_asked, true) => {
                Err(ProtocolError::UnsupportedProtocol { major: 1234, minor: 5680 })
            }
            First::Ssl if self.tls != TlsOffer::Disabled => {
                self.state = State::TlsAsked;
                Ok(Step::Ask(taken, Ask::Tls))
            }
            First::Ssl | First::Gss => {
                out.push(b'N');
                self.state = State::First;
                Ok(Step::Next(taken))
            }
            First::Cancel(request) => Ok(Step::Ask(taken, Ask::Cancel(request))),
            First::Startup(startup) => self.startup(taken, startup, out),
        }
    }

    fn startup(
        &mut self,
        taken: usize,
        mut startup: Startup,
        out: &mut Vec<u8>,
    ) -> Result<Step, ProtocolError> {
        startup.negotiate(out);
        let user = startup.user();
        if user.is_empty() {
            return Err(ProtocolError::NoUser);
        }
        if user.len() > USER_MAX {
            return Err(ProtocolError::UserTooLong);
        }
        startup.replication()?;
        self.user = user.to_vec();
        self.state = State::StartupAsked;
        Ok(Step::Ask(taken, Ask::Startup(startup)))
    }

    /// Judges the message that was asked for.
    fn proof(
        &mut self,
        state: State,
        frame: &Frame<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Step, ProtocolError> {
        let ask = match state {
            State::Plain => {
                let password = cleartext::read(frame.body)?;
                self.state = State::PasswordAsked;
                Ask::PlainPassword(password)
            }
            State::Md5 { salt, digest } => {
                let given = Password::read(frame.body)?.text;
                if md5::verify(digest.as_deref(), salt, given) {
                    self.let_in(None, out)
                } else {
                    Ask::Refused(AuthFailure::Password)
                }
            }
            State::SaslInitial(offer) => {
                let initial = SaslInitial::read(frame.body)?;
                let data = initial.data.ok_or(SaslFault::NoInitialResponse)?;
                let (exchange, reply) = offer.begin(initial.mechanism, data)?;
                backend::authentication_sasl_continue(out, &reply);
                self.state = State::SaslProof(exchange);
                return Ok(Step::Next(frame.total));
            }
            State::SaslProof(exchange) => match exchange.finish(frame.body)? {
                Outcome::Proven { keys, reply } => {
                    backend::authentication_sasl_final(out, &reply);
                    self.let_in(Some(keys), out)
                }
                Outcome::Wrong => Ask::Refused(AuthFailure::Sasl),
            },
            // `step` sends no other state here; nobody gets in by one.
            _ => Ask::Closed,
        };
        Ok(Step::Ask(frame.total, ask))
    }
}

/// What a client sends when it was asked for a proof.
enum Answer<'a> {
    Wait,
    Goodbye,
    Frame(Frame<'a>),
}

fn answer(input: &[u8]) -> Result<Answer<'_>, ProtocolError> {
    match input.first().copied() {
        None => Ok(Answer::Wait),
        Some(b'p') => {
            let frame = frame::whole(input, LOGIN_BODY_MAX)?;
            Ok(frame.map_or(Answer::Wait, Answer::Frame))
        }
        Some(b'X') => Ok(Answer::Goodbye),
        // The length of any first packet starts with this byte.
        Some(0) => Err(ProtocolError::StartupAgain),
        Some(tag) => Err(FrontendTag::from_byte(tag)
            .map_or(ProtocolError::UnknownFrontend { tag }, ProtocolError::UnexpectedFrontend)),
    }
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
