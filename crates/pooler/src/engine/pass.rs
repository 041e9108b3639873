//! Handing open sockets to another process through a Unix socket, and taking them.
//!
//! Invariant: every descriptor received is owned and close-on-exec, or the call failed and
//! none stays open.
//! Not here: who hands over what, and when (`service/takeover`).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// The most descriptors that travel with one message.
pub const DESCRIPTORS_MAX: usize = 16;

/// Room for control data, aligned as its header wants to be.
#[repr(C)]
union Control {
    header: libc::cmsghdr,
    bytes: [MaybeUninit<u8>; 256],
}

/// Sends bytes, and with their first one the descriptors. Waits if the stream is blocking.
/// Returns how many bytes were taken; with none the descriptors did not leave either.
///
/// # Errors
/// `InvalidInput` for no bytes or more than [`DESCRIPTORS_MAX`] descriptors, or the system's.
pub fn send_with_descriptors(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    if bytes.is_empty() || descriptors.len() > DESCRIPTORS_MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [MaybeUninit::zeroed(); 256] };
    let mut message = empty_message(&mut part);
    if !descriptors.is_empty() {
        let len = u32::try_from(size_of_val(descriptors)).expect("sixteen at most");
        // SAFETY: the control data has room for the header and sixteen descriptors, and is
        // aligned; a borrowed descriptor is a number in memory.
        unsafe {
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = libc::CMSG_SPACE(len) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(len) as _;
            let data = libc::CMSG_DATA(header).cast::<RawFd>();
            for (n, descriptor) in descriptors.iter().enumerate() {
                data.add(n).write_unaligned(descriptor.as_raw_fd());
            }
        }
    }
    loop {
        // SAFETY: all that the message names is readable and outlives the call.
        let sent =
            unsafe { libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        if let Some(len) = counted(sent)? {
            return Ok(len);
        }
    }
}

/// Receives bytes and appends the descriptors that came with them. Returns how many bytes came;
/// none is the end of the stream.
///
/// # Errors
/// `InvalidData` if more descriptors came than [`DESCRIPTORS_MAX`], or the system's.
pub fn receive_with_descriptors(
    stream: &UnixStream,
    bytes: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut control = Control { bytes: [MaybeUninit::zeroed(); 256] };
    let mut message = empty_message(&mut part);
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    let len = loop {
        // SAFETY: all that the message names is writable and outlives the call.
        let came =
            unsafe { libc::recvmsg(stream.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
        if let Some(len) = counted(came)? {
            break len;
        }
    };
    let before = descriptors.len();
    // SAFETY: the kernel filled the control data and said how much of it.
    unsafe { own_all(&message, descriptors) };
    let is_cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    if is_cut || descriptors.len() - before > DESCRIPTORS_MAX {
        descriptors.truncate(before);
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(len)
}

/// Takes every descriptor out of the control data.
///
/// # Safety
/// The message must be as `recvmsg` left it, and this called once for it.
unsafe fn own_all(message: &libc::msghdr, descriptors: &mut Vec<OwnedFd>) {
    // SAFETY: the kernel's control data is well formed, and the walk stays within it; each
    // descriptor is fresh and ours.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(header).cast::<RawFd>();
                let prefix = libc::CMSG_LEN(0) as usize;
                let count = ((*header).cmsg_len as usize - prefix) / size_of::<RawFd>();
                for n in 0..count {
                    descriptors.push(OwnedFd::from_raw_fd(data.add(n).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
}

fn empty_message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeroes is a valid message of nothing.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

/// Returns a length, or none if a signal came first.
fn counted(result: isize) -> io::Result<Option<usize>> {
    match usize::try_from(result) {
        Ok(len) => Ok(Some(len)),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            error => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn sockets_travel_with_the_bytes_they_were_sent_with() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let pairs: Vec<_> = (0..3).map(|_| UnixStream::pair().expect("a pair")).collect();
        let lent: Vec<_> = pairs.iter().map(|(end, _)| end.as_fd()).collect();
        assert_eq!(send_with_descriptors(&here, b"three", &lent).expect("room"), 5);
        assert_eq!(send_with_descriptors(&here, b"none", &[]).expect("room"), 4);
        let (mut bytes, mut taken) = ([0; 64], Vec::new());
        let len = receive_with_descriptors(&there, &mut bytes, &mut taken).expect("bytes");
        assert_eq!((&bytes[..len], taken.len()), (&b"three"[..], 3));
        let len = receive_with_descriptors(&there, &mut bytes, &mut taken).expect("bytes");
        assert_eq!((&bytes[..len], taken.len()), (&b"none"[..], 3));
        for (n, end) in taken.into_iter().enumerate() {
            UnixStream::from(end).write_all(&[n as u8]).expect("the same socket");
            let mut byte = [9];
            (&pairs[n].1).read_exact(&mut byte).expect("a byte");
            assert_eq!(usize::from(byte[0]), n);
        }
        drop(here);
        let end = receive_with_descriptors(&there, &mut bytes, &mut Vec::new());
        assert_eq!(end.expect("the end"), 0);
    }

    #[test]
    fn too_many_descriptors_are_refused() {
        let (here, _there) = UnixStream::pair().expect("a pair");
        let many = vec![here.as_fd(); DESCRIPTORS_MAX + 1];
        let refused = send_with_descriptors(&here, b"x", &many).expect_err("too many");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
        let refused = send_with_descriptors(&here, b"", &[]).expect_err("no bytes");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
