// SPDX-License-Identifier: GPL-2.0

//! Immutable array list with O(1) prepend; versions share their backing store.
//!
//! A [`HeadList`] never changes. [`HeadList::with`] makes a version with one more element in front,
//! which shares the memory of the older versions. Adding elements one by one, and publishing each
//! version, takes linear time, as pushing to a `Vec` would.
//!
//! The versions of a list share a [`Chunk`]. A version that needs a new chunk takes over the
//! references of the version that it was made from, instead of taking and later dropping one
//! reference per element. The new chunk is then the [`Successor`] of the old one.
//!
//! The kernel crate has no persistent array. `Arc<[T]>` and `KVec` copy all elements for each
//! version: adding thousands of elements one by one takes quadratic time.

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
            Relaxed,
            Release, //
        },
        Arc,
        SetOnce, //
    }, //
};

use super::rcu_arc::{
    Object,
    RcuArc, //
};

/// The minimum number of empty slots of a new chunk: an element is often removed and added again.
const SPARE: usize = 4;

/// A slot number that no slot has.
const NONE: usize = usize::MAX;

/// Memory for elements, used from its end to its start.
///
/// # Invariants
///
/// - The slots from `first` on hold elements, except for one that [`Chunk::put`] is writing or that
///   a [`Draft`] is reading as it is dropped.
/// - Without a successor, the chunk owns its elements. With one, it owns those before
///   `successor.from` and the one in `successor.removed`; all others are copies of elements that
///   `successor.chunk`, or a later successor, owns.
struct Chunk<T: Object> {
    slots: KVVec<UnsafeCell<MaybeUninit<RcuArc<T>>>>,
    first: Atomic<usize>,
    successor: SetOnce<Successor<T>>,
}

/// The chunk that owns elements of its predecessor.
struct Successor<T: Object> {
    chunk: Arc<Chunk<T>>,
    /// The successor owns the elements from this slot on,
    from: usize,
    /// except for the one in this slot.
    removed: usize,
}

// SAFETY: A slot is written once, by the caller that moved `first` to it, before any version
// contains it.
unsafe impl<T: Object> Sync for Chunk<T> {}

// SAFETY: The references that the chunk owns may be dropped in any context.
unsafe impl<T: Object> Send for Chunk<T> {}

impl<T: Object> Chunk<T> {
    /// Creates a chunk that may take over `elements`, except for the one at `skip`, behind `spare`
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
            successor: SetOnce::new(),
        })
    }

    /// Writes an element to the slot before `first` and returns the slot. Fails if the chunk is
    /// full or `first` is not the chunk's first element any more.
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
        // SAFETY: This call moved `first` to the slot, so no other call writes it. No version
        // contains the slot before this function returns it.
        unsafe { (*cell.get()).write(value) };
        Ok(slot)
    }

    /// Drops the elements that the chunk owns and returns its successor. The chunk is then empty
    /// and has no successor.
    fn clear(&mut self) -> Option<Arc<Self>> {
        let successor = mem::take(&mut self.successor);
        let successor = successor.as_ref();
        let (from, removed) = successor.map_or((self.slots.len(), NONE), |successor| {
            (successor.from, successor.removed)
        });
        // INVARIANT: No slot holds an element any more.
        let first = self.first.xchg(self.slots.len(), Relaxed);
        for slot in Iterator::chain(first..from, [removed]) {
            if let Some(cell) = self.slots.get_mut(slot) {
                // SAFETY: By the type invariants the slot held an element that the chunk owns, and
                // no slot is being written now.
                unsafe { cell.get_mut().assume_init_drop() };
            }
        }
        successor.map(|successor| successor.chunk.clone())
    }
}

impl<T: Object> Drop for Chunk<T> {
    fn drop(&mut self) {
        let mut successor = self.clear();
        // Drop the successors in a loop, not recursively: there may be many.
        while let Some(mut chunk) = successor.and_then(Arc::into_unique_or_drop) {
            successor = chunk.clear();
        }
    }
}

/// A list of references, newest first.
///
/// # Invariants
///
/// The slots of `chunk` from `first` on hold elements.
pub(crate) struct HeadList<T: Object> {
    chunk: Option<Arc<Chunk<T>>>,
    first: usize,
}

impl<T: Object> HeadList<T> {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            chunk: None,
            first: 0,
        }
    }

    /// The elements, newest first.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[RcuArc<T>] {
        let Some(slots) = self
            .chunk
            .as_ref()
            .and_then(|chunk| chunk.slots.get(self.first..))
        else {
            return &[];
        };
        // SAFETY: By the type invariants the slots hold elements. These are not written again, and
        // their owner exists as long as the chunk.
        unsafe { core::slice::from_raw_parts(slots.as_ptr().cast(), slots.len()) }
    }

    /// Returns a version of this list with `value` prepended.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn with(&self, value: RcuArc<T>, flags: Flags) -> Result<Draft<T>> {
        let value = match &self.chunk {
            None => value,
            Some(chunk) => match chunk.put(self.first, value) {
                Ok(first) => return Ok(Draft::added(chunk, first)),
                // The chunk is full, or another version uses the slot.
                Err(value) => value,
            },
        };
        let spare = self.as_slice().len().saturating_add(SPARE);
        self.moved(NONE, spare, flags)?.with(value, flags)
    }

    /// Returns a version of this list without the element at `index`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn without(&self, index: usize, flags: Flags) -> Result<Self> {
        self.moved(index, SPARE, flags)
    }

    /// Copies the list without the element at `skip` to a new chunk with `spare` empty slots.
    fn moved(&self, skip: usize, spare: usize, flags: Flags) -> Result<Self> {
        let chunk = Arc::new(Chunk::new(self.as_slice(), skip, spare, flags)?, flags)?;
        if !self.hand_over(&chunk, skip) {
            // Another chunk already owns the elements, so take a reference to each.
            for (number, element) in self.as_slice().iter().enumerate() {
                if number != skip {
                    mem::forget(element.clone());
                }
            }
        }
        // INVARIANT: The slots from there on hold copies of elements that the new chunk now owns.
        chunk.first.store(spare, Relaxed);
        Ok(Self {
            chunk: Some(chunk),
            first: spare,
        })
    }

    /// Makes `to` the owner of the elements without the one at `skip`. Fails if the chunk already
    /// has a successor.
    fn hand_over(&self, to: &Arc<Chunk<T>>, skip: usize) -> bool {
        let Some(chunk) = &self.chunk else {
            return false;
        };
        // INVARIANT: The successor has copies of the elements and is about to own them.
        chunk.successor.populate(Successor {
            chunk: to.clone(),
            from: self.first,
            removed: self.first.saturating_add(skip),
        })
    }
}

impl<T: Object> Clone for HeadList<T> {
    fn clone(&self) -> Self {
        // INVARIANT: As for `self`.
        Self {
            chunk: self.chunk.clone(),
            first: self.first,
        }
    }
}

/// An unpublished version of a list. Dropping it removes its new element again.
///
/// # Invariants
///
/// If `is_added`, no other version contains the first element of `list`, and the chunk owns it.
pub(crate) struct Draft<T: Object> {
    list: HeadList<T>,
    is_added: bool,
}

impl<T: Object> Draft<T> {
    /// Returns the version whose first slot `first` was just filled.
    fn added(chunk: &Arc<Chunk<T>>, first: usize) -> Self {
        // INVARIANT: The slot was just filled, for this version only. If the chunk has a successor,
        // it was made from another version, so it does not own the slot.
        Self {
            list: HeadList {
                chunk: Some(chunk.clone()),
                first,
            },
            is_added: true,
        }
    }

    /// The elements, newest first.
    pub(crate) fn as_slice(&self) -> &[RcuArc<T>] {
        self.list.as_slice()
    }

    /// Publishes the version: its new element stays.
    pub(crate) fn publish(mut self) -> HeadList<T> {
        self.is_added = false;
        self.list.clone()
    }
}

impl<T: Object> From<HeadList<T>> for Draft<T> {
    fn from(list: HeadList<T>) -> Self {
        // INVARIANT: Nothing was added.
        Self {
            list,
            is_added: false,
        }
    }
}

impl<T: Object> Drop for Draft<T> {
    fn drop(&mut self) {
        let (true, Some(chunk)) = (self.is_added, &self.list.chunk) else {
            return;
        };
        let first = self.list.first;
        let Some(cell) = chunk.slots.get(first) else {
            return;
        };
        // SAFETY: By the type invariants the slot holds an element that the chunk owns and no other
        // version contains.
        let element = unsafe { (*cell.get()).assume_init_read() };
        // INVARIANT: The slot no longer holds an element. `first` was this slot until now: only a
        // version that contains the slot can move `first` further.
        self.list.first = first.saturating_add(1);
        chunk.first.store(self.list.first, Release);
        drop(element);
    }
}
