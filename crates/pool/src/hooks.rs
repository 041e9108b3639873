//! What the application adds to a connection's life: five places, each async and able to refuse.
//!
//! Invariant: a hook that panics costs the connection it was given, never a slot.
//! Left out: running them (`task.rs`, `acquire.rs`).

use std::future::Future;
use std::pin::Pin;

use crate::error::BoxError;

/// A boxed future, as hooks return it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

type Before = Box<dyn Fn() -> BoxFuture<'static, Result<(), BoxError>> + Send + Sync>;
type On<C> = Box<dyn for<'a> Fn(&'a mut C) -> BoxFuture<'a, Result<(), BoxError>> + Send + Sync>;
type After<C> = Box<dyn for<'a> Fn(&'a mut C) -> BoxFuture<'a, ()> + Send + Sync>;

/// The hooks of a pool.
pub(crate) struct Hooks<C> {
    pub(crate) before_connect: Option<Before>,
    pub(crate) after_connect: Option<On<C>>,
    pub(crate) on_acquire: Option<On<C>>,
    pub(crate) on_release: Option<On<C>>,
    pub(crate) before_disconnect: Option<After<C>>,
}

impl<C> Default for Hooks<C> {
    fn default() -> Self {
        Self {
            before_connect: None,
            after_connect: None,
            on_acquire: None,
            on_release: None,
            before_disconnect: None,
        }
    }
}
