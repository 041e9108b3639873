//! All pools in numbers, in the shapes that dashboards know.
//!
//! Invariant: made from one status for each pool, so that its numbers belong together.

use std::collections::BTreeMap;

use headpond_stats::{Snapshot, Source};
use serde_json::{Map, Value, json};

use super::timestamp::rfc3339;
use super::{Databases, DynDatabase};
use crate::events::Errors;
use crate::source::{Dialect, Moment};
use crate::status::Status;

/// One pool in numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Statistics {
    /// The pool at one moment.
    pub status: Status,
    /// Its errors.
    pub errors: Errors,
}

impl Statistics {
    fn of(database: &dyn DynDatabase) -> Self {
        Self { status: database.status(), errors: database.errors() }
    }

    /// Returns `size, available, borrowed, pending` and `created, destroyed, errors`.
    #[must_use]
    pub fn to_pool_json(&self) -> Value {
        let Status { size, idle, in_use, waiting, totals, .. } = &self.status;
        json!({
            "size": size, "available": idle, "borrowed": in_use, "pending": waiting,
            "created": totals.opened, "destroyed": totals.closed, "errors": self.errors.count,
            "max": self.status.max, "min": self.status.min,
            "utilization": self.status.utilisation(),
        })
    }

    /// Returns `totalConnections, idleConnections, activeConnections, waitingCount, errorCount,
    /// lastError, lastErrorTime`.
    #[must_use]
    pub fn to_connection_json(&self) -> Value {
        json!({
            "totalConnections": self.status.size,
            "idleConnections": self.status.idle,
            "activeConnections": self.status.in_use,
            "waitingCount": self.status.waiting,
            "errorCount": self.errors.count,
            "lastError": self.errors.last,
            "lastErrorTime": self.errors.last_at.map(rfc3339),
        })
    }
}

impl Databases {
    /// Returns every pool in numbers, by name.
    #[must_use]
    pub fn statistics(&self) -> BTreeMap<String, Statistics> {
        self.iter().map(|(name, _, database)| (name.to_owned(), Statistics::of(database))).collect()
    }

    /// Returns every pool as [`Statistics::to_pool_json`] shows it, and the sums of all under
    /// `total`.
    #[must_use]
    pub fn statistics_json(&self) -> Value {
        let statistics = self.statistics();
        let pools: Map<String, Value> = statistics
            .iter()
            .map(|(name, statistics)| (name.clone(), statistics.to_pool_json()))
            .collect();
        let names = ["size", "available", "borrowed", "pending", "created", "destroyed", "errors"];
        let total = names.map(|name| {
            let numbers = pools.values().filter_map(|pool| pool[name].as_u64());
            (name.to_owned(), Value::from(numbers.sum::<u64>()))
        });
        let budget =
            self.budget().map(|budget| json!({"max": budget.max(), "used": budget.used()}));
        json!({ "pools": pools, "total": Map::from_iter(total), "budget": budget })
    }

    /// Returns every pool as [`Statistics::to_connection_json`] shows it, by name.
    #[must_use]
    pub fn connections_json(&self) -> Value {
        let pools = self.statistics().into_iter();
        pools.map(|(name, statistics)| (name, statistics.to_connection_json())).collect()
    }
}

/// All pools as a source of metrics; made by [`Databases::source`].
#[derive(Clone, Debug)]
pub struct DatabasesSource {
    databases: Databases,
    dialects: Vec<Dialect>,
}

impl Databases {
    /// Makes a source of metrics of all pools.
    #[must_use]
    pub fn source(&self, dialects: impl IntoIterator<Item = Dialect>) -> DatabasesSource {
        DatabasesSource { databases: self.clone(), dialects: dialects.into_iter().collect() }
    }
}

impl Source for DatabasesSource {
    fn collect(&self, into: &mut Snapshot) {
        for (name, _, database) in self.databases.iter() {
            let (status, distributions) = (database.status(), database.distributions());
            let moment = Moment { name, status, distributions, errors: database.errors().count };
            self.dialects.iter().for_each(|dialect| moment.collect(*dialect, into));
        }
    }
}
