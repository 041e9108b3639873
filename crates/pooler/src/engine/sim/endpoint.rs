//! The clients and servers that a test plays itself.
//!
//! Invariant: an endpoint takes everything it is given to write and sends it in order.
//! Not here: what an actor says; [`super::Net::news`] tells when it is its turn.

use super::state::{After, Connect, Owner, Write};
use super::{Handle, What};

/// One end of a connection in the test's own hands; closes when dropped.
pub struct Endpoint(pub(super) Handle);

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not answered yet.
    Connecting,
    /// Nobody listens there.
    Refused,
    /// Bytes flow.
    Open,
    /// The other side reset it.
    Reset,
}

/// What there was to read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Received {
    /// Some bytes.
    Data(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The other side will say no more.
    End,
    /// The other side reset the connection.
    Reset,
}

impl Endpoint {
    /// Returns the number of this end; an engine that accepts it says `Peer::Sim` with it.
    pub fn id(&self) -> u64 {
        u64::from(self.end())
    }

    /// Returns how far the connection is.
    pub fn phase(&self) -> Phase {
        let mut state = self.0.net.lock();
        let end = state.end(self.end());
        match (end.connect, end.after) {
            (Connect::UnderWay, _) => Phase::Connecting,
            (Connect::Refused, _) => Phase::Refused,
            (Connect::Done, After::Reset) => Phase::Reset,
            (Connect::Done, After::More | After::End) => Phase::Open,
        }
    }

    /// Writes bytes; what finds no room now follows later by itself.
    pub fn write(&self, bytes: &[u8]) {
        self.0.net.lock().write(self.end(), bytes);
    }

    /// Returns how many written bytes have not left yet.
    pub fn unsent(&self) -> usize {
        self.0.net.lock().end(self.end()).backlog.len()
    }

    /// Reads at most `max` bytes. Not reading is what holds the other side back.
    pub fn read(&self, max: usize) -> Received {
        let mut state = self.0.net.lock();
        let bytes = state.read(self.end(), max);
        match state.end(self.end()).after {
            _ if !bytes.is_empty() => Received::Data(bytes),
            After::More => Received::Nothing,
            After::End => Received::End,
            After::Reset => Received::Reset,
        }
    }

    /// Returns how many bytes can be read now.
    pub fn unread(&self) -> usize {
        self.0.net.lock().end(self.end()).incoming.len()
    }

    /// Whether writing is pointless: the other side reset the connection or refused it.
    pub fn is_broken(&self) -> bool {
        self.0.net.lock().end(self.end()).write == Write::Broken
    }

    /// Whether the other side has closed, or was never there, though this side may not have been
    /// told yet.
    pub fn is_abandoned(&self) -> bool {
        let mut state = self.0.net.lock();
        let peer = state.end(self.end()).peer;
        peer.is_none_or(|peer| state.end(peer).is_closed())
    }

    /// Whether the end of what the other side says has arrived, though it may not be read yet.
    pub fn is_ending(&self) -> bool {
        self.0.net.lock().end(self.end()).after != After::More
    }

    /// Whether the other side gave up on bytes that it had written, when it closed.
    pub fn is_cut_short(&self) -> bool {
        let mut state = self.0.net.lock();
        let peer = state.end(self.end()).peer;
        peer.is_some_and(|peer| state.end(peer).dropped)
    }

    /// Ends this direction after everything written.
    pub fn shutdown_write(&self) {
        self.0.net.lock().finish(self.end());
    }

    /// Closes, after everything written; with bytes unread that is a reset.
    pub fn close(self) {
        drop(self);
    }

    /// Aborts the connection.
    pub fn reset(self) {
        self.0.net.lock().abort(self.end());
    }

    /// Gives the end to an engine.
    pub fn into_handle(self) -> Handle {
        self.0.net.lock().give(self.0.what, Owner::Nobody);
        self.0
    }

    fn end(&self) -> u32 {
        match self.0.what {
            What::End(id) => id,
            What::Listener(_) | What::Nothing => unreachable!("made of an end only"),
        }
    }
}

/// A listening address in the test's own hands; closes when dropped.
pub struct Listener(pub(super) Handle);

impl Listener {
    /// Returns the number of this listener, as the news name it.
    pub fn id(&self) -> u64 {
        u64::from(self.number())
    }

    /// Accepts the connection that has waited longest. Not accepting lets callers hang.
    pub fn accept(&self) -> Option<Endpoint> {
        let mut state = self.0.net.lock();
        let id = state.listener(self.number()).waiting.pop_front()?;
        state.give(What::End(id), Owner::Test);
        drop(state);
        Some(Endpoint(Handle { net: self.0.net.clone(), what: What::End(id) }))
    }

    /// Gives the listener to an engine.
    pub fn into_handle(self) -> Handle {
        self.0.net.lock().give(self.0.what, Owner::Nobody);
        self.0
    }

    fn number(&self) -> u32 {
        match self.0.what {
            What::Listener(id) => id,
            What::End(_) | What::Nothing => unreachable!("made of a listener only"),
        }
    }
}
