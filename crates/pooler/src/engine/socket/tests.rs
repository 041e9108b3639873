//! What is made here is as asked for.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;

use super::*;

fn loopback() -> OwnedFd {
    listen_tcp(SocketAddr::from(([127, 0, 0, 1], 0)), 16, false).expect("a listener")
}

#[test]
fn connections_inherit_what_the_listener_was_given() {
    let listener = loopback();
    let options = SocketOptions {
        keepcnt: 4,
        keepidle: 77,
        keepintvl: 5,
        user_timeout_ms: 9_000,
        ..SocketOptions::default()
    };
    configure_stream(&listener, &options).expect("valid options");
    let addr = local_addr(&listener).expect("a socket").expect("a TCP one");
    let caller = std::net::TcpStream::connect(addr).expect("a connection");
    let (accepted, _) = SockRef::from(&listener).accept().expect("a caller");
    assert!(accepted.tcp_nodelay().expect("an option") && accepted.keepalive().expect("an option"));
    assert_eq!(accepted.tcp_keepalive_time().expect("an option"), Duration::from_secs(77));
    assert_eq!(accepted.tcp_keepalive_retries().expect("an option"), 4);
    let timeout = accepted.tcp_user_timeout().expect("an option");
    assert_eq!(timeout, Some(Duration::from_secs(9)));
    drop(caller);
}

#[test]
fn an_address_in_use_is_said_to_be() {
    let listener = loopback();
    let addr = local_addr(&listener).expect("a socket").expect("a TCP one");
    let second = listen_tcp(addr, 16, false).expect_err("taken");
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn ipv6_any_leaves_ipv4_any_free() {
    // A port that is free for IPv6 may be somebody's for IPv4, but not one after the other.
    for _ in 0..50 {
        let any = listen_tcp("[::]:0".parse().expect("an address"), 16, false);
        let Ok(any) = any else { return println!("skipped: no IPv6 here") };
        let port = local_addr(&any).expect("a socket").expect("a TCP one").port();
        if listen_tcp(SocketAddr::from(([0, 0, 0, 0], port)), 16, false).is_ok() {
            return;
        }
    }
    panic!("IPv4 is never free");
}

#[test]
fn a_socket_file_has_its_mode_and_an_abandoned_one_is_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(".s.PGSQL.6432");
    let first = listen_unix(&path, 0o740, None).expect("a listener");
    let meta = std::fs::metadata(&path).expect("a file");
    assert_eq!(meta.mode() & 0o777, 0o740);
    assert_eq!(local_path(&first).expect("a socket").as_deref(), Some(&*path));
    let second = listen_unix(&path, 0o700, None).expect_err("somebody listens");
    assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
    drop(first);
    let again = listen_unix(&path, 0o777, Some(meta.gid())).expect("it was abandoned");
    UnixStream::connect(&path).expect("the new one answers");
    drop(again);
    std::fs::remove_file(&path).expect("a file");
    std::fs::write(&path, "precious").expect("a file");
    assert!(listen_unix(&path, 0o777, None).is_err());
    assert_eq!(std::fs::read(&path).expect("still there"), b"precious");
}

#[test]
fn an_abstract_socket_has_no_file_and_knows_its_caller() {
    let path = PathBuf::from(format!("@headpond-socket-{}", std::process::id()));
    let listener = listen_unix(&path, 0, None).expect("a listener");
    assert_eq!(local_path(&listener).expect("a socket"), Some(path.clone()));
    assert_eq!(local_addr(&listener).expect("a socket"), None);
    let options = SocketOptions::default();
    let (caller, addr) = for_address(&Address::Unix(path), &options).expect("a socket");
    SockRef::from(&caller).connect(&addr).expect("a connection");
    let (accepted, from) = SockRef::from(&listener).accept().expect("a caller");
    let (peer, local) = peers(&accepted.into(), &from, Local::Any).expect("credentials");
    assert_eq!((peer, local), (own_credentials(), own_credentials()));
}

#[test]
fn only_sockets_are_adopted() {
    let listener = loopback();
    let adopted = adopt(listener.as_raw_fd()).expect("a socket");
    assert_eq!(local_addr(&adopted).expect("a socket"), local_addr(&listener).expect("a socket"));
    let file = std::fs::File::open("/dev/null").expect("a file");
    assert!(adopt(file.as_raw_fd()).is_err());
    assert!(adopt(-1).is_err());
}

#[test]
fn groups_are_found_by_name_or_not_at_all() {
    assert_eq!(group_id("root").expect("a database"), Some(0));
    assert_eq!(group_id("no-such-group-here").expect("a database"), None);
    assert!(group_id("nul\0").is_err());
}
