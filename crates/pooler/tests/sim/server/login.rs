//! How a server lets sessions in.
//!
//! Invariant: a session begins with its welcome, and counts from there.

use headpond_pooler::engine::sim::Endpoint;
use headpond_wire::auth::{md5, scram};
use headpond_wire::backend::{self, Notice, Status};
use headpond_wire::login::accept::{Ask, Challenge};
use headpond_wire::{Severity, SqlState};

use super::{Alarm, Around, Mood, Postgres, Stage};
use crate::plan::{Proof, password_of, secret_of};
use crate::session::{Output, Session, TRACKED};

/// What came of a startup packet.
enum Challenged {
    Refused,
    Asked,
    In,
}

impl Postgres {
    pub(super) fn login(&mut self, id: u64, around: &mut Around<'_>) {
        let mut out = Vec::new();
        loop {
            let Some(conn) = self.conns.get_mut(&id) else { return };
            let Stage::Login(accept, startup) = &mut conn.stage else { break };
            let input = std::mem::take(&mut conn.input);
            let (used, ask) = match accept.receive(&input, &mut out) {
                Ok(heard) => heard,
                Err(error) => {
                    around.ledger.violation(format!("a server login broke the protocol: {error}"));
                    conn.stage = Stage::Over;
                    break;
                }
            };
            conn.input = input[used..].to_vec();
            match ask {
                Ask::NeedInput => break,
                Ask::Startup(found) => {
                    conn.user = String::from_utf8_lossy(found.user()).into_owned();
                    conn.database = String::from_utf8_lossy(found.database()).into_owned();
                    *startup = Some(found);
                    match self.challenge(id, &mut out) {
                        Challenged::Asked => {}
                        Challenged::Refused => break,
                        Challenged::In => {
                            self.welcome(id, &mut out, around);
                            break;
                        }
                    }
                }
                Ask::PlainPassword(given) => {
                    if given.as_slice() == password_of(&conn.user).as_bytes() {
                        accept.accept_plain(&mut out);
                        self.welcome(id, &mut out, around);
                    } else {
                        around.ledger.violation(format!("wrong password for {}", conn.user));
                        conn.stage = Stage::Over;
                    }
                    break;
                }
                Ask::Authenticated(_) => {
                    self.welcome(id, &mut out, around);
                    break;
                }
                Ask::Refused(_) => {
                    around.ledger.violation(format!("wrong proof for {}", conn.user));
                    conn.stage = Stage::Over;
                    break;
                }
                Ask::Cancel(request) => {
                    conn.stage = Stage::Cancel;
                    let wait = self.times.cancel(&mut self.dice);
                    if let Some(wait) = wait {
                        around.alarms.push((wait, Alarm::CancelOver(id)));
                    }
                    self.cancel(&request, around);
                    break;
                }
                Ask::Tls | Ask::Closed => break,
            }
        }
        self.write(id, &out, around);
        self.go_on(id, &[], around);
    }

    /// Asks for a proof, or turns somebody away, or lets him in.
    fn challenge(&mut self, id: u64, out: &mut Vec<u8>) -> Challenged {
        let Some(conn) = self.conns.get_mut(&id) else { return Challenged::Refused };
        let Stage::Login(accept, _) = &mut conn.stage else { return Challenged::Refused };
        let refusal: Option<(&[u8; 5], &str)> = match self.mood {
            Mood::Starting => Some((b"57P03", "the database system is starting up")),
            Mood::Crowded => Some((b"53300", "sorry, too many clients already")),
            Mood::Strict => Some((b"28P01", "password authentication failed")),
            Mood::Up | Mood::Mute => None,
        };
        if let Some((code, text)) = refusal {
            let code = SqlState::from_bytes(code).expect("five letters");
            accept.refuse(&Notice::new(Severity::Fatal, code, text), out);
            conn.stage = Stage::Over;
            return Challenged::Refused;
        }
        let mut salt = [0; 4];
        salt.copy_from_slice(&self.dice.bits().to_be_bytes()[..4]);
        let challenge = match self.proof {
            Proof::Trust => Challenge::Trust,
            Proof::Plain => Challenge::Plain,
            Proof::Md5 => {
                let stored =
                    md5::digest_password(conn.user.as_bytes(), password_of(&conn.user).as_bytes());
                Challenge::Md5 { salt, digest: md5::digits(stored.as_bytes()) }
            }
            Proof::Scram => {
                let secret = scram::Secret::parse(&secret_of(&conn.user)).expect("made by us");
                let mut nonce = [b'n'; 18];
                nonce[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
                Challenge::Scram { secret, genuine: true, nonce, binding: None }
            }
        };
        match accept.challenge(challenge, out) {
            Ask::Authenticated(_) => Challenged::In,
            _ => Challenged::Asked,
        }
    }

    fn welcome(&mut self, id: u64, out: &mut Vec<u8>, around: &mut Around<'_>) {
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let Stage::Login(_, Some(startup)) = &conn.stage else { return };
        let mut settings = self.defaults.clone();
        for (name, value) in &startup.params {
            let known = TRACKED.iter().find(|known| known.as_bytes().eq_ignore_ascii_case(name));
            if let Some(known) = known {
                settings.insert(known, String::from_utf8_lossy(value).into_owned());
            }
        }
        for (name, value) in &settings {
            backend::parameter_status(out, name.as_bytes(), value.as_bytes());
        }
        backend::parameter_status(out, b"server_version", b"15.0");
        backend::backend_key_data(out, conn.pid, &conn.key);
        backend::ready_for_query(out, Status::Idle);
        conn.stage = Stage::Session(Box::new(Session::new(settings, Output::Held, self.eager)));
        around.ledger.tally.sessions += 1;
        if conn.end.as_ref().is_none_or(Endpoint::is_abandoned) {
            // Whoever called has given up: this session ends as soon as it hears of that.
            conn.lost = true;
            conn.end = None;
            conn.stage = Stage::Over;
            return;
        }
        around.arrived.push((conn.database.clone(), conn.user.clone()));
        let pid = conn.pid;
        around.ledger.note(|| format!("backend {pid} starts"));
    }
}
