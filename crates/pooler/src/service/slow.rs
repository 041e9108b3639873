//! What takes too long for a worker: PBKDF2 and name resolution.
//!
//! Invariant: bounded in number by tokio's blocking pool; every question is answered once.
//! Not here: when to ask (`worker/login.rs`, `worker/open.rs`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use headpond_core::{Lane, Timestamp};
use headpond_wire::auth::scram;
use zeroize::Zeroizing;

use crate::catalog::{Database, Place, Resolved, Salted, Unresolved, User};
use crate::config::Host;
use crate::control::Mail;
use crate::engine::{Address, Engine, clock};
use crate::worker::Shared;

/// Computes PBKDF2 for the login to a server.
pub async fn salt<E: Engine>(
    shared: Arc<Shared<E>>,
    lane: Lane,
    server: u64,
    password: Zeroizing<Vec<u8>>,
    salt: Vec<u8>,
    iterations: u32,
) {
    let done = tokio::task::spawn_blocking(move || {
        let value = Zeroizing::new(scram::salted_password(&password, &salt, iterations));
        Salted { salt, iterations, value, password }
    })
    .await;
    // A panic there is a defect; the server's login then ends by its own deadline.
    if let Ok(salted) = done {
        shared.post(lane, Mail::ServerSalted { server, salted });
    }
}

/// Makes a SCRAM secret of a plain password, once per user and configuration.
pub async fn secret<E: Engine>(
    shared: Arc<Shared<E>>,
    lane: Lane,
    caller: u64,
    user: Arc<User>,
    password: Zeroizing<Vec<u8>>,
) {
    let iterations = shared.catalog.view().config.global.scram_iterations;
    let done = tokio::task::spawn_blocking(move || {
        let mut salt = [0u8; 16];
        getrandom::fill(&mut salt).ok()?;
        let salted = scram::salted_password(&password, &salt, iterations);
        Some(Arc::new(scram::Secret::derive_from_salted(salted, &salt, iterations)))
    })
    .await;
    if let Ok(Some(secret)) = done {
        user.derived.store(Some(Arc::clone(&secret)));
        shared.post(lane, Mail::ClientSecret { caller, secret });
    }
}

/// Resolves the hosts of a database.
pub async fn resolve<E: Engine>(
    shared: Arc<Shared<E>>,
    lane: Lane,
    server: u64,
    database: Arc<Database>,
) {
    let result = lookup(&shared, &database).await;
    if let Err(error) = &result {
        let ttl = shared.catalog.view().config.global.dns_nxdomain_ttl;
        let until = clock::monotonic() + ttl;
        database.unresolved.store(Some(Arc::new(Unresolved { error: error.clone(), until })));
    }
    database.resolving.store(false, Ordering::Release);
    shared.post(lane, Mail::Resolved { server, result });
}

/// Finds the addresses of a database's hosts, and keeps them for a while.
pub(super) async fn lookup<E: Engine>(
    shared: &Shared<E>,
    database: &Database,
) -> Result<(), String> {
    let hosts = database.hosts.load_full();
    let port = database.spec.load().server_port();
    let ttl = shared.catalog.view().config.global.dns_max_ttl;
    let mut places = Vec::new();
    let mut failed = None;
    for host in hosts.iter() {
        let name = host.to_string();
        match host {
            Host::Name(text) => match tokio::net::lookup_host((text.as_str(), port)).await {
                Ok(found) => places.extend(
                    found.map(|at| Place { address: Address::Tcp(at), name: name.clone() }),
                ),
                Err(error) => failed = Some(format!("{name}: {error}")),
            },
            Host::Ip(ip) => {
                let address = Address::Tcp(SocketAddr::new(*ip, port));
                places.push(Place { address, name });
            }
            Host::Unix(_) => {
                if let Some(path) = host.socket_path(port) {
                    places.push(Place { address: Address::Unix(path), name });
                }
            }
        }
    }
    if places.is_empty() {
        return Err(failed.unwrap_or_else(|| "no address found".to_owned()));
    }
    let until: Timestamp = clock::monotonic() + ttl.max(std::time::Duration::from_secs(1));
    database.resolved.store(Some(Arc::new(Resolved { places, until })));
    Ok(())
}
