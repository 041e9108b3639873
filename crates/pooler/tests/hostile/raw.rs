//! A client that logs in where no proof is asked, and skips what it reads.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::support::message::{Messages, startup};
use crate::support::pooler::Place;
use crate::support::postgres::APP;
use crate::support::process::PATIENCE;

/// Where to connect, and from where.
#[derive(Clone, Debug)]
pub enum Way {
    /// From this address, because each has its own ports.
    Tcp(Ipv4Addr, SocketAddr),
    Unix(PathBuf),
}

impl Way {
    pub fn tcp(place: &Place) -> Self {
        Self::Tcp(Ipv4Addr::LOCALHOST, SocketAddr::from(([127, 0, 0, 1], place.port)))
    }

    pub fn unix(place: &Place) -> Self {
        Self::Unix(place.directory.join(format!(".s.PGSQL.{}", place.port)))
    }

    /// Connects; closing it later resets it, which leaves no port waiting.
    pub fn connect(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(from, to) => {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
                socket.set_linger(Some(Duration::ZERO))?;
                socket.bind(&SocketAddr::from((*from, 0)).into())?;
                socket.connect(&(*to).into())?;
                socket.set_tcp_nodelay(true)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                socket.set_write_timeout(Some(PATIENCE))?;
                Ok(Stream::Tcp(socket.into()))
            }
            Self::Unix(path) => connect_unix(path).map(Stream::Unix),
        }
    }
}

fn connect_unix(path: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A connection of either kind.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Says that nothing more will be sent.
    pub fn finish(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(std::net::Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(std::net::Shutdown::Write),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Raw {
    stream: Stream,
    /// Process number and secret, as BackendKeyData gave them.
    pub key: Vec<u8>,
}

impl Raw {
    /// Logs in as `app`, of whom no proof is asked.
    pub fn enter(way: &Way, database: &str) -> Self {
        Self::enter_as(way, APP, database).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Logs in as somebody, or returns what is said against it.
    pub fn enter_as(way: &Way, user: &str, database: &str) -> Result<Self, String> {
        let mut raw = Self { stream: way.connect().expect("a connection"), key: Vec::new() };
        raw.send(&startup(&[("user", user), ("database", database)]));
        loop {
            match raw.message().expect("a login") {
                (b'K', body) => raw.key = body,
                (b'Z', _) => return Ok(raw),
                (b'R' | b'S' | b'N' | b'v', _) => {}
                (_, body) => return Err(String::from_utf8_lossy(&body).into_owned()),
            }
        }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the pooler reads");
    }

    /// Asks, and returns how many bytes the answer had, ReadyForQuery included.
    pub fn ask(&mut self, messages: &Messages) -> u64 {
        self.send(messages.bytes());
        self.answer()
    }

    /// Reads up to ReadyForQuery; returns how many bytes that were.
    pub fn answer(&mut self) -> u64 {
        let mut read = 0;
        loop {
            let mut head = [0; 5];
            self.stream.read_exact(&mut head).expect("a message");
            let [tag, length @ ..] = head;
            let length = u64::from(u32::from_be_bytes(length));
            if tag == b'E' {
                let mut body = vec![0; usize::try_from(length - 4).expect("a length")];
                self.stream.read_exact(&mut body).expect("a message");
                panic!("an error: {}", String::from_utf8_lossy(&body));
            }
            let mut body = (&mut self.stream).take(length - 4);
            io::copy(&mut body, &mut io::sink()).expect("a body");
            read += 1 + length;
            if tag == b'Z' {
                return read;
            }
        }
    }

    /// Returns the next message, which is short.
    pub fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head)?;
        let [tag, length @ ..] = head;
        let length = u32::from_be_bytes(length).checked_sub(4).filter(|n| *n < 1 << 16);
        let length = length.ok_or(ErrorKind::InvalidData)?;
        let mut body = vec![0; length as usize];
        self.stream.read_exact(&mut body)?;
        Ok((tag, body))
    }
}
