//! What is asked: statements, how often each, and with which parameters.
//!
//! The same file describes SQL, commands of Redis and requests of HTTP. In SQL a parameter stands
//! where the server's own placeholder is (`$1`, `?`, `?1`); elsewhere `{1}` is replaced.
//!
//! Invariant: a workload that exists has statements, and weights that can be drawn by.
//! Left out: how a statement is sent.

use std::fmt::Write as _;
use std::path::Path;

use headpond_core::Random;
use serde::Deserialize;

use crate::arrival::uniform;
use crate::error::Error;
use crate::target::Kind;

/// Rows of the built-in table.
pub const ROWS: i64 = 10_000;
/// Where the built-in workload writes, and all it writes to: a schema, or the start of each key.
pub const OWN: &str = "headpond_bench";

/// Whether a statement changes anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// It only reads.
    Read,
    /// It writes.
    Write,
}

/// Where a parameter's values come from.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Parameter {
    /// A whole number from the first to the second, each as likely.
    Uniform([i64; 2]),
    /// A whole number from the first to the second, small ones far more likely (80 % of the draws
    /// fall into the first fifth).
    Skewed([i64; 2]),
    /// So many random letters.
    Text(usize),
    /// One of these.
    Choice(Vec<String>),
}

/// One statement.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// What reports call it.
    pub name: String,
    /// Whether it changes anything.
    pub access: Access,
    /// How often it is drawn, relative to the others. Default: 1, because one statement needs none.
    #[serde(default = "one")]
    pub weight: f64,
    /// SQL, a command, or a method and a path.
    pub text: String,
    /// What an HTTP request carries. Default: nothing, because reads have no body.
    #[serde(default)]
    pub body: Option<String>,
    /// Its parameters, in order.
    #[serde(default)]
    pub parameters: Vec<Parameter>,
}

/// What is asked.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What reports call it.
    pub name: String,
    /// Run once before the first request.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Run once after the last request.
    #[serde(default)]
    pub teardown: Vec<String>,
    /// What is drawn from.
    #[serde(rename = "statement")]
    pub statements: Vec<Statement>,
}

fn one() -> f64 {
    1.0
}

impl Workload {
    /// Reads a workload from a TOML file.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has no statements.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::file(path, error))?;
        Self::parse(&text).map_err(|reason| Error::format(path, reason))
    }

    /// Reads a workload from TOML.
    ///
    /// # Errors
    /// With what is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let workload: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        workload.check()?;
        Ok(workload)
    }

    fn check(&self) -> Result<(), String> {
        if self.statements.is_empty() {
            return Err("there is no [[statement]]".to_owned());
        }
        for statement in &self.statements {
            if !(statement.weight > 0.0 && statement.weight.is_finite()) {
                return Err(format!("statement {:?}: weight is not above zero", statement.name));
            }
            for parameter in &statement.parameters {
                parameter.check().map_err(|error| format!("{:?}: {error}", statement.name))?;
            }
        }
        Ok(())
    }

    /// Returns the built-in workload: one row of a table of [`ROWS`] read or written by its key,
    /// `write` of all requests writing (0 to 1).
    ///
    /// # Errors
    /// `write` is not within 0 and 1.
    pub fn simple(kind: Kind, write: f64) -> Result<Self, Error> {
        if !(0.0..=1.0).contains(&write) {
            return Err(Error::usage("write share", format!("{write} is not within 0 and 1")));
        }
        let key = || vec![Parameter::Uniform([1, ROWS])];
        let statement = |name: &str, access, weight, text: String| Statement {
            name: name.to_owned(),
            access,
            weight,
            text,
            body: None,
            parameters: key(),
        };
        let (read, change) = texts(kind);
        let mut statements = vec![
            statement("read one", Access::Read, 1.0 - write, read),
            statement("write one", Access::Write, write, change),
        ];
        statements.retain(|statement| statement.weight > 0.0);
        let (setup, teardown) = tables(kind);
        Ok(Self { name: "simple".to_owned(), setup, teardown, statements })
    }

    /// Returns the share of requests that write.
    #[must_use]
    pub fn write_share(&self) -> f64 {
        let sum = |wanted: Option<Access>| -> f64 {
            let of = self.statements.iter().filter(|s| wanted.is_none_or(|a| s.access == a));
            of.map(|statement| statement.weight).sum()
        };
        sum(Some(Access::Write)) / sum(None)
    }

    /// Draws a statement by weight and returns its index.
    pub fn draw(&self, random: &mut Random) -> usize {
        if self.statements.len() == 1 {
            return 0;
        }
        let all: f64 = self.statements.iter().map(|statement| statement.weight).sum();
        let mut left = uniform(random) * all;
        for (index, statement) in self.statements.iter().enumerate() {
            left -= statement.weight;
            if left <= 0.0 {
                return index;
            }
        }
        self.statements.len() - 1
    }
}

/// The built-in statements of a kind: reading and writing one row.
fn texts(kind: Kind) -> (String, String) {
    match kind {
        Kind::Postgres => (
            format!("SELECT balance FROM {OWN}.account WHERE id = $1"),
            format!("UPDATE {OWN}.account SET balance = balance + 1 WHERE id = $1"),
        ),
        Kind::MySql => (
            format!("SELECT balance FROM {OWN}_account WHERE id = ?"),
            format!("UPDATE {OWN}_account SET balance = balance + 1 WHERE id = ?"),
        ),
        Kind::Sqlite => (
            format!("SELECT balance FROM {OWN}_account WHERE id = ?1"),
            format!("UPDATE {OWN}_account SET balance = balance + 1 WHERE id = ?1"),
        ),
        Kind::Redis => (format!("GET {OWN}:{{1}}"), format!("INCR {OWN}:{{1}}")),
        Kind::Http => ("GET /".to_owned(), "POST /".to_owned()),
    }
}

/// What makes the built-in table and what removes it.
fn tables(kind: Kind) -> (Vec<String>, Vec<String>) {
    let columns = "(id integer PRIMARY KEY, balance bigint NOT NULL, filler varchar(80) NOT NULL)";
    match kind {
        Kind::Postgres => (
            vec![
                format!("CREATE SCHEMA {OWN}"),
                format!("CREATE TABLE {OWN}.account {columns}"),
                format!(
                    "INSERT INTO {OWN}.account SELECT i, 0, repeat('x', 80) \
                     FROM generate_series(1, {ROWS}) i"
                ),
                format!("ANALYZE {OWN}.account"),
            ],
            vec![format!("DROP SCHEMA {OWN} CASCADE")],
        ),
        Kind::MySql | Kind::Sqlite => {
            let digits = "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 \
                          UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION \
                          SELECT 9)";
            let filler = "x".repeat(80);
            (
                vec![
                    format!("CREATE TABLE {OWN}_account {columns}"),
                    format!(
                        "INSERT INTO {OWN}_account SELECT a.d + 10 * b.d + 100 * c.d + 1000 * e.d \
                         + 1, 0, '{filler}' FROM {digits} a, {digits} b, {digits} c, {digits} e"
                    ),
                ],
                vec![format!("DROP TABLE {OWN}_account")],
            )
        }
        // Keys spring into being when they are written; they are deleted one by one.
        Kind::Redis => (
            vec![],
            (1..=ROWS)
                .collect::<Vec<_>>()
                .chunks(500)
                .map(|keys| {
                    let mut command = "DEL".to_owned();
                    for key in keys {
                        let _ = write!(command, " {OWN}:{key}");
                    }
                    command
                })
                .collect(),
        ),
        Kind::Http => (vec![], vec![]),
    }
}

impl Parameter {
    fn check(&self) -> Result<(), String> {
        match self {
            Self::Uniform([low, high]) | Self::Skewed([low, high]) if low > high => {
                Err(format!("{low} to {high} is an empty range"))
            }
            Self::Choice(words) if words.is_empty() => Err("choice of nothing".to_owned()),
            _ => Ok(()),
        }
    }

    /// Draws a value and appends it as text.
    pub fn write(&self, random: &mut Random, out: &mut String) {
        match self {
            Self::Uniform([low, high]) => {
                let _ = write!(
                    out,
                    "{}",
                    low.saturating_add(offset(random.up_to(low.abs_diff(*high))))
                );
            }
            Self::Skewed([low, high]) => {
                let span = low.abs_diff(*high);
                let fifth = if random.up_to(9) < 8 { span / 5 } else { span };
                let _ = write!(out, "{}", low.saturating_add(offset(random.up_to(fifth))));
            }
            Self::Text(len) => {
                for _ in 0..*len {
                    out.push(char::from(b'a' + u8::try_from(random.up_to(25)).unwrap_or(0)));
                }
            }
            Self::Choice(words) => {
                let last = words.len().saturating_sub(1) as u64;
                let index = usize::try_from(random.up_to(last)).unwrap_or(0);
                out.push_str(words.get(index).map_or("", String::as_str));
            }
        }
    }

    /// Whether its values are numbers.
    #[must_use]
    pub const fn is_number(&self) -> bool {
        matches!(self, Self::Uniform(_) | Self::Skewed(_))
    }
}

fn offset(offset: u64) -> i64 {
    i64::try_from(offset).unwrap_or(i64::MAX)
}

impl Statement {
    /// Draws the parameters and returns the text with them in place of `{1}`, `{2}`, …
    #[must_use]
    pub fn filled(&self, text: &str, random: &mut Random) -> String {
        let mut filled = text.to_owned();
        let mut value = String::new();
        for (index, parameter) in self.parameters.iter().enumerate() {
            value.clear();
            parameter.write(random, &mut value);
            filled = filled.replace(&format!("{{{}}}", index + 1), &value);
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        name = "shop"
        setup = ["CREATE TABLE a (id int)"]
        [[statement]]
        name = "look"
        access = "read"
        weight = 9
        text = "SELECT 1 FROM a WHERE id = $1 AND note = $2"
        parameters = [{ uniform = [5, 7] }, { choice = ["x", "y"] }]
        [[statement]]
        name = "buy"
        access = "write"
        text = "INSERT INTO a VALUES ($1)"
        parameters = [{ skewed = [1, 1000] }]
    "#;

    #[test]
    fn a_file_says_what_is_asked_and_how_often() {
        let workload = Workload::parse(EXAMPLE).expect("is right");
        assert!((workload.write_share() - 0.1).abs() < 1e-9);
        let mut random = Random::new(3);
        let looks = (0..10_000).filter(|_| workload.draw(&mut random) == 0).count();
        assert!((8_800..9_200).contains(&looks), "{looks}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, part) in [
            ("name = 'x'\nstatement = []", "no [[statement]]"),
            ("name = 'x'", "statement"),
            (&EXAMPLE.replace("9", "-1"), "weight"),
            (&EXAMPLE.replace("[5, 7]", "[7, 5]"), "empty range"),
            (&EXAMPLE.replace("text", "sql"), "sql"),
        ] {
            let error = Workload::parse(text).expect_err(text);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn values_stay_in_their_range_and_reach_its_ends() {
        let mut random = Random::new(5);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut value = String::new();
            Parameter::Uniform([-1, 1]).write(&mut random, &mut value);
            seen.insert(value);
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["-1", "0", "1"]);
    }

    #[test]
    fn skewed_values_are_mostly_small() {
        let mut random = Random::new(5);
        let small = (0..10_000).filter(|_| {
            let mut value = String::new();
            Parameter::Skewed([0, 999]).write(&mut random, &mut value);
            value.parse::<i64>().is_ok_and(|value| value < 200)
        });
        let small = small.count();
        assert!((8_100..8_700).contains(&small), "{small}");
    }

    #[test]
    fn the_builtin_workload_keeps_to_its_own_names() {
        for kind in [Kind::Postgres, Kind::MySql, Kind::Sqlite, Kind::Redis] {
            let workload = Workload::simple(kind, 0.2).expect("within 0 and 1");
            let texts = workload.statements.iter().map(|s| &s.text);
            for text in texts.chain(&workload.setup).chain(&workload.teardown) {
                assert!(text.contains(OWN), "{text}");
            }
            assert!((workload.write_share() - 0.2).abs() < 1e-9);
        }
        assert!(Workload::simple(Kind::Redis, 1.5).is_err());
        assert_eq!(Workload::simple(Kind::Redis, 0.0).expect("reads").statements.len(), 1);
    }
}
