//! One client: asks, checks each answer, gets lost and comes back.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Duration;

use crate::ask::{Ask, Round};
use crate::support::client::{Client, Notice, Reply};
use crate::support::random::Random;
use crate::world::{World, is_of_a_lost_server};

/// How long an answer may take before it counts as lost for ever.
pub const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How asking ended if all went well.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As expected; the process of each row, in order.
    Answered { pids: Vec<String>, transactions: Vec<Option<String>> },
    /// Cancelled, as asked for.
    Cancelled,
}

impl Outcome {
    fn answered() -> Self {
        Self::Answered { pids: Vec::new(), transactions: Vec::new() }
    }
}

/// Why a round was not answered as expected.
#[derive(Debug)]
pub enum End {
    /// The connection, or the server behind it, is gone.
    Lost,
    Violation(String),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        match error.kind() {
            BrokenPipe | ConnectionReset | UnexpectedEof => Self::Lost,
            _ => Self::Violation(error.to_string()),
        }
    }
}

/// A client and what it remembers.
#[derive(Debug)]
pub struct Session {
    pub world: Rc<World>,
    pub random: Random,
    /// Its number, which is in its name and in all its tags.
    pub name: String,
    pub client: Option<Client>,
    /// Whether its named statement exists on the present connection.
    pub prepared: bool,
    last_tag: usize,
}

impl Session {
    pub fn new(world: Rc<World>, seed: u64, number: usize) -> Self {
        Self {
            world,
            random: Random::new(seed ^ (number as u64).wrapping_mul(0xA076_1D64_78BD_642F)),
            name: format!("c{number}"),
            client: None,
            prepared: false,
            last_tag: 0,
        }
    }

    /// Returns a tag that never was before.
    pub fn tag(&mut self) -> String {
        self.last_tag += 1;
        format!("{}-{:05}", self.name, self.last_tag)
    }

    /// Logs in if need be; returns whether there is a connection now.
    pub async fn arrive(&mut self) -> Result<(), End> {
        if self.client.is_some() {
            return Ok(());
        }
        let parameters =
            [("user", "app"), ("database", "app"), ("application_name", self.name.as_str())];
        self.prepared = false;
        match Client::connect(self.world.address, &parameters, "app-secret").await? {
            Ok(client) => self.client = Some(client),
            Err(notice) if is_of_a_lost_server(&notice) => return Err(End::Lost),
            Err(notice) => return Err(End::Violation(format!("login refused: {notice:?}"))),
        }
        Ok(())
    }

    /// Drops the connection as a crash would.
    pub fn vanish(&mut self) {
        self.client = None;
    }

    /// Asks and checks the whole answer.
    pub async fn ask(&mut self, ask: &Ask) -> Result<Outcome, End> {
        self.perform(ask, false).await
    }

    /// Asks, and asks at about the same time that it be cancelled.
    pub async fn ask_and_cancel(&mut self, ask: &Ask) -> Result<Outcome, End> {
        self.perform(ask, true).await
    }

    async fn perform(&mut self, ask: &Ask, cancels: bool) -> Result<Outcome, End> {
        let pause = self.random.below(30);
        let name = self.name.clone();
        let client = self.client.as_mut().ok_or(End::Lost)?;
        client.ask(&ask.messages).await?;
        let canceller = client.canceller();
        let cancel = async {
            if !cancels {
                return Ok(());
            }
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
            match canceller.await.map_err(End::from) {
                // A cancel that is refused or cut off cancels nothing.
                Ok(()) | Err(End::Lost) => Ok(()),
                Err(violation) => Err(violation),
            }
        };
        let read = read_rounds(client, &ask.rounds, &name, cancels);
        let (answer, cancelled) = tokio::join!(read, cancel);
        cancelled?;
        answer
    }
}

async fn read_rounds(
    client: &mut Client,
    rounds: &[Round],
    name: &str,
    cancels: bool,
) -> Result<Outcome, End> {
    let mut sum = Outcome::answered();
    for round in rounds {
        let mut reading = Reading::new(round, name, cancels);
        let read = reading.read(client);
        let answer = match tokio::time::timeout(ANSWER_MAX, read).await {
            Ok(answer) => answer,
            Err(_) => Err(End::Violation("no answer came".into())),
        };
        match answer {
            Ok(true) => return Ok(Outcome::Cancelled),
            Ok(false) => {}
            Err(End::Lost) => return Err(End::Lost),
            Err(End::Violation(what)) => {
                let told =
                    format!("{name}: {what}; expected {round:?}; read {:?}", reading.replies);
                return Err(End::Violation(told));
            }
        }
        if let Outcome::Answered { pids, transactions } = &mut sum {
            pids.append(&mut reading.pids);
            transactions.append(&mut reading.transactions);
        }
    }
    Ok(sum)
}

/// One round while it is read.
#[derive(Debug)]
struct Reading<'a> {
    round: &'a Round,
    name: &'a str,
    cancels: bool,
    replies: Vec<Reply>,
    sequence: String,
    tags: std::slice::Iter<'a, String>,
    pids: Vec<String>,
    transactions: Vec<Option<String>>,
    cancelled: bool,
    broken: bool,
}

impl<'a> Reading<'a> {
    fn new(round: &'a Round, name: &'a str, cancels: bool) -> Self {
        Self {
            round,
            name,
            cancels,
            replies: Vec::new(),
            sequence: String::new(),
            tags: round.tags.iter(),
            pids: Vec::new(),
            transactions: Vec::new(),
            cancelled: false,
            broken: false,
        }
    }

    /// Reads up to the ReadyForQuery; returns whether the request was cancelled.
    async fn read(&mut self, client: &mut Client) -> Result<bool, End> {
        loop {
            let reply = client.reply().await?;
            self.replies.push(reply.clone());
            match reply {
                Reply::Row(row) => self.row(&row)?,
                Reply::CopyData(line) => {
                    self.sequence.push('d');
                    self.expect_tag(String::from_utf8_lossy(&line).trim_end())?;
                }
                Reply::Failed(notice) => self.failed(&notice)?,
                Reply::Complete(_) => self.sequence.push('C'),
                Reply::CopyIn => self.sequence.push('G'),
                Reply::CopyOut => self.sequence.push('H'),
                Reply::Other(tag) => self.sequence.push(tag),
                Reply::Parameter(..) => {}
                Reply::Noticed(notice) if is_of_a_lost_server(&notice) => self.broken = true,
                Reply::Noticed(_) => return violation("a notice nobody caused"),
                Reply::Ready(status) => return self.ready(status),
            }
        }
    }

    fn row(&mut self, row: &[Option<String>]) -> Result<(), End> {
        self.sequence.push('D');
        let [Some(tag), Some(pid), Some(name), transaction] = row else {
            return violation("a row of another query");
        };
        self.expect_tag(tag)?;
        if name != self.name {
            return violation("application_name of another client");
        }
        if self.round.status == 'I' && transaction.is_some() {
            return violation("a transaction that another client left open");
        }
        self.pids.push(pid.clone());
        self.transactions.push(transaction.clone());
        Ok(())
    }

    fn expect_tag(&mut self, tag: &str) -> Result<(), End> {
        match self.tags.next() {
            Some(expected) if expected == tag => Ok(()),
            expected => violation(&format!("tag {tag} instead of {expected:?}")),
        }
    }

    fn failed(&mut self, notice: &Notice) -> Result<(), End> {
        self.sequence.push('E');
        let expected = self.round.error.as_ref();
        if expected.is_some_and(|(code, text)| *code == notice.code && *text == notice.message) {
            return Ok(());
        }
        if self.cancels && notice.code == "57014" && notice.message.contains("user request") {
            self.cancelled = true;
            return Ok(());
        }
        if is_of_a_lost_server(notice) {
            self.broken = true;
            return Ok(());
        }
        violation("an error nobody caused")
    }

    fn ready(&mut self, status: char) -> Result<bool, End> {
        if self.broken {
            return Err(End::Lost);
        }
        if self.cancelled && status == if self.round.status == 'T' { 'E' } else { 'I' } {
            return Ok(true);
        }
        if status != self.round.status {
            return violation(&format!("status {status}"));
        }
        if self.sequence != self.round.sequence || self.tags.next().is_some() {
            return violation(&format!("sequence {}", self.sequence));
        }
        Ok(false)
    }
}

fn violation<T>(what: &str) -> Result<T, End> {
    Err(End::Violation(what.to_owned()))
}
