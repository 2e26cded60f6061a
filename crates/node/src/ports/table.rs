//! What the real-time thread knows of its ports, found by [`PortId`] in one step.

// Which of these are used depends on the backends that are built.
#![cfg_attr(not(feature = "jack"), allow(dead_code))]

use midip2p_proto::id::PortId;

/// A table of at most `capacity` entries. All memory is taken when it is made: afterwards nothing
/// allocates or frees, so the real-time thread may change it.
pub(crate) struct PortTable<T> {
    slots: Vec<Option<T>>,
    free: Vec<u16>,
    /// By port id: its slot plus one; 0 for none.
    index: Box<[u16]>,
}

impl<T> PortTable<T> {
    /// An empty table.
    pub(crate) fn new(capacity: u16) -> Self {
        Self {
            slots: (0..capacity).map(|_| None).collect(),
            free: (0..capacity).rev().collect(),
            index: vec![0; usize::from(u16::MAX) + 1].into_boxed_slice(),
        }
    }

    /// Puts `entry` in; hands back what was there under the same id, or `entry` itself when the table
    /// is full or `id` is [`PortId::NONE`].
    pub(crate) fn insert(&mut self, id: PortId, entry: T) -> Result<Option<T>, T> {
        if id == PortId::NONE {
            return Err(entry);
        }
        if let Some(present) = self.get_mut(id) {
            return Ok(Some(std::mem::replace(present, entry)));
        }
        let Some(slot) = self.free.pop() else { return Err(entry) };
        self.slots[usize::from(slot)] = Some(entry);
        self.index[usize::from(id.0)] = slot + 1;
        Ok(None)
    }

    /// Takes the entry out; `None` when there is none.
    pub(crate) fn remove(&mut self, id: PortId) -> Option<T> {
        let slot = self.index[usize::from(id.0)].checked_sub(1)?;
        self.index[usize::from(id.0)] = 0;
        self.free.push(slot);
        self.slots[usize::from(slot)].take()
    }

    /// The entry of `id`.
    pub(crate) fn get_mut(&mut self, id: PortId) -> Option<&mut T> {
        let slot = Places(&self.index).slot(id)?;
        self.slots[slot].as_mut()
    }

    /// All entries, in an order that does not change while they stay.
    pub(crate) fn entries_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    /// The slots, taken or not, and where among them an id's entry lies: for who needs several at once.
    pub(crate) fn split(&mut self) -> (Places<'_>, &mut [Option<T>]) {
        (Places(&self.index), &mut self.slots)
    }
}

/// Where entries lie.
#[derive(Clone, Copy)]
pub(crate) struct Places<'a>(&'a [u16]);

impl Places<'_> {
    /// The slot of `id`.
    pub(crate) fn slot(self, id: PortId) -> Option<usize> {
        self.0[usize::from(id.0)].checked_sub(1).map(usize::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_replaced_and_their_room_is_used_again() {
        let mut table = PortTable::new(2);
        assert_eq!(table.insert(PortId(7), 'a'), Ok(None));
        assert_eq!(table.insert(PortId(u16::MAX), 'b'), Ok(None));
        assert_eq!(table.insert(PortId(1), 'c'), Err('c'));
        assert_eq!(table.insert(PortId(7), 'd'), Ok(Some('a')));
        assert_eq!(table.get_mut(PortId(7)), Some(&mut 'd'));
        assert_eq!(table.remove(PortId(7)), Some('d'));
        assert_eq!(table.remove(PortId(7)), None);
        assert_eq!(table.insert(PortId(1), 'e'), Ok(None));
        assert_eq!(table.get_mut(PortId(u16::MAX)), Some(&mut 'b'));
        assert_eq!(table.insert(PortId::NONE, 'f'), Err('f'));
    }
}
