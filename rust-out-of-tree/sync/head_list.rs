// SPDX-License-Identifier: GPL-2.0

//! A list in one piece of memory that grows at its head, while others use it as it was.
//!
//! A [`HeadList`] is a value that never changes. [`HeadList::with`] makes its successor, which has
//! one element more in front, and shares the memory of all others: a list is built in linear time
//! by successors alone, each of which may be published. It is what a `Vec` would be if it could be
//! pushed to while others read it.
//!
//! A successor that needs other memory inherits the references of the list before it, rather than
//! take one for each element that is given back later.

use core::{
    cell::UnsafeCell,
    mem::{
        self,
        MaybeUninit, //
    }, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        SetOnce, //
    }, //
};

use super::rcu_arc::{
    Object,
    RcuArc, //
};

/// The empty slots of a list's memory, at least: a dest that has gone often comes back.
const SPARE: usize = 4;

/// No slot has this number.
const NONE: usize = usize::MAX;

/// Room for elements, used from its end to its start.
///
/// # Invariants
///
/// - The slots from `first` on hold elements, but for one that [`HeadList::with`] is writing.
/// - The room owns them, unless it has an heir: then it owns those before `heir.from` and that in
///   `heir.left`. All others are copies of what `heir.room`, or an heir of that, owns.
struct Room<T: Object> {
    slots: KVVec<UnsafeCell<MaybeUninit<RcuArc<T>>>>,
    first: Atomic<usize>,
    heir: SetOnce<Heir<T>>,
}

/// Who has inherited the elements of a room.
struct Heir<T: Object> {
    room: Arc<Room<T>>,
    /// It has those from this slot on,
    from: usize,
    /// but not that in this slot.
    left: usize,
}

// SAFETY: A slot is written once, by who moved `first` there, before anybody else knows of it.
unsafe impl<T: Object> Sync for Room<T> {}

// SAFETY: The references that the room owns may be dropped anywhere.
unsafe impl<T: Object> Send for Room<T> {}

impl<T: Object> Room<T> {
    /// A room that may become the owner of these elements but the one at `skip`, behind `spare`
    /// empty slots.
    fn new(elements: &[RcuArc<T>], skip: usize, spare: usize, flags: Flags) -> Result<Self> {
        let mut slots = KVVec::with_capacity(spare.saturating_add(elements.len()), flags)?;
        let mut push = |slot| {
            slots
                .push_within_capacity(UnsafeCell::new(slot))
                .map_err(|_| ENOMEM)
        };
        for _ in 0..spare {
            push(MaybeUninit::uninit())?;
        }
        let (before, after) = elements.split_at_checked(skip).unwrap_or((elements, &[]));
        for part in [before, after.get(1..).unwrap_or(&[])] {
            for element in part {
                let element: *const MaybeUninit<RcuArc<T>> = (&raw const *element).cast();
                // SAFETY: The reference is valid for reads, and a `MaybeUninit` is never dropped.
                push(unsafe { element.read() })?;
            }
        }
        // INVARIANT: There are no slots from `first` on.
        Ok(Self {
            first: Atomic::new(slots.len()),
            slots,
            heir: SetOnce::new(),
        })
    }

    /// Puts an element before the slot `first`, if that is where the room's elements begin, and
    /// gives its slot.
    fn put(&self, first: usize, value: RcuArc<T>) -> Result<usize, RcuArc<T>> {
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

impl<T: Object> Room<T> {
    /// Drops what the room owns, and gives its heir: after that it has neither elements nor heir.
    fn vacate(&mut self) -> Option<Arc<Self>> {
        let heir = mem::take(&mut self.heir);
        let heir = heir.as_ref();
        let (from, left) = heir.map_or((self.slots.len(), NONE), |heir| (heir.from, heir.left));
        // INVARIANT: No slot holds an element any more.
        let first = self.first.xchg(self.slots.len(), Relaxed);
        for slot in Iterator::chain(first..from, [left]) {
            if let Some(cell) = self.slots.get_mut(slot) {
                // SAFETY: By the type invariants it held an element of ours, and nobody is writing
                // now.
                unsafe { cell.get_mut().assume_init_drop() };
            }
        }
        heir.map(|heir| heir.room.clone())
    }
}

impl<T: Object> Drop for Room<T> {
    fn drop(&mut self) {
        let mut heir = self.vacate();
        // One after the other rather than each within the end of the one before: there may be many.
        while let Some(mut room) = heir.and_then(Arc::into_unique_or_drop) {
            heir = room.vacate();
        }
    }
}

/// A list of references, newest first.
///
/// # Invariants
///
/// The slots of `room` from `first` on hold elements.
pub(crate) struct HeadList<T: Object> {
    room: Option<Arc<Room<T>>>,
    first: usize,
}

impl<T: Object> HeadList<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            room: None,
            first: 0,
        }
    }

    /// The elements.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[RcuArc<T>] {
        let Some(slots) = self
            .room
            .as_ref()
            .and_then(|room| room.slots.get(self.first..))
        else {
            return &[];
        };
        // SAFETY: By the type invariants, they hold elements, which are not written again, and
        // whose owner lives as long as the room.
        unsafe { core::slice::from_raw_parts(slots.as_ptr().cast(), slots.len()) }
    }

    /// The list of `value` and all elements of this one.
    pub(crate) fn with(&self, value: RcuArc<T>, flags: Flags) -> Result<Self> {
        let value = match &self.room {
            None => value,
            Some(room) => match room.put(self.first, value) {
                // INVARIANT: The slot was just filled.
                Ok(first) => {
                    return Ok(Self {
                        room: Some(room.clone()),
                        first,
                    })
                }
                // The room is full, or another successor has taken the slot.
                Err(value) => value,
            },
        };
        let spare = self.as_slice().len().saturating_add(SPARE);
        self.moved(NONE, spare, flags)?.with(value, flags)
    }

    /// The list without its element number `index`.
    pub(crate) fn without(&self, index: usize, flags: Flags) -> Result<Self> {
        self.moved(index, SPARE, flags)
    }

    /// The list without its element number `skip`, in a room of its own with so many empty slots.
    fn moved(&self, skip: usize, spare: usize, flags: Flags) -> Result<Self> {
        let room = Arc::new(Room::new(self.as_slice(), skip, spare, flags)?, flags)?;
        if !self.leave_to(&room, skip) {
            // Another successor inherits them.
            for (number, element) in self.as_slice().iter().enumerate() {
                if number != skip {
                    mem::forget(element.clone());
                }
            }
        }
        // INVARIANT: The slots from there on hold copies of elements that are its own now.
        room.first.store(spare, Relaxed);
        Ok(Self {
            room: Some(room),
            first: spare,
        })
    }

    /// Has `heir` inherit the elements but number `skip`, unless another room did before.
    fn leave_to(&self, heir: &Arc<Room<T>>, skip: usize) -> bool {
        let Some(room) = &self.room else {
            return false;
        };
        // INVARIANT: The heir has copies of them, and is about to be their owner.
        room.heir.populate(Heir {
            room: heir.clone(),
            from: self.first,
            left: self.first.saturating_add(skip),
        })
    }
}

impl<T: Object> Clone for HeadList<T> {
    fn clone(&self) -> Self {
        // INVARIANT: As for `self`.
        Self {
            room: self.room.clone(),
            first: self.first,
        }
    }
}
