//! What a client does in one operation: ask in some form, or get lost in some way.

use std::collections::BTreeSet;

use tokio::time::timeout;

use crate::ask::{Ask, Round, insert, raising, select};
use crate::session::{ANSWER_MAX, End, Outcome, Session};
use crate::support::message::Messages;
use crate::world::Fate;

type Done = Result<(), End>;

impl Session {
    /// Does so many operations, whatever happens to each.
    pub async fn run(mut self, operations: usize) {
        for _ in 0..operations {
            let kind = self.random.below(23);
            let done = match timeout(2 * ANSWER_MAX, self.operation(kind)).await {
                Ok(done) => done,
                Err(_) => Err(End::Violation("no end came".into())),
            };
            match done {
                Ok(()) => self.world.count("answered"),
                Err(End::Lost) => {
                    self.world.count("lost");
                    self.vanish();
                }
                Err(End::Violation(what)) => {
                    self.world.violation(format!("operation {kind}: {what}"));
                    self.vanish();
                }
            }
            self.world.done.send_modify(|done| *done += 1);
        }
        if let Some(mut client) = self.client.take() {
            // Whether the peer still reads it makes no difference any more.
            drop(client.ask(&Messages::new().terminate()).await);
        }
    }

    async fn operation(&mut self, kind: usize) -> Done {
        self.arrive().await?;
        let tag = self.tag();
        match kind {
            0 | 1 => self.answered(&Ask::simple(&tag, 'I')).await,
            2 | 3 => self.answered(&Ask::extended(&tag, 'I')).await,
            4 | 5 if self.world.prepared => self.prepared(&tag).await,
            4 | 5 => self.answered(&Ask::extended(&tag, 'I')).await,
            6 | 7 => self.pipeline().await,
            8 => self.batch().await,
            9 | 10 => self.transaction(&tag).await,
            11 => self.pipelined_transaction(&tag).await,
            12 => self.answered(&Ask::raise(&tag, 'I')).await,
            13 => self.statements(&tag).await,
            14 => self.answered(&Ask::copy_out(&tag)).await,
            15 => self.copy_in(&tag).await,
            16 => self.cancel(&tag).await,
            17 => self.cancel_in_transaction(&tag).await,
            _ => self.get_lost(&tag).await,
        }
    }

    async fn answered(&mut self, ask: &Ask) -> Done {
        self.ask(ask).await.map(|_| ())
    }

    /// All clients use one name for statements of different text.
    async fn prepared(&mut self, tag: &str) -> Done {
        if !self.prepared {
            let sql = select(&format!("$1::text || '/{}'", self.name));
            let messages = Messages::new().parse("s", &sql).describe_statement("s").sync();
            self.answered(&Ask::new(messages, [Round::new("1tT", 'I')])).await?;
            self.prepared = true;
        }
        let told = format!("{tag}/{}", self.name);
        let messages = Messages::new().bind("s", &[tag]).execute().sync();
        self.answered(&Ask::new(messages, [Round::new("2DC", 'I').tags([&told])])).await?;
        if self.random.one_in(5) {
            let messages = Messages::new().close_statement("s").sync();
            self.prepared = false;
            self.answered(&Ask::new(messages, [Round::new("3", 'I')])).await?;
        }
        Ok(())
    }

    /// Many requests in one write, each with its own end; some fail.
    async fn pipeline(&mut self) -> Done {
        let mut all = Ask::default();
        for _ in 0..2 + self.random.below(8) {
            let tag = self.tag();
            all = all.then(match self.random.below(4) {
                0 => Ask::simple(&tag, 'I'),
                1 => Ask::raise(&tag, 'I'),
                _ => Ask::extended(&tag, 'I'),
            });
        }
        self.answered(&all).await
    }

    async fn batch(&mut self) -> Done {
        let (a, b, c) = (self.tag(), self.tag(), self.tag());
        let fails = self.random.one_in(2);
        self.answered(&Ask::batch([&a, &b, &c], fails)).await
    }

    /// Step by step; the process stays the same, and so does the transaction once it writes.
    async fn transaction(&mut self, tag: &str) -> Done {
        self.world.enter(tag, Fate::Undone);
        let mut pids = BTreeSet::new();
        let mut transactions = BTreeSet::new();
        self.answered(&Ask::command("BEGIN", 'T')).await?;
        self.answered(&Ask::command(&insert(tag), 'T')).await?;
        for _ in 0..1 + self.random.below(4) {
            let step = self.tag();
            let ask = match self.random.below(2) {
                0 => Ask::simple(&step, 'T'),
                _ => Ask::extended(&step, 'T'),
            };
            if let Outcome::Answered { pids: p, transactions: t } = self.ask(&ask).await? {
                pids.extend(p);
                transactions.extend(t);
            }
        }
        if pids.len() != 1 || transactions.len() != 1 || transactions.contains(&None) {
            let told = format!("{tag}: torn transaction: {pids:?} {transactions:?}");
            return Err(End::Violation(told));
        }
        match self.random.below(4) {
            0 => self.answered(&Ask::command("ROLLBACK", 'I')).await,
            1 => {
                let failing = self.tag();
                self.answered(&Ask::raise(&failing, 'E')).await?;
                // In a failed transaction COMMIT rolls back.
                self.answered(&Ask::command("COMMIT", 'I')).await
            }
            _ => self.commit(tag, &Ask::command("COMMIT", 'I')).await,
        }
    }

    /// Asks for the commit of what `tag` wrote.
    async fn commit(&mut self, tag: &str, ask: &Ask) -> Done {
        self.world.enter(tag, Fate::Unknown);
        self.answered(ask).await?;
        self.world.enter(tag, Fate::Kept);
        Ok(())
    }

    async fn pipelined_transaction(&mut self, tag: &str) -> Done {
        let (one, two) = (self.tag(), self.tag());
        let ask = Ask::command("BEGIN", 'T')
            .then(Ask::command(&insert(tag), 'T'))
            .then(Ask::simple(&one, 'T'))
            .then(Ask::extended(&two, 'T'))
            .then(Ask::command("COMMIT", 'I'));
        self.world.enter(tag, Fate::Unknown);
        if let Outcome::Answered { pids, transactions } = self.ask(&ask).await? {
            let same = |all: &[_]| all.windows(2).all(|w| w[0] == w[1]);
            if !same(&pids) || transactions[0].is_none() || transactions[0] != transactions[1] {
                let told = format!("{tag}: torn transaction: {pids:?} {transactions:?}");
                return Err(End::Violation(told));
            }
        }
        self.world.enter(tag, Fate::Kept);
        Ok(())
    }

    /// Several statements in one text; the second may fail and end it.
    async fn statements(&mut self, tag: &str) -> Done {
        let second = self.tag();
        let first = select(&format!("'{tag}'"));
        let ask = if self.random.one_in(2) {
            let sql = format!("{first}; {}; {first}", raising(&second));
            let round = Round::new("TDCE", 'I').tags([tag]).raised(&second);
            Ask::new(Messages::new().query(&sql), [round])
        } else {
            let sql = format!("{first};{};", select(&format!("'{second}'")));
            Ask::new(Messages::new().query(&sql), [Round::new("TDCTDC", 'I').tags([tag, &second])])
        };
        self.answered(&ask).await
    }

    async fn copy_in(&mut self, tag: &str) -> Done {
        if self.random.one_in(2) {
            self.world.enter(tag, Fate::Undone);
            return self.answered(&Ask::copy_fail(tag)).await;
        }
        self.commit(tag, &Ask::copy_in(tag)).await
    }

    /// Cancels a request that may still wait for a server.
    async fn cancel(&mut self, tag: &str) -> Done {
        self.slow(tag, 'I').await?;
        // The cancel was handled before this: it must hit nothing.
        let after = self.tag();
        self.answered(&Ask::simple(&after, 'I')).await
    }

    /// Cancels a request that a server surely has.
    async fn cancel_in_transaction(&mut self, tag: &str) -> Done {
        self.answered(&Ask::command("BEGIN", 'T')).await?;
        let status = self.slow(tag, 'T').await?;
        let after = self.tag();
        if status == 'T' {
            self.answered(&Ask::simple(&after, 'T')).await?;
        } else {
            let ask = Ask::simple(&after, 'E');
            let refused = "current transaction is aborted, commands ignored until end of \
                           transaction block";
            let round = Round::new("E", 'E').error("25P02", refused);
            self.answered(&Ask::new(ask.messages, [round])).await?;
        }
        self.answered(&Ask::command("ROLLBACK", 'I')).await
    }

    /// Asks for what takes its time and for its cancellation; returns the status afterwards.
    async fn slow(&mut self, tag: &str, status: char) -> Result<char, End> {
        let sleep = "DO $$BEGIN PERFORM pg_sleep(0.03); END$$";
        let sql = format!("{sleep}; {}", select(&format!("'{tag}'")));
        let round = Round::new("CTDC", status).tags([tag]);
        let ask = Ask::new(Messages::new().query(&sql), [round]);
        if self.ask_and_cancel(&ask).await? == Outcome::Cancelled {
            self.world.count("cancelled");
            return Ok(if status == 'T' { 'E' } else { 'I' });
        }
        self.world.count("too late to cancel");
        Ok(status)
    }

    /// Leaves without a word in the middle of something.
    async fn get_lost(&mut self, tag: &str) -> Done {
        self.world.count("vanished");
        let way = self.random.below(8);
        let simple = select(&format!("'{tag}'"));
        let messages = match way {
            // Right after asking.
            0 => Messages::new().query(&simple),
            // In a request that takes its time.
            1 => Messages::new().query("SELECT pg_sleep(0.02)"),
            // In a transaction that wrote.
            2 => {
                self.world.enter(tag, Fate::Undone);
                self.answered(&Ask::command("BEGIN", 'T')).await?;
                Messages::new().query(&insert(tag))
            }
            // With answers owed and no Sync.
            3 => Messages::new().parse("", &simple).bind("", &[]).execute().flush(),
            // In a copy.
            4 => {
                self.world.enter(tag, Fate::Undone);
                let copy = Messages::new().query("COPY ledger (tag) FROM STDIN");
                copy.copy_data(format!("{tag}\n").as_bytes())
            }
            // With a long answer on its way.
            5 => Messages::new().query("SELECT repeat('x', 1000) FROM generate_series(1, 2000)"),
            // In a failed transaction.
            6 => Messages::new().query("BEGIN").query(&raising(tag)),
            // In a long message.
            _ => Messages::new().query(&format!("/*{}*/ {simple}", "x".repeat(100_000))),
        };
        let bytes = messages.bytes();
        let cut = if way == 7 || self.random.one_in(3) {
            1 + self.random.below(bytes.len() - 1)
        } else {
            bytes.len()
        };
        let client = self.client.as_mut().ok_or(End::Lost)?;
        client.send(&bytes[..cut]).await?;
        // Of these more than two replies come, whatever happens.
        if matches!(way, 0 | 5) && cut == bytes.len() {
            for _ in 0..self.random.below(3) {
                client.reply().await?;
            }
        }
        if self.random.one_in(4) && cut == bytes.len() {
            let client = self.client.as_mut().ok_or(End::Lost)?;
            client.ask(&Messages::new().terminate()).await?;
        }
        self.vanish();
        Ok(())
    }
}
