//! One entry of `[users]`.
//!
//! Invariant: what stands here wins over the database's and the global value.

use super::choice::PoolMode;
use super::kind::{Count, Seconds};
use super::table::overrides;

overrides! {
    /// Limits of one user.
    User;
    pool_size: Count, Policy Honoured, "Servers per database, 0 for unlimited",
        "the database's applies";
    reserve_pool_size: Count, Policy Honoured, "Extra servers allowed under pressure",
        "the database's applies";
    pool_mode: PoolMode, Policy Honoured, "When a server goes back to the pool",
        "the database's applies";
    max_user_connections: Count, Policy Honoured, "Servers over all databases, 0 for no cap",
        "the global one applies";
    max_user_client_connections: Count, Policy Honoured, "Clients over all databases",
        "the global one applies";
    query_timeout: Seconds, Policy Honoured, "How long a query may run",
        "the global one applies";
    query_wait_timeout: Seconds, Policy Honoured, "How long a client may wait for a server",
        "the database's applies";
    idle_transaction_timeout: Seconds, Policy Honoured, "How long a transaction may be idle",
        "the global one applies";
    transaction_timeout: Seconds, Policy Honoured, "How long a transaction may last",
        "the global one applies";
    client_idle_timeout: Seconds, Policy Honoured, "How long a client may do nothing",
        "the global one applies";
}
