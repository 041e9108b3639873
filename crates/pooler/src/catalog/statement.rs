//! The texts of prepared statements, shared by all clients and servers of the process.
//!
//! Invariant: equal bytes lead to the same statement while anybody holds it; a text that nobody
//! holds any more is dropped when the table has grown to twice what is in use.
//! Not here: who has prepared what where (`headpond_wire::session`).

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use headpond_wire::session::{Interner, Statement};
use parking_lot::Mutex;

/// Sweep for the first time at this many texts.
const FIRST_SWEEP: usize = 1024;

#[derive(Default)]
struct Table {
    by_text: HashMap<Box<[u8]>, Arc<Statement>>,
    sweep_at: usize,
}

/// All statements of the process.
#[derive(Default)]
pub struct StatementTable {
    table: Mutex<Table>,
    last: AtomicU64,
}

impl StatementTable {
    /// How many texts are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().by_text.len()
    }

    /// Returns true if no text is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Interner for StatementTable {
    fn intern(&self, parse: &[u8]) -> Arc<Statement> {
        let mut table = self.table.lock();
        if let Some(known) = table.by_text.get(parse) {
            return Arc::clone(known);
        }
        if table.by_text.len() >= table.sweep_at.max(FIRST_SWEEP) {
            table.by_text.retain(|_, statement| Arc::strong_count(statement) > 1);
            table.sweep_at = table.by_text.len().saturating_mul(2);
        }
        // From one: the books of the relay take number zero for none.
        let id = self.last.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let statement = Arc::new(Statement::new(id, parse));
        table.by_text.insert(parse.into(), Arc::clone(&statement));
        statement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_bytes_are_one_statement_and_others_are_not() {
        let table = StatementTable::default();
        let a = table.intern(b"SELECT 1\0\0\0");
        let b = table.intern(b"SELECT 1\0\0\0");
        let c = table.intern(b"SELECT 1\0\0\x01\0\0\0\x17");
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
    }

    #[test]
    fn no_statement_has_the_number_that_stands_for_none() {
        let table = StatementTable::default();
        assert_eq!([b"a", b"b"].map(|text| table.intern(text).id()), [1, 2]);
    }

    #[test]
    fn texts_that_nobody_holds_are_dropped() {
        let table = StatementTable::default();
        let kept = table.intern(b"kept");
        for n in 0..FIRST_SWEEP * 4 {
            drop(table.intern(format!("SELECT {n}").as_bytes()));
        }
        assert!(table.len() <= FIRST_SWEEP * 2);
        assert!(Arc::ptr_eq(&kept, &table.intern(b"kept")));
    }
}
