//! What an adapter provides: how one connection is opened, checked, cleaned and judged.
//!
//! Invariant: a manager holds no connections. Whoever implements it may assume that each method
//! runs with a connection that nobody else has.
//! Left out: when any of this happens; the pool decides.

use std::error::Error;
use std::future::Future;

use crate::facts::Facts;

pub use headpond_core::{CloseReason, ConnectFailure, Fate};

/// Opens, checks, cleans and judges connections of one kind.
///
/// Connects, pings, resets and closes run in tasks of their own with a time limit each, so a
/// caller that gives up never interrupts one, and one that hangs or panics costs no capacity.
pub trait Manager: Send + Sync + 'static {
    /// A connection.
    type Connection: Send + 'static;
    /// Why a connection could not be opened, or is broken.
    type Error: Error + Send + Sync + 'static;

    /// Opens a connection and logs in.
    ///
    /// # Errors
    /// When there is none. What the error means for others is asked of [`Manager::failure`].
    ///
    /// # Cancel safety
    /// The future is dropped when the connect time is over: it must leave nothing behind.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// When it gave none; the connection is closed.
    ///
    /// # Cancel safety
    /// The future is dropped when the check time is over, and the connection is closed then.
    fn ping(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Asks the server what it says of itself: its version, limits, sessions, role.
    ///
    /// For whoever watches; no loan depends on it.
    ///
    /// Provided: says nothing.
    ///
    /// # Errors
    /// When the server did not say, for want of a right as much as by a broken connection. That is
    /// no sign that it is dead: what becomes of the connection is asked of [`Manager::fate`].
    ///
    /// # Cancel safety
    /// The future is dropped when its time is over, and the connection is closed then.
    fn facts(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<Option<Facts>, Self::Error>> + Send {
        let _ = connection;
        async { Ok(None) }
    }

    /// Brings the session to the state of a new one.
    ///
    /// # Errors
    /// When that did not work; the connection is closed.
    ///
    /// # Cancel safety
    /// The future is dropped when the reset time is over, and the connection is closed then.
    fn reset(
        &self,
        connection: &mut Self::Connection,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says what becomes of a connection that its user gives back. Cheap, without I/O.
    ///
    /// It must never be [`Fate::Reuse`] if in doubt: not in a transaction, not with a reply that
    /// was not read.
    fn fate(&self, connection: &mut Self::Connection) -> Fate;

    /// Returns whether a connection looks alive. Cheap, without I/O: asked before every use.
    ///
    /// Provided: always `true`.
    fn is_usable(&self, connection: &mut Self::Connection) -> bool {
        let _ = connection;
        true
    }

    /// Says what a failed connect means for others who wait.
    ///
    /// [`ConnectFailure::Rejected`] (wrong password, no such database) refuses them at once;
    /// [`ConnectFailure::TooMany`] keeps them waiting and takes the number of connections that
    /// the server let us have as a ceiling.
    ///
    /// Provided: always [`ConnectFailure::Refused`].
    fn failure(&self, error: &Self::Error) -> ConnectFailure {
        let _ = error;
        ConnectFailure::Refused
    }

    /// Says goodbye and closes a connection.
    ///
    /// Provided: drops it.
    ///
    /// # Cancel safety
    /// The future is dropped when the close time is over.
    fn close(&self, connection: Self::Connection) -> impl Future<Output = ()> + Send {
        async move { drop(connection) }
    }
}
