// SPDX-License-Identifier: GPL-2.0

//! Open-addressing hash index (hash to `u64`): O(1) lookup by name in the control plane.
//!
//! A number identifies an entry that is stored elsewhere. A lookup passes each number with the hash
//! to the caller, which compares the entry. The index uses linear probing and is at most three
//! quarters full. A removal moves later slots back, without tombstones. With many numbers of one
//! hash a lookup is linear: if the hashed names are attacker-controlled, the hash needs a secret
//! key.

use crate::shim::{
    Array, //
    NoMemory,
};

/// A slot of the table, empty if its number is [`NONE`].
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    number: u64,
}

const NONE: u64 = u64::MAX;

const EMPTY: Slot = Slot {
    hash: 0,
    number: NONE,
};

impl Slot {
    fn is_empty(self) -> bool {
        self.number == NONE
    }
}

/// The number of slots of the smallest table.
const FEWEST: usize = 16;

/// An index from hashes to numbers.
#[derive(Default)]
pub(crate) struct Index {
    /// The length is a power of two.
    slots: Option<Array<Slot>>,
    len: usize,
}

impl Index {
    /// An empty index.
    pub(crate) const fn new() -> Self {
        Self {
            slots: None,
            len: 0,
        }
    }

    /// Reserves a slot for one more number.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails. The index is unchanged then.
    pub(crate) fn reserve(&mut self) -> Result<(), NoMemory> {
        let size = self.slots.as_deref().map_or(0, <[Slot]>::len);
        if self.len < size / 4 * 3 {
            return Ok(());
        }
        let mut larger = Array::new(size.wrapping_mul(2).max(FEWEST), |_| EMPTY)?;
        for slot in self.slots.iter().flat_map(|slots| slots.iter()) {
            if !slot.is_empty() {
                put(&mut larger, *slot);
            }
        }
        self.slots = Some(larger);
        Ok(())
    }

    /// Adds a number with `hash`. The caller has [`reserve`](Self::reserve)d a slot; otherwise the
    /// number may not be added.
    pub(crate) fn insert(&mut self, hash: u32, number: u64) {
        if let Some(slots) = &mut self.slots {
            put(slots, Slot { hash, number });
            self.len = self.len.wrapping_add(1);
        }
    }

    /// Returns the first number with `hash` for which `is_it` returns `true`.
    pub(crate) fn find(&self, hash: u32, is_it: impl FnMut(u64) -> bool) -> Option<u64> {
        let slots = self.slots.as_deref()?;
        Some(slots.get(place(slots, hash, is_it)?)?.number)
    }

    /// Removes `number` with `hash`, if it is in the index.
    pub(crate) fn remove(&mut self, hash: u32, number: u64) {
        if let Some(slots) = self.slots.as_deref_mut() {
            if let Some(hole) = place(slots, hash, |other| other == number) {
                close(slots, hole);
                self.len = self.len.wrapping_sub(1);
            }
        }
    }
}

/// Returns the indexes of the slots in probing order, starting at the home slot of `hash`.
fn from_home(slots: &[Slot], hash: u32) -> impl Iterator<Item = usize> {
    let mask = slots.len().wrapping_sub(1);
    (0..slots.len()).map(move |distance| (hash as usize).wrapping_add(distance) & mask)
}

/// Writes `slot` to the first empty slot in its probing order.
fn put(slots: &mut [Slot], slot: Slot) {
    for at in from_home(slots, slot.hash) {
        if let Some(place) = slots.get_mut(at).filter(|place| place.is_empty()) {
            *place = slot;
            return;
        }
    }
}

/// Returns the index of the first slot with `hash` for whose number `is_it` returns `true`.
fn place(slots: &[Slot], hash: u32, mut is_it: impl FnMut(u64) -> bool) -> Option<usize> {
    from_home(slots, hash)
        .map_while(|at| Some((at, slots.get(at).filter(|slot| !slot.is_empty())?)))
        .find(|(_, slot)| slot.hash == hash && is_it(slot.number))
        .map(|(at, _)| at)
}

/// Empties a slot and moves the slots after it towards their home slots.
fn close(slots: &mut [Slot], mut hole: usize) {
    let mask = slots.len().wrapping_sub(1);
    let distance = |from: usize, to: usize| to.wrapping_sub(from) & mask;
    let mut at = hole;
    loop {
        at = at.wrapping_add(1) & mask;
        let Some(slot) = slots.get(at).copied().filter(|slot| !slot.is_empty()) else {
            break;
        };
        if distance(slot.hash as usize, at) >= distance(hole, at) {
            if let Some(place) = slots.get_mut(hole) {
                *place = slot;
            }
            hole = at;
        }
    }
    if let Some(place) = slots.get_mut(hole) {
        *place = EMPTY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn add(index: &mut Index, hash: u32, number: u64) {
        index.reserve().unwrap();
        index.insert(hash, number);
    }

    fn has(index: &Index, hash: u32, number: u64) -> bool {
        index.find(hash, |other| other == number) == Some(number)
    }

    #[test]
    fn all_are_found_however_hashes_collide() {
        for buckets in [1, 3, 100, u32::MAX] {
            let (mut index, mut model) = (Index::new(), HashSet::new());
            let mut random = 1;
            for _ in 0..3000 {
                random = u32::wrapping_mul(random, 1_664_525).wrapping_add(1_013_904_223);
                let number = u64::from(random >> 16) % 400;
                // Includes the last home slots, so that probing wraps.
                let hash = (number as u32 % buckets).wrapping_sub(2);
                if model.remove(&number) {
                    index.remove(hash, number);
                } else {
                    model.insert(number);
                    add(&mut index, hash, number);
                }
                assert_eq!(index.len, model.len());
            }
            for number in 0..400 {
                let hash = (number as u32 % buckets).wrapping_sub(2);
                assert_eq!(has(&index, hash, number), model.contains(&number));
            }
        }
    }

    #[test]
    fn who_looks_decides() {
        let mut index = Index::new();
        for number in [5, 6, 7] {
            add(&mut index, 1, number);
        }
        let mut asked = vec![];
        let found = index.find(1, |number| {
            asked.push(number);
            number == 6
        });
        assert_eq!((found, asked), (Some(6), vec![5, 6]));
        // A closure that always returns false is called for each number; the trash uses this.
        let mut asked = vec![];
        index.find(1, |number| {
            asked.push(number);
            false
        });
        assert_eq!(asked, [5, 6, 7]);
        assert_eq!(index.find(2, |_| true), None);
    }

    #[test]
    fn what_is_not_there_is_not_taken_out() {
        let mut index = Index::new();
        index.remove(1, 1);
        add(&mut index, 1, 1);
        index.remove(2, 1);
        index.remove(1, 2);
        assert!(has(&index, 1, 1));
    }
}
