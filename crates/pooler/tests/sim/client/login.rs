//! A client's way in.
//!
//! Invariant: whoever claims wrongly is not let in; who is let in has the settings that he asked
//! for.

use headpond_wire::ErrorFields;
use headpond_wire::auth::scram;
use headpond_wire::login::connect::{Connect, ConnectSpec, Credential, Progress};
use zeroize::Zeroizing;

use super::{Around, Claim, Client, Phase};
use crate::plan::password_of;
use crate::session::{Output, Session, Settings, TRACKED};

impl Client {
    pub(super) fn start_login(&mut self, out: &mut Vec<u8>, around: &mut Around<'_>) {
        let database = match self.claim {
            Claim::NoDatabase => "nowhere".to_owned(),
            _ => format!("db{}", self.dice.below(around.plan.databases)),
        };
        let password = match self.claim {
            Claim::WrongPassword => "wrong".to_owned(),
            _ => password_of(self.user),
        };
        let name = format!("client {}", self.id);
        let mut params = vec![
            (b"database".to_vec(), database.into_bytes()),
            (b"application_name".to_vec(), name.into_bytes()),
        ];
        if self.dice.one_in(2) {
            let zone = *self.dice.pick(&["GMT", "Europe/Vienna", "Asia/Tokyo"]);
            params.push((b"TimeZone".to_vec(), zone.into()));
        }
        let mut nonce = [b'c'; 18];
        nonce[..8].copy_from_slice(&self.dice.bits().to_be_bytes());
        let credential = Credential::Plain(Zeroizing::new(password.into_bytes()));
        let user = self.user.as_bytes().to_vec();
        let spec = ConnectSpec { params, user, credential, nonce, binding: None };
        let mut login = Connect::new(spec);
        login.start(out);
        self.phase = Phase::Login(Box::new(login));
    }

    pub(super) fn log_in(&mut self, around: &mut Around<'_>) {
        let Phase::Login(login) = &mut self.phase else { return };
        let mut out = Vec::new();
        let mut verdict = None;
        loop {
            match login.receive(&self.input, &mut out) {
                Ok((used, progress)) => {
                    self.input.drain(..used);
                    match progress {
                        Progress::NeedInput => break,
                        Progress::Derive { password, salt, iterations } => {
                            let salted = scram::salted_password(&password, &salt, iterations);
                            login.derived(salted, &mut out);
                        }
                        Progress::Ready(welcome) => {
                            verdict = Some(Ok(welcome));
                            break;
                        }
                        Progress::Failed(fields) => {
                            verdict = Some(Err(fields));
                            break;
                        }
                    }
                }
                Err(error) => {
                    let id = self.id;
                    around.ledger.violation(format!("client {id} could not log in: {error}"));
                    self.phase = Phase::Leaving;
                    return;
                }
            }
        }
        self.write(&out);
        match verdict {
            None => {}
            Some(Ok(welcome)) => self.welcomed(&welcome.params, welcome.pid, welcome.key, around),
            Some(Err(fields)) => self.turned_away(*fields, around),
        }
    }

    fn welcomed(
        &mut self,
        params: &[(Vec<u8>, Vec<u8>)],
        pid: i32,
        key: Vec<u8>,
        around: &mut Around<'_>,
    ) {
        let id = self.id;
        around.ledger.tally.logins += 1;
        around.ledger.note(|| format!("client {id} is in"));
        if self.claim != Claim::Right {
            around.ledger.violation(format!("client {id} should not have been let in"));
        }
        let value = |name: &str| {
            let found = params.iter().find(|(known, _)| known == name.as_bytes());
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let settings = TRACKED
            .iter()
            .map(|name| (*name, value(name).unwrap_or_default()))
            .collect::<Settings>();
        if settings["application_name"] != format!("client {id}") {
            around.ledger.violation(format!("client {id} was welcomed with {settings:?}"));
        }
        self.reference = Some(Session::new(settings, Output::Prompt, false));
        self.key = Some((pid, key));
        self.phase = Phase::Ready;
    }

    fn turned_away(&mut self, fields: ErrorFields, around: &mut Around<'_>) {
        let (id, text) = (self.id, fields.text().into_owned());
        around.ledger.tally.refused += 1;
        around.ledger.note(|| format!("client {id} is turned away: {text}"));
        if &fields.code == b"XX000" {
            around.ledger.violation(format!("client {id} met a defect: {text}"));
        }
        if self.claim == Claim::Right && !around.ledger.stormy && !is_excused(&fields) {
            around.ledger.violation(format!("client {id} was turned away in calm: {text}"));
        }
        self.fatal = Some(fields);
        self.phase = Phase::Leaving;
    }
}

/// Errors at login that are right even in calm.
fn is_excused(fields: &ErrorFields) -> bool {
    fields.text().contains("max_")
}
