//! A raw client: sends what it is told, and reads strictly what comes back.
//!
//! It logs in without a password or with a plain one; drivers test the rest. Bytes that are no
//! legal message are an error of kind `InvalidData`, so they are never taken for a lost peer.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::message::{Messages, cancel_request, startup};

/// What an ErrorResponse or a NoticeResponse says.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Notice {
    pub severity: String,
    pub code: String,
    pub message: String,
}

/// One message from the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Row(Vec<Option<String>>),
    Complete(String),
    Failed(Notice),
    /// The transaction status: `I`, `T` or `E`.
    Ready(char),
    Noticed(Notice),
    Parameter(String, String),
    CopyData(Vec<u8>),
    CopyIn,
    CopyOut,
    /// Whatever else is legal here, by its tag: `1`, `2`, `3`, `I`, `T`, `n`, `t`, `s`, `c`.
    Other(char),
}

/// A connection that is logged in.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer's start was handed out already.
    taken: usize,
    address: SocketAddr,
    /// Process number and secret, as a CancelRequest repeats them.
    key: Vec<u8>,
}

impl Client {
    /// Logs in.
    pub async fn connect(
        address: SocketAddr,
        parameters: &[(&str, &str)],
        password: &str,
    ) -> io::Result<Result<Self, Notice>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut client = Self { stream, buffer: Vec::new(), taken: 0, address, key: Vec::new() };
        client.stream.write_all(&startup(parameters)).await?;
        loop {
            let (tag, body) = client.message().await?;
            match tag {
                b'R' if body == [0, 0, 0, 0] => {}
                b'R' if body == [0, 0, 0, 3] => {
                    let answer = [password.as_bytes(), b"\0"].concat();
                    let len = u32::try_from(4 + answer.len()).expect("a short password");
                    let message = [b"p", &len.to_be_bytes()[..], &answer].concat();
                    client.stream.write_all(&message).await?;
                }
                b'K' => client.key = body,
                b'S' | b'N' => {}
                b'E' => return Ok(Err(notice(&body)?)),
                b'Z' if body == *b"I" => return Ok(Ok(client)),
                _ => return Err(illegal(&format!("message {} in a login", char::from(tag)))),
            }
        }
    }

    /// Sends bytes, whole.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends messages in one write.
    pub async fn ask(&mut self, messages: &Messages) -> io::Result<()> {
        self.send(messages.bytes()).await
    }

    /// Returns the next message.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        let (tag, body) = self.message().await?;
        read_reply(tag, body)
    }

    /// Returns everything up to the next ReadyForQuery, that one included.
    pub async fn until_ready(&mut self) -> io::Result<Vec<Reply>> {
        let mut replies = Vec::new();
        loop {
            replies.push(self.reply().await?);
            if let Some(Reply::Ready(_)) = replies.last() {
                return Ok(replies);
            }
        }
    }

    /// Asks on a connection of its own that the present query be cancelled, and waits until the
    /// server closes that connection: the cancel was handled by then.
    pub fn canceller(&self) -> impl Future<Output = io::Result<()>> + use<> {
        let (address, request) = (self.address, cancel_request(&self.key));
        async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(&request).await?;
            match stream.read(&mut [0; 1]).await {
                Ok(0) => Ok(()),
                Ok(_) => Err(illegal("an answer to a cancel")),
                Err(e) if e.kind() == ErrorKind::ConnectionReset => Ok(()),
                Err(e) => Err(e),
            }
        }
    }

    async fn message(&mut self) -> io::Result<(u8, Vec<u8>)> {
        loop {
            let unread = &self.buffer[self.taken..];
            if let [tag, a, b, c, d, body @ ..] = unread {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                let Some(length) = length.checked_sub(4).filter(|n| *n < 1 << 26) else {
                    return Err(illegal(&format!("length {length} of {}", char::from(*tag))));
                };
                let length = length as usize;
                if let Some(body) = body.get(..length) {
                    let message = (*tag, body.to_vec());
                    self.taken += 5 + length;
                    return Ok(message);
                }
            }
            self.buffer.drain(..self.taken);
            self.taken = 0;
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn read_reply(tag: u8, body: Vec<u8>) -> io::Result<Reply> {
    let reply = match tag {
        b'D' => Reply::Row(row(&body)?),
        b'C' => Reply::Complete(text(body.strip_suffix(b"\0").unwrap_or(&body))?),
        b'E' => Reply::Failed(notice(&body)?),
        b'N' => Reply::Noticed(notice(&body)?),
        b'Z' => match body[..] {
            [status @ (b'I' | b'T' | b'E')] => Reply::Ready(char::from(status)),
            _ => return Err(illegal("a status")),
        },
        b'S' => {
            let mut parts = body.split(|byte| *byte == 0);
            match (parts.next(), parts.next()) {
                (Some(name), Some(value)) => Reply::Parameter(text(name)?, text(value)?),
                _ => return Err(illegal("a parameter")),
            }
        }
        b'd' => Reply::CopyData(body),
        b'G' => Reply::CopyIn,
        b'H' => Reply::CopyOut,
        b'1' | b'2' | b'3' | b'I' | b'T' | b'n' | b't' | b's' | b'c' => {
            Reply::Other(char::from(tag))
        }
        _ => return Err(illegal(&format!("message {}", char::from(tag)))),
    };
    Ok(reply)
}

fn row(body: &[u8]) -> io::Result<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk().ok_or_else(|| illegal("a row"))?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(|| illegal("a column"))?;
        rest = after;
        columns.push(match i32::from_be_bytes(*length) {
            -1 => None,
            length => {
                let length = usize::try_from(length).map_err(|_| illegal("a column"))?;
                let (value, after) =
                    rest.split_at_checked(length).ok_or_else(|| illegal("a column"))?;
                rest = after;
                Some(text(value)?)
            }
        });
    }
    if rest.is_empty() { Ok(columns) } else { Err(illegal("a row longer than its columns")) }
}

fn notice(body: &[u8]) -> io::Result<Notice> {
    let mut notice = Notice::default();
    for field in body.split(|byte| *byte == 0) {
        match field {
            [b'S', value @ ..] => notice.severity = text(value)?,
            [b'C', value @ ..] => notice.code = text(value)?,
            [b'M', value @ ..] => notice.message = text(value)?,
            _ => {}
        }
    }
    Ok(notice)
}

fn text(bytes: &[u8]) -> io::Result<String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| illegal("a text"))
}

fn illegal(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("illegal: {what}"))
}
