//! Connections to a cluster: the driver finds the node of each key, and follows when it moves.
//!
//! Invariant: none of our own.
//! Left out: everything but how it is told what the URL says.

use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::{ConnectionAddr, IntoConnectionInfo, TlsCertificates};

use super::Config;
use super::error::Error;
use super::link::info;
use super::url::Host;

pub(super) async fn open(config: &Config, nodes: &[Host]) -> Result<ClusterConnection, Error> {
    let login = (&config.login, config.db);
    let mut infos = Vec::with_capacity(nodes.len());
    for node in nodes {
        let address = match &config.tls {
            None => ConnectionAddr::Tcp(node.name.clone(), node.port),
            Some(tls) => ConnectionAddr::TcpTls {
                host: node.name.clone(),
                port: node.port,
                insecure: tls.insecure,
                tls_params: None,
            },
        };
        infos.push(address.into_connection_info()?.set_redis_settings(info(login, false)));
    }
    let mut builder = ClusterClient::builder(infos)
        .retries(config.retries)
        .min_retry_wait(50)
        .max_retry_wait(2000)
        .connection_timeout(config.connect_timeout);
    if let Some(timeout) = config.response_timeout {
        builder = builder.response_timeout(timeout);
    }
    if let Some(path) = config.tls.as_ref().and_then(|tls| tls.ca.as_ref()) {
        let read = tokio::task::spawn_blocking({
            let path = path.clone();
            move || std::fs::read(path)
        });
        let read = read.await.map_err(|error| Error::Tls(error.to_string()))?;
        let root = read.map_err(|error| Error::Tls(error.to_string()))?;
        builder = builder.certs(TlsCertificates { client_tls: None, root_cert: Some(root) });
    }
    Ok(builder.build()?.get_async_connection().await?)
}
