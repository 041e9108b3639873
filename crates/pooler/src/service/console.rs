//! The console: commands carried out.
//!
//! Invariant: every command is answered exactly once, by its result, its error or the end of the
//! process. The flags of the catalog say what is paused; the pools follow them.
//! Not here: grammar and rights (`crate::admin`), what SHOW shows (`console/show.rs`).

mod show;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use headpond_core::{Lane, PoolCore, Timestamp};

use super::control::State;
use crate::admin::{Command, CommandError, Role, Shutdown, command, render};
use crate::catalog::{CONSOLE, Database, Pool, View};
use crate::control::{Collector, Mail, Select};
use crate::engine::{Engine, clock};
use crate::log::Level;
use crate::worker::{RunPhase, Shared};

/// How often a client that is to be killed is looked for: one that moves between two workers may
/// be missed by both.
const KILL_ATTEMPTS: usize = 4;

/// Who gave a command: a client of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asker {
    /// Its worker.
    pub lane: Lane,
    /// What the worker calls it.
    pub caller: u64,
}

/// What is left to do for a command.
enum Outcome {
    /// Nothing: it is done.
    Done,
    /// It is answered by somebody else, later.
    Later,
    /// The process ends.
    End,
}

/// Somebody whose command is not over.
pub(super) struct Waiting {
    asker: Asker,
    until: Until,
}

/// What a command waits for.
enum Until {
    /// All servers are gone after PAUSE.
    AllPaused,
    /// All servers of a database are gone after PAUSE.
    Paused(Arc<Database>),
    /// All servers that RECONNECT or RELOAD left behind are gone; of a database, if one is named.
    Closed(Option<Arc<Database>>),
}

impl Until {
    fn name(&self) -> &'static str {
        match self {
            Until::AllPaused | Until::Paused(_) => "PAUSE",
            Until::Closed(_) => "WAIT_CLOSE",
        }
    }
}

/// Sends an answer to a console client.
fn answer<E: Engine>(shared: &Shared<E>, asker: Asker, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let Asker { lane, caller } = asker;
    shared.post(lane, Mail::AdminReply { caller, bytes, close: false });
}

/// Changes a pool's core and has a worker carry out what follows.
fn with_core<E: Engine>(
    shared: &Shared<E>,
    pool: &Arc<Pool>,
    verb: impl FnOnce(&mut PoolCore, Timestamp),
) {
    let now = clock::monotonic();
    verb(&mut pool.core.lock(), now);
    shared.post(Lane(0), Mail::Poke { pool: Arc::clone(pool) });
}

/// Pauses or resumes a pool, as the flags say.
pub(super) fn obey_pause<E: Engine>(shared: &Shared<E>, pool: &Arc<Pool>) {
    let paused = shared.catalog.is_paused(&pool.database);
    if paused == pool.core.lock().is_paused() {
        return;
    }
    with_core(shared, pool, |core, now| {
        if paused {
            core.pause(now);
            // A pause is for those who want to restart the database: connections are closed.
            core.drain(now);
        } else {
            core.resume(now);
        }
    });
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> State<'_, E> {
    /// Carries out a command; true if the process must end.
    pub(super) fn on_command(&mut self, asker: Asker, role: Role, text: &str) -> bool {
        let shared = Arc::clone(self.shared());
        shared.catalog.console.commands.add(1);
        let done = command::read(text, role).and_then(|command| {
            if let Some(line) = command.log_line() {
                shared.log.line(Level::Log, &line);
            }
            Ok((self.carry_out(asker, &command)?, command))
        });
        match done {
            Ok((Outcome::Done, command)) => {
                answer(&shared, asker, |out| render::done(out, &command.tag()));
            }
            Ok((Outcome::Later, _)) => {}
            Ok((Outcome::End, _)) => return true,
            Err(error) => answer(&shared, asker, |out| render::error(out, &error)),
        }
        false
    }

    fn carry_out(&mut self, asker: Asker, command: &Command) -> Result<Outcome, CommandError> {
        if command.database() == Some(CONSOLE)
            && let Some(refused) = command.refused_on_console()
        {
            return Err(refused);
        }
        match command {
            Command::Pause(None) => return self.pause(asker),
            Command::Pause(Some(name)) => return self.pause_database(asker, name),
            Command::Resume(None) => self.resume()?,
            Command::Resume(Some(name)) => self.resume_database(name)?,
            Command::Kill(name) => self.kill(name.as_deref())?,
            Command::KillClient(id) => {
                tokio::spawn(kill_client(Arc::clone(self.shared()), asker, *id));
                return Ok(Outcome::Later);
            }
            Command::Reconnect(name) => self.reconnect(name.as_deref())?,
            Command::WaitClose(name) => {
                let database = name.as_deref().map(|name| self.database(name)).transpose()?;
                return Ok(self.wait(asker, Until::Closed(database)));
            }
            Command::Disable(name) => self.database(name)?.disabled.store(true, Ordering::Release),
            Command::Enable(name) => self.database(name)?.disabled.store(false, Ordering::Release),
            Command::Reload => self.reload().map_err(|_logged| CommandError::ReloadFailed)?,
            Command::Shutdown(when) => return Ok(self.shut_down(*when)),
            Command::Set { key, value } => self.set(key, value)?,
            Command::Suspend => return Err(CommandError::NotSupported("SUSPEND")),
            Command::FakeSet(_) | Command::Show(_) | Command::FakeShow(_) => {
                self.show(asker, command)?;
                return Ok(Outcome::Later);
            }
        }
        Ok(Outcome::Done)
    }

    pub(super) fn database(&self, name: &str) -> Result<Arc<Database>, CommandError> {
        let found = self.shared().catalog.database(name);
        found.ok_or_else(|| CommandError::NoSuchDatabase(name.to_owned()))
    }

    /// The pools of a database, or all.
    fn pools_of(&self, database: Option<&Arc<Database>>) -> Vec<Arc<Pool>> {
        let mut pools = self.shared().catalog.pools();
        pools.retain(|pool| database.is_none_or(|database| Arc::ptr_eq(&pool.database, database)));
        pools
    }

    fn pause(&mut self, asker: Asker) -> Result<Outcome, CommandError> {
        if self.shared().catalog.is_all_paused() {
            return Err(CommandError::AlreadyPaused);
        }
        self.pause_all(true);
        Ok(self.wait(asker, Until::AllPaused))
    }

    fn pause_database(&mut self, asker: Asker, name: &str) -> Result<Outcome, CommandError> {
        let database = self.database(name)?;
        self.set_paused(&database, true);
        Ok(self.wait(asker, Until::Paused(database)))
    }

    pub(super) fn set_paused(&self, database: &Arc<Database>, paused: bool) {
        database.paused.store(paused, Ordering::Release);
        for pool in self.pools_of(Some(database)) {
            obey_pause(self.shared(), &pool);
        }
    }

    pub(super) fn resume(&mut self) -> Result<(), CommandError> {
        let shared = self.shared();
        if shared.phase() != RunPhase::Running {
            return Err(CommandError::ShuttingDown);
        }
        if !shared.catalog.is_all_paused() {
            return Err(CommandError::NotPaused);
        }
        self.pause_all(false);
        Ok(())
    }

    pub(super) fn resume_database(&mut self, name: &str) -> Result<(), CommandError> {
        let not_paused = || CommandError::DatabaseNotPaused(name.to_owned());
        if name == CONSOLE {
            return Err(not_paused());
        }
        let database = self.database(name)?;
        if !database.paused.load(Ordering::Acquire) {
            return Err(not_paused());
        }
        self.set_paused(&database, false);
        Ok(())
    }

    /// Drops clients, and with them their servers, and leaves it paused.
    fn kill(&mut self, name: Option<&str>) -> Result<(), CommandError> {
        if self.shared().catalog.is_all_paused() {
            return Err(CommandError::AlreadyPaused);
        }
        let select = match name {
            None => {
                self.pause_all(true);
                Select::All
            }
            Some(name) => {
                let database = self.database(name)?;
                self.set_paused(&database, true);
                Select::Database(database.name.clone())
            }
        };
        self.shared().post_all(|| Mail::CloseClients(select.clone()));
        Ok(())
    }

    pub(super) fn reconnect(&mut self, name: Option<&str>) -> Result<(), CommandError> {
        let database = name.map(|name| self.database(name)).transpose()?;
        for pool in self.pools_of(database.as_ref()) {
            with_core(self.shared(), &pool, PoolCore::renew);
            // Somebody may have switched to another server: what that one reports counts.
            pool.welcome.store(None);
        }
        // Under server_fast_close clients leave their servers at once.
        self.shared().post_all(|| Mail::Reloaded);
        Ok(())
    }

    fn shut_down(&mut self, when: Shutdown) -> Outcome {
        match when {
            Shutdown::Now => Outcome::End,
            // The answer is the end of the connection.
            Shutdown::WaitForServers => {
                self.drain(RunPhase::WaitingForServers);
                Outcome::Later
            }
            Shutdown::WaitForClients => {
                self.drain(RunPhase::WaitingForClients);
                Outcome::Later
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), CommandError> {
        let shared = Arc::clone(self.shared());
        let before = shared.catalog.view();
        let mut config = before.config.clone();
        let changed = config.set(key, value).map_err(|error| error.to_string());
        let mut warn = |text: String| shared.log.line(Level::Warning, &text);
        let view = changed.and_then(|()| View::read(config, &before.lasting(), &mut warn));
        match view {
            Ok(view) => {
                self.replace(view);
                Ok(())
            }
            Err(text) => {
                shared.log.line(Level::Error, &format!("SET {key}: {text}"));
                Err(CommandError::SetFailed)
            }
        }
    }

    /// Keeps a command until it is over, which it may be already.
    fn wait(&mut self, asker: Asker, until: Until) -> Outcome {
        if let Some(Ok(())) = self.result_of(&until) {
            return Outcome::Done;
        }
        self.waiting.push(Waiting { asker, until });
        Outcome::Later
    }

    /// How a command ended, if it did.
    fn result_of(&self, until: &Until) -> Option<Result<(), CommandError>> {
        let is_over = match until {
            Until::AllPaused | Until::Paused(_) => {
                let database = match until {
                    Until::Paused(database) => Some(database),
                    _ => None,
                };
                let paused = match database {
                    Some(database) => database.paused.load(Ordering::Acquire),
                    None => self.shared().catalog.is_all_paused(),
                };
                if !paused {
                    return Some(Err(CommandError::EndedByResume(until.name())));
                }
                let pools = self.pools_of(database);
                pools.iter().all(|pool| pool.core.lock().counts().total() == 0)
            }
            Until::Closed(database) => {
                let pools = self.pools_of(database.as_ref());
                pools.iter().all(|pool| pool.core.lock().outdated() == 0)
            }
        };
        is_over.then_some(Ok(()))
    }

    /// Answers those whose command is over.
    pub(super) fn answer_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            match self.result_of(&waiting.until) {
                Some(Ok(())) => {
                    let name = waiting.until.name();
                    answer(self.shared(), waiting.asker, |out| render::done(out, name));
                }
                Some(Err(error)) => {
                    answer(self.shared(), waiting.asker, |out| render::error(out, &error));
                }
                None => self.waiting.push(waiting),
            }
        }
    }

    /// An asker does not want to wait any longer: what its command began is undone.
    pub(super) fn on_cancel(&mut self, asker: Asker) {
        if let Some(waiting) = self.take_waiting(asker) {
            self.undo(&waiting.until);
            let error = CommandError::Canceled;
            answer(self.shared(), asker, |out| render::error(out, &error));
        }
    }

    /// An asker is gone before its answer: it never learns that anything is paused.
    pub(super) fn on_left(&mut self, asker: Asker) {
        if let Some(waiting) = self.take_waiting(asker) {
            if !matches!(waiting.until, Until::Closed(_)) {
                let text = "admin disappeared while PAUSE was waiting, doing RESUME";
                self.shared().log.line(Level::Log, text);
            }
            self.undo(&waiting.until);
        }
    }

    fn take_waiting(&mut self, asker: Asker) -> Option<Waiting> {
        let place = self.waiting.iter().position(|waiting| waiting.asker == asker)?;
        Some(self.waiting.swap_remove(place))
    }

    fn undo(&mut self, until: &Until) {
        match until {
            // The shutdown has made the pause its own.
            _ if self.shared().phase() == RunPhase::WaitingForServers => {}
            Until::AllPaused => self.pause_all(false),
            Until::Paused(database) => self.set_paused(database, false),
            Until::Closed(_) => {}
        }
    }
}

/// Finds and closes a client for the console.
async fn kill_client<E: Engine + 'static>(shared: Arc<Shared<E>>, asker: Asker, id: u64) {
    let found = close_client(&shared, id).await;
    answer(&shared, asker, |out| {
        if found {
            render::done(out, "KILL_CLIENT");
        } else {
            render::error(out, &CommandError::ClientNotFound);
        }
    });
}

/// Finds and closes a client; false if there is none of that number.
pub(super) async fn close_client<E: Engine + 'static>(shared: &Shared<E>, id: u64) -> bool {
    let mut found = false;
    for attempt in 0..KILL_ATTEMPTS {
        let (clients, _) = collect(shared, true, false).wait().await;
        let is_there = clients.iter().any(|client| client.id == id);
        if is_there {
            found = true;
            shared.post_all(|| Mail::CloseClients(Select::Id(id)));
        } else if found || attempt > 0 {
            break;
        }
    }
    found
}

/// Asks all workers for their rows.
fn collect<E: Engine>(shared: &Shared<E>, clients: bool, servers: bool) -> Arc<Collector> {
    let collector = Collector::new(shared.mailboxes.len(), clients, servers);
    shared.post_all(|| Mail::Collect(Arc::clone(&collector)));
    collector
}
