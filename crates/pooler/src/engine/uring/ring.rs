//! The kernel's ring: submitting, waiting, and what came back.
//!
//! Invariant: `owned` counts the requests that the kernel may still touch memory or descriptors
//! for; the ring is not torn down before it is zero.
//! Not here: what requests mean.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use headpond_core::Timestamp;
use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use crate::engine::{Socket, clock};

/// Requests per submission; more are submitted in between.
const SUBMISSIONS: u32 = 512;
/// Completions the kernel can note without help: a whole crowd that speaks at once.
const COMPLETIONS: u32 = 4096;
/// Ask the kernel for completions also when none is waited for.
const GETEVENTS: u32 = 1;

/// What a request is, told by three bits of its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A read into a buffer of the kernel's choice.
    Receive,
    /// A send during submission: answered only if something was left over. Quiet.
    Send,
    /// A send that waits for room.
    Flush,
    Connect,
    /// Connections until told otherwise.
    Accept,
    /// Giving another request up. Quiet.
    Cancel,
    /// Writes to the waker's eventfd.
    Wake,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Receive,
        Self::Send,
        Self::Flush,
        Self::Connect,
        Self::Accept,
        Self::Cancel,
        Self::Wake,
    ];

    /// Whether only failures are answered.
    fn is_quiet(self) -> bool {
        matches!(self, Self::Send | Self::Cancel)
    }
}

/// A socket's index leaves the upper three bits of its half to the kind.
const KIND_SHIFT: u32 = 29;
const KIND_MASK: u64 = 7 << KIND_SHIFT;
/// The name that stands for the engine itself.
const NOBODY: Socket = Socket { index: (1 << KIND_SHIFT) - 1, generation: u32::MAX };

fn number(kind: Kind, socket: Socket) -> u64 {
    let bits = socket.to_bits();
    assert!(bits & KIND_MASK == 0, "fewer sockets than descriptors exist");
    bits | (kind as u64) << KIND_SHIFT
}

/// What became of a request.
#[derive(Clone, Copy)]
pub(super) struct Done {
    pub(super) kind: Kind,
    pub(super) socket: Socket,
    result: i32,
    flags: u32,
}

impl Done {
    fn of(entry: &cqueue::Entry) -> Self {
        let bits = entry.user_data();
        let kind = Kind::ALL[((bits & KIND_MASK) >> KIND_SHIFT) as usize];
        let socket = Socket::from_bits(bits & !KIND_MASK);
        Self { kind, socket, result: entry.result(), flags: entry.flags() }
    }

    /// Returns the result, or the error it stands for.
    pub(super) fn outcome(&self) -> io::Result<u32> {
        u32::try_from(self.result)
            .map_err(|_| io::Error::from_raw_os_error(self.result.saturating_neg()))
    }

    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the request goes on.
    pub(super) fn is_more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// Whether the socket had more bytes than the read took.
    pub(super) fn is_nonempty(&self) -> bool {
        cqueue::sock_nonempty(self.flags)
    }
}

pub(super) struct Ring {
    ring: IoUring,
    owned: usize,
}

impl Ring {
    /// Opens a ring for this thread, as good as the kernel has it.
    pub(super) fn new() -> io::Result<Self> {
        // Deferred task work: completions are made when we ask, not when they interrupt us.
        let deferred = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_clamp()
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(SUBMISSIONS);
        let ring = deferred.or_else(|_| {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(COMPLETIONS).setup_clamp().setup_submit_all();
            builder.setup_coop_taskrun().build(SUBMISSIONS)
        })?;
        let params = ring.params();
        let (has_timeouts, has_skip) =
            (params.is_feature_ext_arg(), params.is_feature_skip_cqe_on_success());
        if !(has_timeouts && has_skip && params.is_feature_nodrop()) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { ring, owned: 0 })
    }

    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// Queues a request. Quiet ones are carried out during submission and answered only if
    /// they failed; the others are answered, once or (accept, wake) many times.
    ///
    /// # Safety
    /// Memory that the request names must stay where it is until the answer, or, of a quiet
    /// one, until the next [`Ring::wait`] or [`Ring::look`] returned.
    pub(super) unsafe fn push(&mut self, entry: Entry, kind: Kind, socket: Socket) {
        let mut entry = entry.user_data(number(kind, socket));
        if kind.is_quiet() {
            entry = entry.flags(Flags::SKIP_SUCCESS);
        } else {
            self.owned += 1;
        }
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Full: what is queued goes first. The kernel refuses only for want of memory.
            let submitted = harmless(self.ring.submit());
            submitted.expect("the kernel takes requests of a ring it made");
        }
    }

    /// Asks the kernel to give a request up; it is answered all the same.
    pub(super) fn cancel(&mut self, kind: Kind, socket: Socket) {
        let entry = opcode::AsyncCancel::new(number(kind, socket)).build();
        // SAFETY: a cancellation names no memory.
        unsafe { self.push(entry, Kind::Cancel, socket) };
    }

    /// Watches an eventfd for as long as the ring lives, each write being one answer.
    pub(super) fn watch(&mut self, eventfd: BorrowedFd<'_>) {
        let readable = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(eventfd.as_raw_fd()), readable).multi(true).build();
        // SAFETY: a poll names no memory; its descriptor is the waker's.
        unsafe { self.push(entry, Kind::Wake, NOBODY) };
    }

    /// Submits all that is queued, waits for an answer until the given time (`None`: for as
    /// long as it takes), and gathers what came.
    pub(super) fn wait(
        &mut self,
        until: Option<Timestamp>,
        done: &mut Vec<Done>,
    ) -> io::Result<()> {
        let result = match until {
            None => self.ring.submit_and_wait(1),
            Some(until) => {
                let left = until.as_nanos().saturating_sub(clock::monotonic().as_nanos());
                if left == 0 {
                    return self.look(done);
                }
                let nanos = u32::try_from(left % 1_000_000_000).expect("below one second");
                let time = Timespec::new().sec(left / 1_000_000_000).nsec(nanos);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&time))
            }
        };
        self.gather(harmless(result), done)
    }

    /// Submits all that is queued and gathers what came, without waiting.
    pub(super) fn look(&mut self, done: &mut Vec<Done>) -> io::Result<()> {
        let result = self.enter();
        self.gather(harmless(result), done)
    }

    /// Gives up all requests and waits for their answers. False if some never came: then the
    /// kernel may still use their memory.
    pub(super) fn quiesce(&mut self, done: &mut Vec<Done>) -> bool {
        for _ in 0..100 {
            if self.owned == 0 {
                return true;
            }
            let all = CancelBuilder::any();
            let soon = Timespec::new().nsec(1_000_000);
            // Whether it found any to cancel does not matter: `owned` tells.
            let _found = self.ring.submitter().register_sync_cancel(Some(soon), all);
            let until = clock::monotonic() + std::time::Duration::from_millis(1);
            if self.wait(Some(until), done).is_err() {
                return false;
            }
        }
        self.owned == 0
    }

    fn enter(&self) -> io::Result<usize> {
        let submitter = self.ring.submitter();
        // SAFETY: only this thread uses the queues, so their length is what was pushed.
        let queued = unsafe { self.ring.submission_shared() }.len();
        let queued = u32::try_from(queued).expect("at most the queue's size");
        // SAFETY: no argument structure is passed.
        unsafe { submitter.enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) }
    }

    fn gather(&mut self, entered: io::Result<()>, done: &mut Vec<Done>) -> io::Result<()> {
        entered?;
        loop {
            let before = done.len();
            done.extend(self.ring.completion().map(|entry| Done::of(&entry)));
            let answered = done.iter().skip(before);
            self.owned -= answered.filter(|d| !d.kind.is_quiet() && !d.is_more()).count();
            let queue = self.ring.submission();
            let (left, overflown) = (queue.len(), queue.cq_overflow());
            drop(queue);
            // A quiet send counts as done when no answer is here: none may hang back.
            if left == 0 && !overflown {
                return Ok(());
            }
            harmless(self.enter())?;
        }
    }
}

/// Lets pass what only says that time was up, or that answers must be gathered first.
fn harmless(entered: io::Result<usize>) -> io::Result<()> {
    match entered {
        Ok(_) => Ok(()),
        Err(error) => match error.raw_os_error() {
            Some(libc::ETIME | libc::EINTR | libc::EBUSY) => Ok(()),
            _ => Err(error),
        },
    }
}
