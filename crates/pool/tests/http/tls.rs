//! TLS: who is trusted, what is negotiated.

use std::sync::Arc;

use headpond::http::{Client, Versions};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls_pki_types::PrivateKeyDer;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::server::{Server, Speaks};

pub struct Tls {
    pub server: Server,
    /// The authority that signed the server's certificate.
    pub roots: String,
}

/// Starts a server with a certificate for `localhost`.
pub async fn start(versions: &[&str]) -> Tls {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(authority, key).expect("it signs itself");
    let key = KeyPair::generate().expect("a key");
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let leaf = leaf.signed_by(&key, &authority).expect("it is signed");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the versions are known")
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("certificate and key belong together");
    config.alpn_protocols = versions.iter().map(|version| version.as_bytes().to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let server = Server::with(spoken, move |tcp| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(tcp).await.ok() }
    })
    .await;
    Tls { server, roots: authority.pem() }
}

fn spoken(socket: &TlsStream<TcpStream>) -> Speaks {
    match socket.get_ref().1.alpn_protocol() {
        Some(b"h2") => Speaks::Http2,
        _ => Speaks::Http1,
    }
}

impl Tls {
    pub fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.server.address.port())
    }

    pub fn client(&self) -> headpond::http::Builder {
        Client::builder().roots(self.roots.clone())
    }
}

#[tokio::test]
async fn a_server_is_trusted_if_its_authority_is() {
    let tls = start(&["http/1.1"]).await;
    let client = tls.client().build().unwrap();
    for _ in 0..3 {
        let response = client.get(&tls.url("/")).await.unwrap();
        assert_eq!(response.version(), hyper::Version::HTTP_11);
        assert_eq!(response.text().await.unwrap(), "hello");
    }
    assert_eq!(tls.server.connections(), 1);
    let other = start(&["http/1.1"]).await;
    let error = client.get(&other.url("/")).await.unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let tls = start(&["http/1.1"]).await;
    let client = tls.client().build().unwrap();
    let url = format!("https://127.0.0.1:{}/", tls.server.address.port());
    let error = client.get(&url).await.unwrap_err().to_string();
    assert!(error.contains("tls:"), "{error}");
}

#[tokio::test]
async fn roots_that_are_none_are_an_error_of_the_first_request() {
    let tls = start(&["http/1.1"]).await;
    let client = Client::builder().roots("nonsense").build().unwrap();
    let error = client.get(&tls.url("/")).await.unwrap_err().to_string();
    assert!(error.contains("not certificates in pem"), "{error}");
}

#[tokio::test]
async fn the_version_is_the_best_that_both_speak() {
    for (server, versions, expected) in [
        (&["h2", "http/1.1"][..], Versions::Negotiate, hyper::Version::HTTP_2),
        (&["http/1.1"][..], Versions::Negotiate, hyper::Version::HTTP_11),
        (&[][..], Versions::Negotiate, hyper::Version::HTTP_11),
        (&["h2", "http/1.1"][..], Versions::Http1, hyper::Version::HTTP_11),
    ] {
        let tls = start(server).await;
        let client = tls.client().versions(versions).build().unwrap();
        let response = client.get(&tls.url("/")).await.unwrap();
        assert_eq!(response.version(), expected, "{server:?}");
        assert_eq!(response.text().await.unwrap(), "hello");
    }
}
