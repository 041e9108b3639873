//! The memory that reads land in, and the chunks handed out of it.
//!
//! Reads of one turn are packed one behind the other into one arena; when all its chunks are
//! dropped, the next turn starts at its beginning again, in memory that is still warm.
//!
//! Invariant: two live chunks never overlap, and a chunk's bytes never change while it lives.
//! Not here: which socket may read, and how much.

use std::alloc::{self, Layout};
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;

use super::uring::buffers::Lease;

/// Bytes of one read. Dropping it gives the memory back to the engine.
pub struct Chunk(Memory);

enum Memory {
    None,
    Arena { block: Rc<Block>, start: u32, len: u32 },
    Ring(Lease),
    Own(Box<[u8]>),
}

impl Chunk {
    /// Returns the chunk that means the end of a stream.
    pub fn empty() -> Self {
        Self(Memory::None)
    }
}

impl From<Lease> for Chunk {
    fn from(lease: Lease) -> Self {
        Self(Memory::Ring(lease))
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Memory::Own(bytes.into())) }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Memory::None => &[],
            Memory::Arena { block, start, len } => block.bytes(*start as usize, *len as usize),
            Memory::Ring(lease) => lease.bytes(),
            Memory::Own(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Chunk {
    /// Shows the length only: the bytes may be anybody's secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

/// One turn's worth of read memory.
pub(super) struct Arena {
    block: Rc<Block>,
    /// Everything before this is, or was, handed out.
    used: usize,
}

/// Room at the end of an arena that a read may fill.
pub(super) struct Room {
    pub(super) start: NonNull<u8>,
    pub(super) len: usize,
}

impl Arena {
    /// Chunks begin on a cache line each, so that no two share one.
    const ALIGN: usize = 64;

    pub(super) fn new(size: usize) -> Self {
        Self { block: Rc::new(Block::new(size)), used: 0 }
    }

    /// Starts from the beginning if no chunk is alive; with a fresh block if one is and this
    /// one is nearly used up, so that a chunk kept for long holds nobody up.
    pub(super) fn recycle(&mut self, room_min: usize) {
        if Rc::get_mut(&mut self.block).is_some() {
            self.used = 0;
        } else if self.block.layout.size() - self.used < room_min {
            *self = Self::new(self.block.layout.size());
        }
    }

    /// Returns where the next read of at most `len` bytes goes; none if less than `min` is left.
    pub(super) fn room(&mut self, len: usize, min: usize) -> Option<Room> {
        let left = self.block.layout.size() - self.used;
        if left < min {
            return None;
        }
        // SAFETY: `used` is at most the size of the block: `take` keeps it so.
        let start = unsafe { self.block.start.add(self.used) };
        Some(Room { start, len: len.min(left) })
    }

    /// Hands out the first `len` bytes of the room.
    ///
    /// # Safety
    /// `room` must be the latest answer of [`Arena::room`], with its first `len` bytes written.
    pub(super) unsafe fn take(&mut self, room: &Room, len: usize) -> Chunk {
        assert!(len <= room.len, "a read never exceeds its room");
        let size = self.block.layout.size();
        let start = u32::try_from(self.used).expect("arenas are small");
        let chunk_len = u32::try_from(len).expect("arenas are small");
        self.used = (self.used + len).next_multiple_of(Self::ALIGN).min(size);
        Chunk(Memory::Arena { block: Rc::clone(&self.block), start, len: chunk_len })
    }
}

/// Memory that is written through raw pointers and read through chunks.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// Allocates without touching: pages come into being as reads fill them.
    fn new(size: usize) -> Self {
        let layout = Layout::from_size_align(size, 4096).expect("a small power of two");
        assert!(size > 0, "an arena holds something");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc::alloc(layout) };
        let Some(start) = NonNull::new(start) else { alloc::handle_alloc_error(layout) };
        Self { start, layout }
    }

    fn bytes(&self, start: usize, len: usize) -> &[u8] {
        // SAFETY: chunks are made by `Arena::take` only: in bounds and initialised. While this
        // one lives the arena does not go back, so nobody writes here.
        unsafe { std::slice::from_raw_parts(self.start.add(start).as_ptr(), len) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(arena: &mut Arena, byte: u8, len: usize) -> Option<Chunk> {
        let room = arena.room(len, 1)?;
        let len = len.min(room.len);
        // SAFETY: the room is writable for its length, and it is the latest.
        unsafe {
            room.start.write_bytes(byte, len);
            Some(arena.take(&room, len))
        }
    }

    #[test]
    fn live_chunks_never_overlap_and_a_full_arena_says_so() {
        let mut arena = Arena::new(4096);
        let chunks: Vec<_> = (0..).map_while(|n| fill(&mut arena, n, 100)).collect();
        assert_eq!(chunks.len(), 32);
        for (n, chunk) in chunks.iter().enumerate() {
            assert!(chunk.iter().all(|b| usize::from(*b) == n));
        }
    }

    #[test]
    fn memory_starts_over_only_when_no_chunk_is_alive() {
        let mut arena = Arena::new(4096);
        let kept = fill(&mut arena, 1, 4000).expect("room");
        arena.recycle(1000);
        let other = fill(&mut arena, 2, 4000).expect("a fresh block");
        assert!(kept.iter().all(|b| *b == 1) && kept.len() == 4000);
        drop(other);
        arena.recycle(1000);
        let reused = fill(&mut arena, 3, 10).expect("the same block");
        assert_eq!(reused.as_ptr(), arena.block.bytes(0, 1).as_ptr());
        drop(arena);
        assert_eq!(&*reused, [3; 10]);
    }

    #[test]
    fn a_chunk_of_nothing_is_the_end_of_a_stream() {
        assert!(Chunk::empty().is_empty() && Chunk::from(Vec::new()).is_empty());
        assert_eq!(&*Chunk::from(vec![7]), [7]);
    }
}
