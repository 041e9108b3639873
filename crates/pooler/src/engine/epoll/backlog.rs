//! Written bytes that the kernel had no room for.
//!
//! Invariant: never empty while it exists; order is order of writing.

/// A queue of bytes.
pub(super) struct Backlog {
    bytes: Vec<u8>,
    /// How many of them have left.
    gone: usize,
}

impl Backlog {
    /// Departed bytes beyond which room is made by moving the rest.
    const COMPACT: usize = 64 << 10;

    pub(super) fn new() -> Self {
        Self { bytes: Vec::new(), gone: 0 }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.gone >= Self::COMPACT && self.gone >= self.bytes.len() / 2 {
            self.bytes.drain(..self.gone);
            self.gone = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.gone..]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.gone
    }

    pub(super) fn advance(&mut self, len: usize) {
        assert!(len <= self.len(), "no more leaves than was there");
        self.gone += len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_leave_in_the_order_they_came_across_compaction() {
        let mut backlog = Backlog::new();
        let (mut came, mut left) = (0_usize, 0_usize);
        for round in 1..300 {
            let piece: Vec<u8> = (came..came + 1_000).map(|n| (n % 251) as u8).collect();
            backlog.push(&piece);
            came += piece.len();
            let leaving = (round * 37 % 1_400).min(backlog.len());
            for byte in &backlog.bytes()[..leaving] {
                assert_eq!(usize::from(*byte), left % 251);
                left += 1;
            }
            backlog.advance(leaving);
            assert_eq!(backlog.len(), came - left);
        }
    }
}
