//! What a server of a pool is logged in to with.
//!
//! Invariant: the entry's own password wins over the user's stored secret, and that over what a
//! client's login has yielded; nothing is ever logged or shown.
//! Not here: logging in (`headpond_wire::login`).

use headpond_wire::login::connect::Credential;
use zeroize::Zeroizing;

use super::{Pool, View};
use crate::auth::secrets::Stored;
use crate::config::Secret;

/// Returns what the servers of a pool are logged in to with.
#[must_use]
pub fn credential(view: &View, pool: &Pool) -> Credential {
    let plain =
        |text: &Secret| Credential::Plain(Zeroizing::new(text.reveal().as_bytes().to_vec()));
    let spec = pool.database.spec.load();
    let is_forced = spec.user.as_deref() == Some(pool.key.user.as_str());
    if is_forced && let Some(password) = &spec.password {
        return plain(password);
    }
    match view.secrets.get(&pool.key.user) {
        Some(Stored::Plain(text)) => return plain(text),
        Some(Stored::Md5(digest)) => return Credential::Md5(digest.reveal().to_owned()),
        _ => {}
    }
    let looked_up = pool.user.looked_up.load();
    // The keys that a client proved with fit our own salt then, and not the server's.
    if let Some(Stored::Plain(text)) = looked_up.as_deref() {
        return plain(text);
    }
    let kept = pool.credentials.lock();
    if let Some(keys) = &kept.scram {
        return Credential::Scram(keys.clone());
    }
    if let Some(text) = &kept.plain {
        return Credential::Plain(text.clone());
    }
    drop(kept);
    match looked_up.as_deref() {
        Some(Stored::Md5(digest)) => Credential::Md5(digest.reveal().to_owned()),
        _ => Credential::None,
    }
}
