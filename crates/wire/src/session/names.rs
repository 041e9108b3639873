//! What a client has prepared: its names, and its unnamed statement.
//!
//! Invariant: a client that never prepared anything has none of this.
//! Not here: where the statements are (`cache.rs`).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashMap;

use super::pipeline::{Change, Pipeline, Undo};
use super::statement::Statement;
use super::unnamed::Unnamed;

/// The prepared statements of one client.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    names: HashMap<Box<[u8]>, Arc<Statement>>,
    pub(super) unnamed: Unnamed,
}

impl Prepared {
    pub(super) fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.names.get(name)
    }

    pub(super) fn define(&mut self, name: &[u8], statement: Arc<Statement>) {
        self.names.insert(name.into(), statement);
    }

    pub(super) fn forget(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        self.names.remove(name)
    }

    /// Takes a change back.
    pub(super) fn undo(&mut self, undo: Undo) {
        match (undo.change, undo.name, undo.statement) {
            (Change::Prepare | Change::Define, Some(name), _) => {
                self.names.remove(&name);
            }
            (Change::Forget, Some(name), Some(statement)) => {
                self.names.insert(name, statement);
            }
            _ => {}
        }
    }

    /// All prepared statements are gone but those that messages under way define.
    pub(super) fn forget_all(&mut self, pipeline: &Pipeline) {
        if self.names.is_empty() {
            return;
        }
        let kept: Vec<_> =
            pipeline.names_under_way().filter_map(|name| self.names.remove_entry(name)).collect();
        self.names.clear();
        self.names.extend(kept);
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}
