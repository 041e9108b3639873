//! The epoll descriptor itself.
//!
//! Invariant: a report is what the last wait returned, and is read once.
//! Not here: what a key stands for.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use headpond_core::Timestamp;

use crate::engine::clock;

pub(super) const READABLE: u32 = bits(libc::EPOLLIN);
pub(super) const WRITABLE: u32 = bits(libc::EPOLLOUT);
pub(super) const HANGUP: u32 = bits(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR);

/// Reports taken per wait; the rest come with the next one.
const REPORTS: usize = 512;

/// What to watch a descriptor for.
#[derive(Clone, Copy)]
pub(super) enum Interest {
    /// Bytes and hang-ups of a stream, edge-triggered.
    Read,
    /// The same and room to write.
    ReadWrite,
    /// Connections, level-triggered; of several threads that watch, not all are woken.
    Accept,
    /// Writes to an eventfd, edge-triggered, so that nobody need read it.
    Wake,
}

impl Interest {
    fn bits(self) -> u32 {
        let read = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;
        match self {
            Self::Read => bits(read),
            Self::ReadWrite => bits(read | libc::EPOLLOUT),
            Self::Accept => bits(libc::EPOLLIN | libc::EPOLLEXCLUSIVE),
            Self::Wake => bits(libc::EPOLLIN | libc::EPOLLET),
        }
    }
}

pub(super) struct Poll {
    fd: OwnedFd,
    reports: Box<[libc::epoll_event]>,
    precision: Precision,
}

/// How exactly the kernel can be told when to return.
#[derive(Clone, Copy)]
enum Precision {
    Nanoseconds,
    /// Before Linux 5.11, and where a sandbox forbids the newer call.
    Milliseconds,
}

impl Poll {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved; the result is checked before it is owned.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` was created above and nobody else knows it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let reports = vec![libc::epoll_event { events: 0, u64: 0 }; REPORTS].into();
        Ok(Self { fd, reports, precision: Precision::Nanoseconds })
    }

    pub(super) fn add(&self, fd: BorrowedFd<'_>, interest: Interest, key: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), interest.bits(), key)
    }

    pub(super) fn change(
        &self,
        fd: BorrowedFd<'_>,
        interest: Interest,
        key: u64,
    ) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), interest.bits(), key)
    }

    pub(super) fn remove(&self, fd: BorrowedFd<'_>) {
        let removed = self.control(libc::EPOLL_CTL_DEL, fd.as_raw_fd(), 0, 0);
        assert!(removed.is_ok(), "only what was added is removed: {removed:?}");
    }

    /// Waits for reports until the given time and returns how many there are.
    pub(super) fn wait(&mut self, until: Option<Timestamp>) -> io::Result<usize> {
        let count = match until {
            None => self.wait_ms(-1),
            Some(until) => {
                let left = until.as_nanos().saturating_sub(clock::monotonic().as_nanos());
                match self.precision {
                    _ if left == 0 => self.wait_ms(0),
                    Precision::Nanoseconds => self.wait_ns(left),
                    Precision::Milliseconds => self.wait_ms(whole_ms(left)),
                }
            }
        };
        reported(count)
    }

    /// Returns how many reports there are now.
    pub(super) fn look(&mut self) -> io::Result<usize> {
        reported(self.wait_ms(0))
    }

    /// Returns the key and the bits of the n-th report.
    #[inline]
    pub(super) fn report(&self, n: usize) -> (u64, u32) {
        let report = self.reports[n];
        (report.u64, report.events)
    }

    fn wait_ms(&mut self, ms: libc::c_int) -> libc::c_int {
        let (fd, reports) = (self.fd.as_raw_fd(), self.reports.as_mut_ptr());
        // SAFETY: `reports` is writable for the stated number of entries.
        unsafe { libc::epoll_wait(fd, reports, REPORTS as libc::c_int, ms) }
    }

    fn wait_ns(&mut self, ns: u64) -> libc::c_int {
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: libc::c_long::try_from(ns % 1_000_000_000).expect("below one second"),
        };
        let (fd, reports) = (self.fd.as_raw_fd(), self.reports.as_mut_ptr());
        let mask = std::ptr::null::<libc::sigset_t>();
        let call = libc::SYS_epoll_pwait2;
        // SAFETY: `reports` is writable for the stated number of entries, `timeout` readable;
        // no signal mask is given.
        let count =
            unsafe { libc::syscall(call, fd, reports, REPORTS, &raw const timeout, mask, 0_usize) };
        if count < 0 && is_refused(&io::Error::last_os_error()) {
            self.precision = Precision::Milliseconds;
            return self.wait_ms(whole_ms(ns));
        }
        libc::c_int::try_from(count).expect("at most the number of entries")
    }

    fn control(&self, what: libc::c_int, fd: RawFd, events: u32, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: key };
        // SAFETY: `event` is valid for the call.
        let result = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn reported(count: libc::c_int) -> io::Result<usize> {
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            error => Err(error),
        },
    }
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM))
}

/// Rounds up: returning before the time would only mean to wait again.
fn whole_ms(ns: u64) -> libc::c_int {
    libc::c_int::try_from(ns.div_ceil(1_000_000)).unwrap_or(libc::c_int::MAX)
}

/// The kernel's numbers are signed in the headers and unsigned in the structure.
const fn bits(flags: libc::c_int) -> u32 {
    flags.cast_unsigned()
}
