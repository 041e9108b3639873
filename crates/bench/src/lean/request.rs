//! The bytes of one request.
//!
//! Invariant: a request is answered by exactly one ReadyForQuery.
//! Left out: transactions of several round trips.

use headpond_core::Random;
use headpond_wire::{FrontendTag, encode, frontend};

use crate::run::Protocol;
use crate::workload::{Statement, Workload};

/// Makes requests of a workload.
#[derive(Clone, Debug)]
pub struct Request {
    workload: Workload,
    protocol: Protocol,
    /// Names of the prepared statements.
    names: Vec<Vec<u8>>,
}

impl Request {
    /// Prepares to make requests.
    pub fn new(workload: &Workload, protocol: Protocol) -> Self {
        let names = (0..workload.statements.len()).map(|n| format!("headpond_{n}").into_bytes());
        Self { workload: workload.clone(), protocol, names: names.collect() }
    }

    /// Returns what is sent once on each new connection, each with an answer of its own.
    pub fn preparations(&self) -> Vec<Vec<u8>> {
        if self.protocol != Protocol::Prepared {
            return Vec::new();
        }
        let statements = self.workload.statements.iter().zip(&self.names);
        let prepare = |(statement, name): (&Statement, &Vec<u8>)| {
            let mut out = Vec::new();
            frontend::parse(&mut out, name, statement.text.as_bytes(), &[]);
            frontend::sync(&mut out);
            out
        };
        statements.map(prepare).collect()
    }

    /// Draws a request and appends it; `value` is scratch space.
    pub fn write(&self, random: &mut Random, value: &mut String, out: &mut Vec<u8>) {
        let index = self.workload.draw(random);
        let statement = &self.workload.statements[index];
        if self.protocol == Protocol::Simple {
            frontend::query(out, inlined(statement, random).as_bytes());
            return;
        }
        let name = match self.protocol {
            Protocol::Prepared => self.names[index].as_slice(),
            _ => {
                frontend::parse(out, b"", statement.text.as_bytes(), &[]);
                b""
            }
        };
        encode::message(out, FrontendTag::Bind.byte(), |out| {
            encode::cstr(out, b"");
            encode::cstr(out, name);
            encode::count(out, 0);
            encode::count(out, statement.parameters.len());
            for parameter in &statement.parameters {
                value.clear();
                parameter.write(random, value);
                encode::value(out, Some(value.as_bytes()));
            }
            encode::count(out, 0);
        });
        frontend::execute(out, b"", 0);
        frontend::sync(out);
    }
}

/// Returns the text with its parameters as literals in place of `$1`, `$2`, …
pub fn inlined(statement: &Statement, random: &mut Random) -> String {
    let mut text = statement.text.clone();
    let mut value = String::new();
    // From the last on, so that $1 does not hit the beginning of $10.
    let values: Vec<String> = statement
        .parameters
        .iter()
        .map(|parameter| {
            value.clear();
            parameter.write(random, &mut value);
            match parameter.is_number() {
                true => value.clone(),
                false => format!("'{}'", value.replace('\'', "''")),
            }
        })
        .collect();
    for (index, value) in values.iter().enumerate().rev() {
        text = text.replace(&format!("${}", index + 1), value);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use headpond_wire::frame;
    use headpond_wire::frontend::Message;

    fn workload() -> Workload {
        let text = "name = 'x'\n[[statement]]\nname = 'a'\naccess = 'read'\n\
                    text = 'SELECT $1, $2'\nparameters = [{ uniform = [7, 7] }, { choice = [\"o'x\"] }]";
        Workload::parse(text).expect("is right")
    }

    fn tags(bytes: &[u8]) -> String {
        let (mut rest, mut tags) = (bytes, String::new());
        while let Some(found) = frame::whole(rest, 10_000).expect("our own") {
            Message::decode(found.tag, found.body).expect("our own");
            tags.push(char::from(found.tag));
            rest = &rest[found.total..];
        }
        tags
    }

    #[test]
    fn each_protocol_sends_what_it_stands_for() {
        for (protocol, expected, prepared) in [
            (Protocol::Simple, "Q", 0),
            (Protocol::Extended, "PBES", 0),
            (Protocol::Prepared, "BES", 1),
        ] {
            let request = Request::new(&workload(), protocol);
            let mut out = Vec::new();
            request.write(&mut Random::new(1), &mut String::new(), &mut out);
            assert_eq!(tags(&out), expected);
            let preparations = request.preparations();
            assert_eq!(preparations.len(), prepared);
            assert!(preparations.iter().all(|message| tags(message) == "PS"));
        }
    }

    #[test]
    fn a_literal_cannot_end_its_quotes() {
        let text = inlined(&workload().statements[0], &mut Random::new(1));
        assert_eq!(text, "SELECT 7, 'o''x'");
    }
}
