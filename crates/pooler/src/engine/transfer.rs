//! The system calls that move bytes, and what an accept's error means.
//!
//! Invariant: none waits, none raises a signal.
//! Not here: what to do about bytes that found no room.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::buffer::Room;

/// Receives into the room without waiting.
#[inline]
pub(super) fn receive(fd: RawFd, room: &Room) -> io::Result<usize> {
    loop {
        // SAFETY: the room is writable for its length and nobody else uses it.
        let len =
            unsafe { libc::recv(fd, room.start.as_ptr().cast(), room.len, libc::MSG_DONTWAIT) };
        match usize::try_from(len) {
            Ok(len) => return Ok(len),
            Err(_) => retry_interrupted()?,
        }
    }
}

/// Sends two pieces as one without waiting; returns how much was taken.
#[inline]
pub(super) fn send(fd: RawFd, head: &[u8], tail: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    loop {
        let len = if tail.is_empty() {
            // SAFETY: `head` is readable for its length.
            unsafe { libc::send(fd, head.as_ptr().cast(), head.len(), flags) }
        } else {
            let part = |bytes: &[u8]| libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            let mut parts = [part(head), part(tail)];
            let mut message = MaybeUninit::<libc::msghdr>::zeroed();
            // SAFETY: all zeroes is a valid message; its parts are readable, and sending
            // writes to none of them.
            unsafe {
                let message = message.assume_init_mut();
                message.msg_iov = parts.as_mut_ptr();
                message.msg_iovlen = 2;
                libc::sendmsg(fd, message, flags)
            }
        };
        match usize::try_from(len) {
            Ok(len) => return Ok(len),
            Err(_) => retry_interrupted()?,
        }
    }
}

fn retry_interrupted() -> io::Result<()> {
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

/// Whether an accept failed for reasons of the one connection it would have returned.
pub(super) fn is_callers(error: &io::Error) -> bool {
    let codes = [
        libc::ECONNABORTED,
        libc::EINTR,
        libc::EPROTO,
        libc::EPERM,
        libc::ENETDOWN,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENONET,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::ETIMEDOUT,
    ];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
