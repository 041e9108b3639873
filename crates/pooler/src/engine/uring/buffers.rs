//! The buffers that the kernel fills: lent to it in a ring, taken back one read at a time.
//!
//! Invariant: a buffer is with the kernel or in exactly one [`Lease`].
//! Not here: what is read (`stream.rs`).

use std::alloc::{self, Layout};
use std::cell::Cell;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The group all reads take their buffers from.
pub(super) const GROUP: u16 = 0;
/// How many buffers there are: a power of two, and more than a busy turn needs.
pub(super) const COUNT: u16 = 64;
/// The most one read brings; streams that fill it are read past the ring, in larger steps.
pub(super) const SIZE: u32 = 32 << 10;
const PAGE: usize = 4096;

/// All buffers and the ring they are lent in.
pub(super) struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: Cell<u16>,
    /// How many are not with the kernel.
    leased: Cell<u16>,
}

/// One buffer filled by the kernel; goes back to it when dropped.
pub(in crate::engine) struct Lease {
    buffers: Rc<Buffers>,
    id: u16,
    len: u32,
}

impl Buffers {
    /// Allocates all buffers, untouched, and lends them to the kernel.
    pub(super) fn register(submitter: &Submitter<'_>) -> io::Result<Rc<Self>> {
        // SAFETY: neither layout is empty.
        let (ring, memory) =
            unsafe { (alloc::alloc_zeroed(ring_layout()), alloc::alloc(memory_layout())) };
        let Some(ring) = NonNull::new(ring) else { alloc::handle_alloc_error(ring_layout()) };
        let Some(memory) = NonNull::new(memory) else { alloc::handle_alloc_error(memory_layout()) };
        let (tail, leased) = (Cell::new(0), Cell::new(COUNT));
        let buffers = Rc::new(Self { ring: ring.cast(), memory, tail, leased });
        for id in 0..COUNT {
            buffers.lend(id);
        }
        let address = buffers.ring.as_ptr().addr() as u64;
        // SAFETY: the ring is page-aligned, of the stated length, and lives as long as `buffers`,
        // which the engine drops after the kernel's ring is gone.
        unsafe { submitter.register_buf_ring_with_flags(address, COUNT, GROUP, 0)? };
        Ok(buffers)
    }

    /// Returns how many buffers the kernel has to read into.
    pub(super) fn available(&self) -> usize {
        usize::from(COUNT - self.leased.get())
    }

    /// Takes back a buffer that the kernel filled with `len` bytes.
    pub(super) fn take(self: &Rc<Self>, id: u16, len: u32) -> Lease {
        assert!(id < COUNT && len <= SIZE, "the kernel returns what it was lent");
        self.leased.set(self.leased.get() + 1);
        Lease { buffers: Rc::clone(self), id, len }
    }

    fn start(&self, id: u16) -> NonNull<u8> {
        // SAFETY: the id is below COUNT, so the buffer is within the memory.
        unsafe { self.memory.add(usize::from(id) * SIZE as usize) }
    }

    fn lend(&self, id: u16) {
        let tail = self.tail.get();
        let address = self.start(id).as_ptr().addr() as u64;
        // SAFETY: the place is within the ring, and the kernel does not look at it before the
        // tail passes it. The tail is an aligned u16 that only we write.
        unsafe {
            let entry = self.ring.add(usize::from(tail % COUNT)).as_mut();
            entry.set_addr(address);
            entry.set_len(SIZE);
            entry.set_bid(id);
            let shared = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(shared).store(tail.wrapping_add(1), Ordering::Release);
        }
        self.tail.set(tail.wrapping_add(1));
        self.leased.set(self.leased.get() - 1);
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with these layouts; no lease is alive, each holds us.
        unsafe {
            alloc::dealloc(self.ring.as_ptr().cast(), ring_layout());
            alloc::dealloc(self.memory.as_ptr(), memory_layout());
        }
    }
}

impl Lease {
    #[inline]
    pub(in crate::engine) fn bytes(&self) -> &[u8] {
        let start = self.buffers.start(self.id).as_ptr();
        // SAFETY: the kernel filled `len` bytes and has no claim until the lease is dropped.
        unsafe { std::slice::from_raw_parts(start, self.len as usize) }
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        self.buffers.lend(self.id);
    }
}

fn ring_layout() -> Layout {
    let size = usize::from(COUNT) * size_of::<BufRingEntry>();
    Layout::from_size_align(size, PAGE).expect("a small power of two")
}

fn memory_layout() -> Layout {
    let size = usize::from(COUNT) * SIZE as usize;
    Layout::from_size_align(size, PAGE).expect("a small power of two")
}
