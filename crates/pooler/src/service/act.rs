//! What is asked for over HTTP, carried out: the console's verbs by another door.
//!
//! Invariant: each is answered once; what has to wait for clients is begun and not awaited, since
//! nobody waits in front of a button.
//! Not here: who may ask (`headpond_monitor::http`), the verbs (`console.rs`).

use std::sync::Arc;

use headpond_monitor::model::{Action, Actions, Later};
use tokio::sync::{mpsc, oneshot};

use super::console;
use super::control::State;
use crate::admin::CommandError;
use crate::catalog::View;
use crate::control::Ask;
use crate::engine::Engine;
use crate::log::Level;
use crate::worker::RunPhase;

/// Hands actions to the control plane.
pub(super) struct Door(pub mpsc::UnboundedSender<Ask>);

impl Actions for Door {
    fn act(&self, action: Action, actor: String) -> Later<'_, Result<String, String>> {
        let (answer, answered) = oneshot::channel();
        let is_sent = self.0.send(Ask::Act { action, actor, answer }).is_ok();
        Box::pin(async move {
            let ending = || "the process is ending".to_owned();
            if !is_sent {
                return Err(ending());
            }
            answered.await.unwrap_or_else(|_| Err(ending()))
        })
    }
}

impl<E: Engine<Handle = std::os::fd::OwnedFd> + 'static> State<'_, E> {
    /// Carries out an action and answers.
    pub(super) fn act(
        &mut self,
        action: Action,
        actor: &str,
        answer: oneshot::Sender<Result<String, String>>,
    ) {
        let text = format!("http: {} asked for by {actor}", action.word());
        self.shared().log.line(Level::Log, &text);
        let outcome = match action {
            Action::Kill(id) => {
                let shared = Arc::clone(self.shared());
                tokio::spawn(async move {
                    let found = console::close_client(&shared, id).await;
                    let none = || format!("there is no client {id}");
                    // Whoever asked may have left.
                    let _ =
                        answer.send(found.then(|| format!("client {id} closed")).ok_or_else(none));
                });
                return;
            }
            Action::Pause(None) => self.pause_everything(),
            Action::Pause(Some(name)) => self.pause_one(&name, true).map_err(words),
            Action::Resume(None) => self.resume().map(|()| "resumed".to_owned()).map_err(words),
            Action::Resume(Some(name)) => {
                let done = self.resume_database(&name).map_err(words);
                done.map(|()| format!("{name} resumed"))
            }
            Action::Reload => self.reload().map(|()| "configuration reloaded".to_owned()),
            Action::Reconnect(name) => {
                let done = self.reconnect(name.as_deref()).map_err(words);
                done.map(|()| "servers are replaced as they become idle".to_owned())
            }
            Action::Resize { database, size } => self.resize(&database, size),
            Action::Drain => self.drain_by_request(),
        };
        // Whoever asked may have left.
        let _ = answer.send(outcome);
    }

    fn pause_everything(&mut self) -> Result<String, String> {
        if self.shared().catalog.is_all_paused() {
            return Err(words(CommandError::AlreadyPaused));
        }
        self.pause_all(true);
        Ok("paused; clients are held back as their transactions end".to_owned())
    }

    fn pause_one(&mut self, name: &str, paused: bool) -> Result<String, CommandError> {
        let database = self.database(name)?;
        self.set_paused(&database, paused);
        Ok(format!("{name} paused; clients are held back as their transactions end"))
    }

    fn resize(&mut self, database: &str, size: u32) -> Result<String, String> {
        let shared = Arc::clone(self.shared());
        let before = shared.catalog.view();
        let mut config = before.config.clone();
        let Some(entry) = config.resize(database, size) else {
            return Err(format!("there is no database {database}"));
        };
        let mut warn = |text: String| shared.log.line(Level::Warning, &text);
        let view = View::read(config, &before.lasting(), &mut warn)?;
        self.replace(view);
        let of = if entry == database { entry } else { format!("every database of entry {entry}") };
        Ok(format!("pool_size of {of} is {size}; write it to the configuration to keep it"))
    }

    fn drain_by_request(&mut self) -> Result<String, String> {
        if self.shared().phase() != RunPhase::Running {
            return Err("draining already".to_owned());
        }
        self.drain(RunPhase::WaitingForClients);
        Ok("no new clients; the process ends when the last one has left".to_owned())
    }
}

fn words(error: CommandError) -> String {
    error.to_string()
}
