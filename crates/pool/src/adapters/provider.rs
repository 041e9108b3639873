//! Which cryptography drivers use that cannot be handed a provider.
//!
//! Invariant: a choice that the application made before is never changed.
//! Left out: our own TLS, which names its provider.

/// Makes ring the process's provider if there is none: where two are linked and none is chosen,
/// drivers that ask rustls for the default panic.
pub(crate) fn ensure() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
