//! Follows the messages of both directions and keeps the account of what is owed.
//!
//! Invariant: each Query, Sync and FunctionCall that the server acts on is one ReadyForQuery owed;
//! Syncs that it ignores, because it reads COPY data, are none.
//! Left out: decoding of rows, parameters and data: they are walked over.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use headpond_wire::backend::{CommandComplete, ParameterStatus};
use headpond_wire::{BackendTag, FrontendTag, Status};

use super::dirt::{Dirt, drops_statements};
use super::frames::{Frames, Step};
use super::words::Words;
use super::{LOST, Watch};

/// What cancels a query: the number of the server process and its secret.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) process: u32,
    pub(crate) secret: Vec<u8>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("process", &self.process).finish_non_exhaustive()
    }
}

/// Something sent whose answer has not come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    /// A Sync, or the startup packet.
    Sync,
    /// A Query or a FunctionCall.
    Query,
    /// A CopyDone or CopyFail, sent before the server asked for data.
    CopyEnd,
}

/// How much of a message is kept until it is complete.
const KEPT_MAX: usize = 4096;
/// How many prepared statements with dirt are remembered; beyond, all are taken for dirty.
const NAMED_MAX: usize = 1024;

/// Follows one session.
#[derive(Debug)]
pub(super) struct Follower {
    watch: Arc<Watch>,
    front: Frames,
    back: Frames,
    front_tag: u8,
    back_tag: u8,
    sent: VecDeque<Sent>,
    /// The server reads COPY data: Syncs are ignored until its end.
    copying: bool,
    /// Messages went out that no Sync has followed.
    unsynced: bool,
    /// The server was ready once: the login is over.
    ready: bool,
    kept: Vec<u8>,
    words: Words,
    /// A Parse whose name is still being read.
    naming: bool,
    /// The beginning of the message being written: names.
    name: Vec<u8>,
    found: Dirt,
    /// Prepared statements whose text has dirt.
    named: Vec<(Box<[u8]>, Dirt)>,
}

impl Follower {
    pub(super) fn new(watch: Arc<Watch>) -> Self {
        Self {
            watch,
            front: Frames::startup(),
            back: Frames::tagged(),
            front_tag: 0,
            back_tag: 0,
            sent: VecDeque::new(),
            copying: false,
            unsynced: false,
            ready: false,
            kept: Vec::new(),
            words: Words::default(),
            naming: false,
            name: Vec::new(),
            found: Dirt::NONE,
            named: Vec::new(),
        }
    }

    pub(super) fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Follows bytes that the client wrote.
    pub(super) fn sent(&mut self, bytes: &[u8]) {
        let mut front = std::mem::replace(&mut self.front, Frames::tagged());
        front.walk(bytes, |step| match step {
            Step::Begin(tag) => self.front_begins(tag),
            Step::Body(body) => self.front_body(body),
            Step::End => self.front_ends(),
            Step::Lost => self.watch.lost(),
        });
        self.front = front;
        self.publish();
    }

    /// Follows bytes that the server wrote.
    pub(super) fn received(&mut self, bytes: &[u8]) {
        let mut back = std::mem::replace(&mut self.back, Frames::tagged());
        back.walk(bytes, |step| match step {
            Step::Begin(tag) => {
                self.back_tag = tag;
                self.kept.clear();
            }
            Step::Body(body) => {
                if keeps(self.back_tag) {
                    let room = KEPT_MAX.saturating_sub(self.kept.len());
                    self.kept.extend_from_slice(body.get(..room).unwrap_or(body));
                }
            }
            Step::End => self.back_ends(),
            Step::Lost => self.watch.lost(),
        });
        self.back = back;
        self.publish();
    }

    fn publish(&self) {
        let open = [
            self.copying,
            self.unsynced,
            !self.ready,
            !self.front.is_between(),
            !self.back.is_between(),
        ];
        let replies = self.sent.iter().filter(|sent| **sent != Sent::CopyEnd).count();
        let owed = replies + open.into_iter().filter(|open| *open).count();
        self.watch.owed.store(u32::try_from(owed).unwrap_or(u32::MAX), SeqCst);
    }

    fn front_begins(&mut self, tag: u8) {
        self.front_tag = tag;
        self.name.clear();
        if tag == 0 {
            return self.sent.push_back(Sent::Sync);
        }
        match FrontendTag::from_byte(tag) {
            Some(FrontendTag::Query) => {
                self.sent.push_back(Sent::Query);
                self.words.begin();
            }
            Some(FrontendTag::FunctionCall) => self.sent.push_back(Sent::Query),
            Some(FrontendTag::Sync) => {
                self.unsynced = false;
                if !self.copying {
                    self.sent.push_back(Sent::Sync);
                }
            }
            Some(FrontendTag::CopyDone | FrontendTag::CopyFail) => {
                if !std::mem::take(&mut self.copying) {
                    self.sent.push_back(Sent::CopyEnd);
                }
            }
            Some(FrontendTag::Parse) => {
                self.unsynced = true;
                self.naming = true;
                self.found = Dirt::NONE;
                self.words.begin();
            }
            Some(
                FrontendTag::Bind
                | FrontendTag::Close
                | FrontendTag::Describe
                | FrontendTag::Execute,
            ) => self.unsynced = true,
            Some(
                FrontendTag::CopyData
                | FrontendTag::Flush
                | FrontendTag::Password
                | FrontendTag::Terminate,
            ) => {}
            None => self.watch.lost(),
        }
    }

    fn front_body(&mut self, mut body: &[u8]) {
        match FrontendTag::from_byte(self.front_tag) {
            Some(FrontendTag::Query) => {
                let dirt = self.words.read(body);
                self.watch.soiled(dirt);
            }
            Some(FrontendTag::Parse) => {
                if self.naming {
                    let end = body.iter().position(|byte| *byte == 0);
                    let (name, rest) = body.split_at(end.unwrap_or(body.len()));
                    self.name.extend_from_slice(name);
                    self.naming = end.is_none();
                    body = rest;
                }
                // The types behind the text read as text too, which does no harm.
                self.found = self.found.with(self.words.read(body));
            }
            Some(FrontendTag::Bind | FrontendTag::Close) => {
                let room = 256_usize.saturating_sub(self.name.len());
                self.name.extend_from_slice(body.get(..room).unwrap_or(body));
            }
            _ => {}
        }
    }

    fn front_ends(&mut self) {
        match FrontendTag::from_byte(self.front_tag) {
            Some(FrontendTag::Query) => {
                let dirt = self.words.end_word();
                self.watch.soiled(dirt);
            }
            Some(FrontendTag::Parse) => {
                let dirt = self.found.with(self.words.end_word());
                self.watch.soiled(dirt);
                if dirt != Dirt::NONE && !self.name.is_empty() && self.named.len() <= NAMED_MAX {
                    self.named.push((self.name.as_slice().into(), dirt));
                }
            }
            Some(FrontendTag::Bind) if !self.named.is_empty() => {
                // The portal's name, then the statement's.
                let name = self.name.split(|byte| *byte == 0).nth(1).unwrap_or_default();
                let many = self.named.len() > NAMED_MAX;
                let known = self.named.iter().find(|(known, _)| **known == *name || many);
                self.watch.soiled(known.map_or(Dirt::NONE, |(_, dirt)| *dirt));
            }
            Some(FrontendTag::Close) if self.named.len() <= NAMED_MAX => {
                let name = self.name.strip_prefix(b"S").unwrap_or_default();
                let name = name.strip_suffix(b"\0").unwrap_or_default();
                self.named.retain(|(known, _)| **known != *name);
            }
            _ => {}
        }
    }

    fn back_ends(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        match BackendTag::from_byte(self.back_tag) {
            Some(BackendTag::ReadyForQuery) => match Status::read(&kept) {
                Ok(status) => self.is_ready(status),
                Err(_) => self.watch.lost(),
            },
            Some(BackendTag::CommandComplete) => {
                if let Ok(complete) = CommandComplete::read(&kept) {
                    self.watch.soiled(Dirt::of_tag(complete.tag));
                    self.watch.committed.store(complete.tag == b"COMMIT", SeqCst);
                    if drops_statements(complete.tag) {
                        self.forget_statements();
                    }
                }
            }
            Some(BackendTag::ErrorResponse) => self.note_error(&kept),
            Some(BackendTag::ParameterStatus) => self.note_parameter(&kept),
            Some(BackendTag::BackendKeyData) => {
                if let Some((process, secret)) = kept.split_first_chunk::<4>() {
                    let process = u32::from_be_bytes(*process);
                    *self.watch.key.lock() = Some(Key { process, secret: secret.to_vec() });
                }
            }
            Some(BackendTag::CopyInResponse) => self.copy_begins(),
            // Replication, which nobody can be given after.
            Some(BackendTag::CopyBothResponse) | None => self.watch.lost(),
            Some(_) => {}
        }
        self.kept = kept;
    }

    fn is_ready(&mut self, status: Status) {
        self.ready = true;
        self.watch.status.store(status.byte(), SeqCst);
        loop {
            match self.sent.pop_front() {
                // It came when the server was not copying any more, and was ignored.
                Some(Sent::CopyEnd) => {}
                Some(Sent::Sync | Sent::Query) => return,
                // An answer to nothing: either side is confused.
                None => return self.watch.lost(),
            }
        }
    }

    /// The server reads COPY data from now on: it ignores each Sync until the end of the data.
    fn copy_begins(&mut self) {
        let mut later = std::mem::take(&mut self.sent);
        if later.front() == Some(&Sent::Query) {
            later.pop_front();
            self.sent.push_back(Sent::Query);
        }
        let end = later.iter().position(|sent| *sent == Sent::CopyEnd);
        self.copying = end.is_none();
        if let Some(end) = end {
            self.sent.extend(later.drain(..).skip(end + 1));
        }
    }

    fn note_error(&mut self, fields: &[u8]) {
        let code = fields.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"C"));
        let Some(code) = code.and_then(|code| <[u8; 5]>::try_from(code).ok()) else { return };
        let [a, b, c, d, e] = code;
        self.watch.error.store(u64::from_be_bytes([0, 0, 0, a, b, c, d, e]), SeqCst);
        // The plan's result type changed, or the statement does not exist: prepare all anew.
        if matches!(&code, b"0A000" | b"26000") {
            self.watch.generation.fetch_add(1, SeqCst);
        }
    }

    fn note_parameter(&self, body: &[u8]) {
        let Ok(status) = ParameterStatus::read(body) else { return };
        let name = String::from_utf8_lossy(status.name).into_owned();
        let value = String::from_utf8_lossy(status.value).into_owned();
        let mut parameters = self.watch.parameters.lock();
        // The server reports these two whenever a transaction or a role ends.
        let lasting = !matches!(name.as_str(), "in_hot_standby" | "is_superuser");
        if self.ready && lasting && parameters.get(&name) != Some(&value) {
            self.watch.soiled(Dirt::SETTINGS);
        }
        parameters.insert(name, value);
    }

    fn forget_statements(&mut self) {
        self.named.clear();
        self.watch.generation.fetch_add(1, SeqCst);
    }
}

fn keeps(tag: u8) -> bool {
    matches!(tag, b'Z' | b'C' | b'E' | b'S' | b'K')
}

impl Drop for Follower {
    fn drop(&mut self) {
        // Without its stream nothing can be known.
        self.watch.phase.fetch_or(LOST, SeqCst);
        self.watch.changed.notify_waiters();
    }
}
