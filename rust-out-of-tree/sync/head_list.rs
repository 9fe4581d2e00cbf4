// SPDX-License-Identifier: GPL-2.0

//! A list in one piece of memory that grows at its head, while others use it as it was.
//!
//! A [`HeadList`] is a value that never changes. [`HeadList::with`] makes its successor, which has
//! one element more in front, and shares the memory of all others: a list is built in linear time
//! by successors alone, each of which may be published. It is what a `Vec` would be if it could be
//! pushed to while others read it.

use core::mem::MaybeUninit;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc, //
    }, //
};

/// Room for elements, used from its end to its start.
///
/// # Invariants
///
/// The slots from `first` on hold elements, but for one that [`HeadList::with`] is writing.
struct Room<T> {
    slots: KVVec<core::cell::UnsafeCell<MaybeUninit<T>>>,
    first: Atomic<usize>,
}

// SAFETY: A slot is written once, by who moved `first` there, before anybody else knows of it.
unsafe impl<T: Send + Sync> Sync for Room<T> {}

// SAFETY: The room owns its elements.
unsafe impl<T: Send> Send for Room<T> {}

impl<T> Room<T> {
    /// A room with `spare` empty slots before these elements, `count` of them.
    fn new(
        spare: usize,
        elements: impl Iterator<Item = T>,
        count: usize,
        flags: Flags,
    ) -> Result<Self> {
        let mut slots = KVVec::with_capacity(spare.saturating_add(count), flags)?;
        let empty = (0..spare).map(|_| MaybeUninit::uninit());
        for slot in Iterator::chain(empty, elements.map(MaybeUninit::new).take(count)) {
            slots
                .push_within_capacity(core::cell::UnsafeCell::new(slot))
                .map_err(|_| ENOMEM)?;
        }
        // INVARIANT: The slots behind the empty ones have just been filled.
        Ok(Self {
            slots,
            first: Atomic::new(spare),
        })
    }

    /// Puts an element before the slot `first`, if that is where the room's elements begin, and
    /// gives its slot.
    fn put(&self, first: usize, value: T) -> Result<usize, T> {
        let Some((slot, cell)) = first
            .checked_sub(1)
            .and_then(|slot| Some((slot, self.slots.get(slot)?)))
        else {
            return Err(value);
        };
        if self.first.cmpxchg(first, slot, Full).is_err() {
            return Err(value);
        }
        // SAFETY: We have moved `first` to this slot, so that it is ours alone to write; nobody
        // reads it before we say that it is filled.
        unsafe { (*cell.get()).write(value) };
        Ok(slot)
    }
}

impl<T> Drop for Room<T> {
    fn drop(&mut self) {
        let first = self.first.load(Relaxed);
        for slot in self.slots.iter_mut().skip(first) {
            // SAFETY: By the type invariants, it holds an element, and nobody is writing now.
            unsafe { slot.get_mut().assume_init_drop() };
        }
    }
}

/// A list of elements, newest first.
///
/// # Invariants
///
/// The slots of `room` from `first` on hold elements.
pub(crate) struct HeadList<T> {
    room: Option<Arc<Room<T>>>,
    first: usize,
}

impl<T> HeadList<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            room: None,
            first: 0,
        }
    }

    /// The elements.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[T] {
        let Some(slots) = self
            .room
            .as_ref()
            .and_then(|room| room.slots.get(self.first..))
        else {
            return &[];
        };
        // SAFETY: By the type invariants, they hold elements, which are not written again.
        unsafe { core::slice::from_raw_parts(slots.as_ptr().cast(), slots.len()) }
    }
}

impl<T: Clone> HeadList<T> {
    /// The list of `value` and all elements of this one.
    pub(crate) fn with(&self, value: T, flags: Flags) -> Result<Self> {
        let Some(room) = &self.room else {
            return self.copied(4, usize::MAX, flags)?.with(value, flags);
        };
        match room.put(self.first, value) {
            // INVARIANT: The slot was just filled.
            Ok(first) => Ok(Self {
                room: Some(room.clone()),
                first,
            }),
            // The room is full, or another successor has taken the slot.
            Err(value) => {
                let spare = self.as_slice().len().saturating_add(2);
                self.copied(spare, usize::MAX, flags)?.with(value, flags)
            }
        }
    }

    /// The list without its element number `index`.
    pub(crate) fn without(&self, index: usize, flags: Flags) -> Result<Self> {
        self.copied(0, index, flags)
    }

    /// The list without its element number `skip`, in a room of its own with so many empty slots.
    fn copied(&self, spare: usize, skip: usize, flags: Flags) -> Result<Self> {
        let elements = self.as_slice();
        let (before, after) = elements.split_at_checked(skip).unwrap_or((elements, &[]));
        let after = after.get(1..).unwrap_or(&[]);
        let room = Room::new(
            spare,
            Iterator::chain(before.iter(), after).cloned(),
            before.len().wrapping_add(after.len()),
            flags,
        )?;
        // INVARIANT: The slots from there on hold the elements.
        Ok(Self {
            room: Some(Arc::new(room, flags)?),
            first: spare,
        })
    }
}

impl<T> Clone for HeadList<T> {
    fn clone(&self) -> Self {
        // INVARIANT: As for `self`.
        Self {
            room: self.room.clone(),
            first: self.first,
        }
    }
}
