//! A dense table of sockets with generations.
//!
//! Invariant: a name is valid from its insert to its remove and never again; a slot's
//! generation changes at each remove.
//! Not here: what a slot holds.

use super::Socket;

/// Values named by [`Socket`].
pub(super) struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
}

struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, value: T) -> Socket {
        self.insert_with(|_| value)
    }

    /// Inserts a value that wants to know its own name.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(Socket) -> T) -> Socket {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, value: None });
            u32::try_from(self.entries.len() - 1).expect("fewer sockets than descriptors exist")
        });
        let entry = &mut self.entries[index as usize];
        let socket = Socket { index, generation: entry.generation };
        entry.value = Some(make(socket));
        socket
    }

    #[inline]
    pub(super) fn get(&self, socket: Socket) -> Option<&T> {
        let entry = self.entries.get(socket.index())?;
        if entry.generation == socket.generation { entry.value.as_ref() } else { None }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, socket: Socket) -> Option<&mut T> {
        let entry = self.entries.get_mut(socket.index())?;
        if entry.generation == socket.generation { entry.value.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, socket: Socket) -> Option<T> {
        let entry = self.entries.get_mut(socket.index())?;
        if entry.generation != socket.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(socket.index);
        Some(value)
    }

    /// Takes all values out, in order of their slots.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.free.clear();
        std::mem::take(&mut self.entries).into_iter().filter_map(|entry| entry.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_name_is_never_valid_again() {
        let mut slots = Slots::new();
        let first = slots.insert(1);
        assert_eq!(slots.remove(first), Some(1));
        let second = slots.insert(2);
        assert_eq!(second.index(), first.index());
        assert_eq!((slots.get(first), slots.get(second)), (None, Some(&2)));
        assert_eq!(slots.remove(first), None);
        assert_eq!(Socket::from_bits(second.to_bits()), second);
    }
}
