//! Sockets to listen on: from systemd, or from the configuration; the pid file.
//!
//! Invariant: all sockets are bound before the first client is served; a socket file of a dead
//! process is replaced, one of a living process is an error.
//! Not here: accepting (`worker/accept.rs`).

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::StartError;
use crate::catalog::View;
use crate::engine::socket;

/// What was bound.
pub struct Bound {
    /// TCP listeners.
    pub tcp: Vec<OwnedFd>,
    /// Unix listeners.
    pub unix: Vec<OwnedFd>,
    /// Socket files to remove at the end.
    pub files: Vec<PathBuf>,
    /// As the log and the status line show them.
    pub names: Vec<String>,
}

/// Binds everything that the configuration names, or takes what systemd passed on.
///
/// # Errors
/// An address is taken, unknown or forbidden.
pub fn bind(view: &View) -> Result<Bound, StartError> {
    let global = &view.config.global;
    let mut bound =
        Bound { tcp: Vec::new(), unix: Vec::new(), files: Vec::new(), names: Vec::new() };
    if inherit(&mut bound)? {
        return Ok(bound);
    }
    for name in global.listen_addr.iter() {
        for address in addresses(name, global.listen_port)? {
            let what = format!("listen on {address}");
            let fd = socket::listen_tcp(address, global.listen_backlog, global.so_reuseport)
                .map_err(StartError::system(what.clone()))?;
            // Accepted sockets inherit the options, which saves calls for each client.
            socket::configure_stream(&fd, &view.socket_options)
                .map_err(StartError::system(what))?;
            bound.names.push(address.to_string());
            bound.tcp.push(fd);
        }
    }
    let directory = &global.unix_socket_dir;
    if !directory.is_empty() {
        let path = PathBuf::from(format!("{directory}/.s.PGSQL.{}", global.listen_port));
        let group = group(&global.unix_socket_group)?;
        let what = format!("listen on unix socket {}", path.display());
        let fd = socket::listen_unix(&path, global.unix_socket_mode, group)
            .map_err(StartError::system(what))?;
        if !directory.starts_with('@') {
            bound.files.push(path.clone());
        }
        bound.names.push(path.display().to_string());
        bound.unix.push(fd);
    }
    if bound.names.is_empty() {
        let error = io::Error::other("neither listen_addr nor unix_socket_dir is set");
        return Err(StartError::system("listen")(error));
    }
    Ok(bound)
}

/// Takes the sockets that systemd passes by `LISTEN_FDS`; false if there are none.
fn inherit(bound: &mut Bound) -> Result<bool, StartError> {
    let own = std::env::var("LISTEN_PID").ok().and_then(|pid| pid.parse::<u32>().ok());
    if own != Some(std::process::id()) {
        return Ok(false);
    }
    let count = std::env::var("LISTEN_FDS").ok().and_then(|n| n.parse::<i32>().ok()).unwrap_or(0);
    for number in 3..3 + count.clamp(0, 1024) {
        let fd = socket::adopt(number).map_err(StartError::system("take a systemd socket"))?;
        bound.names.push(format!("systemd socket {number}"));
        let is_tcp = matches!(socket::local_addr(&fd), Ok(Some(_)));
        if is_tcp { bound.tcp.push(fd) } else { bound.unix.push(fd) }
    }
    Ok(count > 0)
}

fn addresses(name: &str, port: u16) -> Result<Vec<SocketAddr>, StartError> {
    if name == "*" {
        let any = [IpAddr::from([0u8; 4]), IpAddr::from([0u16; 8])];
        return Ok(any.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    if let Ok(ip) = name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    (name, port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .map_err(StartError::system(format!("listen_addr {name}")))
}

fn group(name: &str) -> Result<Option<u32>, StartError> {
    if name.is_empty() {
        return Ok(None);
    }
    match socket::group_id(name).map_err(StartError::system("unix_socket_group"))? {
        Some(id) => Ok(Some(id)),
        None => Err(StartError::File(format!("unix_socket_group: no group is called {name}"))),
    }
}

/// Binds the HTTP endpoint.
///
/// # Errors
/// The address is taken.
pub fn bind_http(view: &View) -> Result<Option<std::net::TcpListener>, StartError> {
    let Some(address) = view.config.http.listen else { return Ok(None) };
    let listener = std::net::TcpListener::bind(address)
        .map_err(StartError::system(format!("listen on {address} (http.listen)")))?;
    listener.set_nonblocking(true).map_err(StartError::system("http.listen"))?;
    Ok(Some(listener))
}

/// Writes the pid file, unless another living process is named in it.
///
/// # Errors
/// The file names a living process, or cannot be written.
pub fn write_pidfile(view: &View) -> Result<Option<PathBuf>, StartError> {
    let Some(path) = view.config.global.pidfile.clone() else { return Ok(None) };
    let what = || format!("pidfile {}", path.display());
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(pid) = text.trim().parse::<u32>()
        && Path::new(&format!("/proc/{pid}")).exists()
        && pid != std::process::id()
    {
        return Err(StartError::File(format!("{}: process {pid} is running", what())));
    }
    std::fs::write(&path, format!("{}\n", std::process::id()))
        .map_err(StartError::system(what()))?;
    Ok(Some(path))
}
