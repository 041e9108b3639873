//! The system calls that move bytes, and what an accept's error means.
//!
//! Invariant: none waits, none raises a signal. The two that run for every message go to the
//! kernel without the C library: its wrappers prepare each call for the cancellation of the
//! thread, with two locked instructions, and no thread here is ever cancelled.
//! Not here: what to do about bytes that found no room.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use super::buffer::Room;

/// Receives into the room without waiting.
#[inline]
pub(super) fn receive(fd: RawFd, room: &Room) -> io::Result<usize> {
    loop {
        let (nobody, flags) = (std::ptr::null_mut::<libc::c_void>(), libc::MSG_DONTWAIT);
        let (start, call) = (room.start.as_ptr(), libc::SYS_recvfrom);
        // SAFETY: the room is writable for its length and nobody else uses it; no address is
        // asked for.
        let len = unsafe { libc::syscall(call, fd, start, room.len, flags, nobody, nobody) };
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
            let (nobody, call) = (std::ptr::null::<libc::c_void>(), libc::SYS_sendto);
            // SAFETY: `head` is readable for its length; no address is given.
            let len = unsafe {
                libc::syscall(call, fd, head.as_ptr(), head.len(), flags, nobody, 0_usize)
            };
            isize::try_from(len).expect("the kernel counts bytes in this type")
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
