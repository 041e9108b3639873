//! Drives the TLS library's state machine over buffers of ours, one call at a time.
//!
//! Invariant: `open` stops only when no whole record is left, so `seal` never meets one; the
//! library is always shown the same bytes it has not given back yet.
//! Not here: which buffers live how long (`mod.rs`).

use rustls::client::ClientConnectionData;
use rustls::server::ServerConnectionData;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError,
    UnbufferedConnectionCommon, UnbufferedStatus, WriteTraffic,
};

use super::error::TlsError;

/// The library's step function: the same for both sides, but not by a trait.
pub(super) type Process<D> = for<'c, 'i> fn(
    &'c mut UnbufferedConnectionCommon<D>,
    &'i mut [u8],
) -> UnbufferedStatus<'c, 'i, D>;

pub(super) const ACCEPT: Process<ServerConnectionData> =
    UnbufferedConnectionCommon::<ServerConnectionData>::process_tls_records;
pub(super) const CONNECT: Process<ClientConnectionData> =
    UnbufferedConnectionCommon::<ClientConnectionData>::process_tls_records;

/// The most plaintext in one record.
const FRAGMENT: usize = 16 * 1024;
/// More than any suite adds to a record: header, nonce, content type, tag.
const OVERHEAD: usize = 5 + 8 + 1 + 16;

/// What to encrypt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Message<'a> {
    Data(&'a [u8]),
    CloseNotify,
}

/// Works through `incoming`; returns true once the peer has closed its side.
pub(super) fn open<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: Process<D>,
    incoming: &mut Vec<u8>,
    outgoing: &mut Vec<u8>,
    plaintext: &mut Vec<u8>,
) -> Result<bool, rustls::Error> {
    let mut used = 0;
    let outcome = loop {
        let rest = incoming.get_mut(used..).unwrap_or_default();
        let UnbufferedStatus { discard, state } = process(connection, rest);
        used += discard;
        match state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                while let Some(record) = traffic.next_record() {
                    let record = record?;
                    plaintext.extend_from_slice(record.payload);
                    used += record.discard;
                }
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => {
                break Ok(false);
            }
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => break Ok(true),
            // Early data is off on both sides.
            Ok(_) => break Err(rustls::Error::General("unexpected early data".to_owned())),
            Err(error) => break Err(error),
        }
    };
    if outcome.is_err() {
        let rest = incoming.get_mut(used..).unwrap_or_default();
        take_alert(connection, process, rest, outgoing);
    }
    incoming.drain(..used);
    outcome
}

/// Fetches the alert that the library queued for an error it just reported.
///
/// The library must not be driven a step further than that: it would look at the bad record
/// again, and panics if it has to send a second alert.
fn take_alert<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: Process<D>,
    rest: &mut [u8],
    outgoing: &mut Vec<u8>,
) {
    while connection.wants_write() {
        match process(connection, rest).state {
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, outgoing),
            _ => break,
        }
    }
}

/// Encrypts a message and appends it to `ciphertext`.
pub(super) fn seal<D>(
    connection: &mut UnbufferedConnectionCommon<D>,
    process: Process<D>,
    incoming: &mut Vec<u8>,
    message: Message<'_>,
    ciphertext: &mut Vec<u8>,
) -> Result<(), TlsError> {
    loop {
        let UnbufferedStatus { discard, state } = process(connection, incoming);
        match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => {
                return encrypt(traffic, message, ciphertext);
            }
            Ok(ConnectionState::EncodeTlsData(data)) => encode(data, ciphertext),
            Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
            Ok(ConnectionState::BlockedHandshake) => return Err(TlsError::Handshaking),
            Ok(ConnectionState::PeerClosed) => {}
            Ok(ConnectionState::Closed) => return Err(TlsError::Ended),
            Ok(_) => unreachable!("open() leaves no whole record behind"),
            Err(error) => return Err(TlsError::Peer(error)),
        }
        incoming.drain(..discard);
    }
}

fn encrypt<D>(
    mut traffic: WriteTraffic<'_, D>,
    message: Message<'_>,
    ciphertext: &mut Vec<u8>,
) -> Result<(), TlsError> {
    let start = ciphertext.len();
    let mut room = match message {
        Message::Data([]) => return Ok(()),
        Message::Data(bytes) => bytes.len() + bytes.len().div_ceil(FRAGMENT) * OVERHEAD,
        Message::CloseNotify => 2 + OVERHEAD,
    };
    loop {
        ciphertext.resize(start + room, 0);
        let space = ciphertext.get_mut(start..).unwrap_or_default();
        let written = match message {
            Message::Data(bytes) => traffic.encrypt(bytes, space),
            Message::CloseNotify => traffic.queue_close_notify(space),
        };
        match written {
            Ok(written) => {
                ciphertext.truncate(start + written);
                return Ok(());
            }
            // A key update goes out first.
            Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size }))
                if required_size > room =>
            {
                room = required_size;
            }
            Err(_) => {
                ciphertext.truncate(start);
                return Err(TlsError::Exhausted);
            }
        }
    }
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, out: &mut Vec<u8>) {
    let start = out.len();
    // The library tells the size of a message only by refusing too small a buffer.
    if let Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) =
        data.encode(&mut [])
    {
        out.resize(start + required_size, 0);
        let space = out.get_mut(start..).unwrap_or_default();
        data.encode(space).expect("the buffer has the size that was asked for");
    }
}
