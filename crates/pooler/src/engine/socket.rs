//! Making and asking sockets: what is done once per listener or connection.
//!
//! Invariant: every descriptor made here is close-on-exec; a Unix socket file has its mode and
//! group before anybody can connect through it.
//! Not here: reading, writing and waiting (the engines).

use std::ffi::CString;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

pub use super::clock::thread_cpu_time;
use super::{Address, Peer};

/// What to set on a stream socket. Zero leaves a number to the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SocketOptions {
    /// Send small messages at once. Default: true, because requests and replies are small.
    pub nodelay: bool,
    /// Probe silent peers. Default: true, because a peer that lost power says nothing.
    pub keepalive: bool,
    /// Unanswered probes after which the peer is gone.
    pub keepcnt: u32,
    /// Seconds of silence before the first probe.
    pub keepidle: u32,
    /// Seconds between probes.
    pub keepintvl: u32,
    /// Milliseconds that sent bytes may stay unacknowledged.
    pub user_timeout_ms: u32,
    /// Bytes of kernel buffer, each way.
    pub buffer: u32,
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self {
            nodelay: true,
            keepalive: true,
            keepcnt: 0,
            keepidle: 0,
            keepintvl: 0,
            user_timeout_ms: 0,
            buffer: 0,
        }
    }
}

/// Opens a listening TCP socket. IPv6 ones take no IPv4 connections. Its connections send small
/// messages at once, unless [`configure_stream`] says otherwise.
///
/// # Errors
/// The system's: address in use, not ours, or not permitted.
pub fn listen_tcp(addr: SocketAddr, backlog: u32, reuseport: bool) -> io::Result<OwnedFd> {
    let socket = stream_socket(Domain::for_address(addr), Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    // Inherited by every connection: an answer in two pieces must not wait for an acknowledgement.
    socket.set_tcp_nodelay(true)?;
    if reuseport {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Opens a listening Unix socket with the given mode and group; a leading `@` in the path
/// stands for the abstract namespace, which has neither.
///
/// A socket file that nobody listens on any more is replaced.
///
/// # Errors
/// The system's; `AddrInUse` if another process listens there or the file is no socket.
pub fn listen_unix(path: &Path, mode: u32, group: Option<u32>) -> io::Result<OwnedFd> {
    const BACKLOG: i32 = 4096;
    let socket = stream_socket(Domain::UNIX, None)?;
    let addr = unix_address(path)?;
    if let Err(error) = socket.bind(&addr) {
        if error.kind() != io::ErrorKind::AddrInUse || !is_abandoned(path, &addr)? {
            return Err(error);
        }
        std::fs::remove_file(path)?;
        socket.bind(&addr)?;
    }
    if addr.as_pathname().is_some() {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode))?;
        if group.is_some() {
            std::os::unix::fs::chown(path, None, group)?;
        }
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes the listener hold a TCP connection back until it brings data or `seconds` have passed.
///
/// # Errors
/// The system's, for anything but a TCP socket.
pub fn defer_accept(listener: &OwnedFd, seconds: u32) -> io::Result<()> {
    let value = libc::c_int::try_from(seconds).unwrap_or(libc::c_int::MAX);
    set_option(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, value)
}

/// Sets options on a stream socket, or on a listener, whose connections inherit them at no
/// further cost. On Unix sockets only `buffer` has a meaning.
///
/// # Errors
/// The system's, when a value is out of its range.
pub fn configure_stream(socket: &OwnedFd, options: &SocketOptions) -> io::Result<()> {
    let stream = SockRef::from(socket);
    if options.buffer > 0 {
        let bytes = options.buffer as usize;
        stream.set_recv_buffer_size(bytes)?;
        stream.set_send_buffer_size(bytes)?;
    }
    if stream.domain()? == Domain::UNIX {
        return Ok(());
    }
    stream.set_tcp_nodelay(options.nodelay)?;
    if options.user_timeout_ms > 0 {
        let timeout = Duration::from_millis(u64::from(options.user_timeout_ms));
        stream.set_tcp_user_timeout(Some(timeout))?;
    }
    stream.set_keepalive(options.keepalive)?;
    if !options.keepalive {
        return Ok(());
    }
    let mut probes = TcpKeepalive::new();
    let mut any = false;
    if options.keepidle > 0 {
        probes = probes.with_time(Duration::from_secs(u64::from(options.keepidle)));
        any = true;
    }
    if options.keepintvl > 0 {
        probes = probes.with_interval(Duration::from_secs(u64::from(options.keepintvl)));
        any = true;
    }
    if options.keepcnt > 0 {
        probes = probes.with_retries(options.keepcnt);
        any = true;
    }
    if any { stream.set_tcp_keepalive(&probes) } else { Ok(()) }
}

/// Returns the address a TCP socket or listener is bound to; none for other families.
///
/// # Errors
/// The system's, when the descriptor is no socket.
pub fn local_addr(socket: &OwnedFd) -> io::Result<Option<SocketAddr>> {
    Ok(SockRef::from(socket).local_addr()?.as_socket())
}

/// Returns the path a Unix listener is bound to, `@` first if it is abstract.
///
/// # Errors
/// The system's, when the descriptor is no socket.
pub fn local_path(socket: &OwnedFd) -> io::Result<Option<PathBuf>> {
    let addr = SockRef::from(socket).local_addr()?;
    if let Some(name) = addr.as_abstract_namespace() {
        let mut path = b"@".to_vec();
        path.extend_from_slice(name);
        return Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(&path))));
    }
    Ok(addr.as_pathname().map(Path::to_path_buf))
}

/// Takes over a socket that this process was started with (systemd), by duplicating it.
///
/// # Errors
/// `InvalidInput` if the number names no socket, or the system's.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: no memory is involved; a wrong number is an error and leaves nothing behind.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `fd` was created above and nobody else knows it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match SockRef::from(&owned).r#type() {
        Ok(Type::STREAM) => Ok(owned),
        Ok(_) | Err(_) => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Returns the number of a group, for [`listen_unix`]; none if there is no such group.
///
/// Reads the system's group database, so it may block: not for worker threads.
///
/// # Errors
/// The system's, when the database cannot be read.
pub fn group_id(name: &str) -> io::Result<Option<u32>> {
    let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut size = 1024;
    loop {
        let mut text = vec![0_u8; size];
        // SAFETY: all zeroes is a valid `group`.
        let mut group: libc::group = unsafe { mem::zeroed() };
        let mut found = std::ptr::null_mut();
        // SAFETY: all pointers are valid for the call and `text` for its stated length.
        let error = unsafe {
            let text_start = text.as_mut_ptr().cast();
            libc::getgrnam_r(name.as_ptr(), &raw mut group, text_start, size, &raw mut found)
        };
        match error {
            0 if found.is_null() => return Ok(None),
            0 => return Ok(Some(group.gr_gid)),
            libc::ERANGE if size < 1 << 20 => size *= 4,
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// Returns the process at the other end of a Unix socket.
///
/// # Errors
/// The system's, for anything but a connected Unix socket.
pub fn unix_peer(socket: &OwnedFd) -> io::Result<Peer> {
    let mut cred = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let size = libc::socklen_t::try_from(size_of::<libc::ucred>()).expect("a few bytes");
    let mut len = size;
    // SAFETY: `cred` is writable for `len` bytes, both outlive the call.
    let result = unsafe {
        let value = (&raw mut cred).cast();
        let fd = socket.as_raw_fd();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, value, &raw mut len)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if len != size {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(Peer::Unix { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// Returns this process as a Unix peer would see it.
pub(super) fn own_credentials() -> Peer {
    // SAFETY: these three never fail and touch no memory of ours.
    unsafe { Peer::Unix { pid: libc::getpid(), uid: libc::geteuid(), gid: libc::getegid() } }
}

/// Says who is at an accepted connection's ends, with as few system calls as can be.
pub(super) fn peers(socket: &OwnedFd, from: &SockAddr, local: Local) -> io::Result<(Peer, Peer)> {
    let Some(addr) = from.as_socket() else {
        return Ok((unix_peer(socket)?, own_credentials()));
    };
    let local = match local {
        Local::Fixed(addr) => addr,
        Local::Any => local_addr(socket)?.ok_or(io::ErrorKind::InvalidData)?,
    };
    Ok((Peer::Tcp(canonical(addr)), Peer::Tcp(canonical(local))))
}

/// What a listener knows of the local address of its connections.
#[derive(Clone, Copy)]
pub(super) enum Local {
    /// All have the listener's own.
    Fixed(SocketAddr),
    /// The listener takes any: ask each.
    Any,
}

impl Local {
    pub(super) fn of(listener: &OwnedFd) -> io::Result<Self> {
        match local_addr(listener)? {
            Some(addr) if !addr.ip().is_unspecified() => Ok(Self::Fixed(addr)),
            Some(_) | None => Ok(Self::Any),
        }
    }
}

/// Returns a stream socket for an address, configured but not connected, and the address.
pub(super) fn for_address(
    to: &Address,
    options: &SocketOptions,
) -> io::Result<(OwnedFd, SockAddr)> {
    let (socket, addr) = match to {
        Address::Tcp(addr) => {
            let socket = stream_socket(Domain::for_address(*addr), Some(Protocol::TCP))?;
            (socket, SockAddr::from(*addr))
        }
        Address::Unix(path) => (stream_socket(Domain::UNIX, None)?, unix_address(path)?),
    };
    let fd = OwnedFd::from(socket);
    configure_stream(&fd, options)?;
    Ok((fd, addr))
}

/// Whether this is a TCP socket; asked rarely.
pub(super) fn is_tcp(socket: &OwnedFd) -> bool {
    SockRef::from(socket).domain().is_ok_and(|domain| domain != Domain::UNIX)
}

/// Takes the error that the kernel noted on a socket.
pub(super) fn take_error(socket: &OwnedFd) -> io::Result<()> {
    match SockRef::from(socket).take_error()? {
        None => Ok(()),
        Some(error) => Err(error),
    }
}

fn stream_socket(domain: Domain, protocol: Option<Protocol>) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM, protocol)
}

fn unix_address(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let Some(name) = bytes.strip_prefix(b"@") else { return SockAddr::unix(path) };
    let mut name = name.to_vec();
    name.insert(0, 0);
    SockAddr::unix(std::ffi::OsStr::from_bytes(&name))
}

/// Whether a path is a socket file left by a process that is gone.
fn is_abandoned(path: &Path, addr: &SockAddr) -> io::Result<bool> {
    if addr.as_pathname().is_none() || !std::fs::metadata(path)?.file_type().is_socket() {
        return Ok(false);
    }
    let probe = stream_socket(Domain::UNIX, None)?;
    probe.set_nonblocking(true)?;
    Ok(probe.connect(addr).is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused))
}

fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

fn set_option(fd: RawFd, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of::<libc::c_int>()).expect("four bytes");
    // SAFETY: `value` is readable for `size` bytes.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
