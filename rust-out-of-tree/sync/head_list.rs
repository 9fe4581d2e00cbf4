// SPDX-License-Identifier: GPL-2.0

//! Immutable array list with O(1) prepend; versions share their backing store.
//!
//! A [`HeadList`] is a value that never changes. [`HeadList::with`] makes a version with one element
//! more in front, which shares the memory of all others: a list is built in linear time by versions
//! alone, each of which may be published. It is what a `Vec` would be if it could be pushed to while
//! readers use it.
//!
//! The versions of a list lie in a [`Chunk`]. One that needs another chunk takes over the references
//! of the version before it, rather than take one for each element that is given back later: the
//! other chunk is the [`Successor`] of the first.
//!
//! The kernel crate has no persistent array; `Arc<[T]>` and `KVec` copy all elements for each
//! version, which is quadratic where thousands of elements are added one by one.

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

/// The empty slots of a new chunk, at least: an element is often removed and added again.
const SPARE: usize = 4;

/// No slot has this number.
const NONE: usize = usize::MAX;

/// Memory for elements, used from its end to its start.
///
/// # Invariants
///
/// - The slots from `first` on hold elements, but for one that [`Chunk::put`] is writing or
///   [`Draft`]'s end is reading.
/// - The chunk owns them, unless it has a successor: then it owns those before `successor.from` and
///   that in `successor.removed`. All others are copies of what `successor.chunk`, or a successor of
///   that, owns.
struct Chunk<T: Object> {
    slots: KVVec<UnsafeCell<MaybeUninit<RcuArc<T>>>>,
    first: Atomic<usize>,
    successor: SetOnce<Successor<T>>,
}

/// The chunk that owns the elements of another.
struct Successor<T: Object> {
    chunk: Arc<Chunk<T>>,
    /// It owns those from this slot on,
    from: usize,
    /// but not that in this slot.
    removed: usize,
}

// SAFETY: A slot is written once, by the one that moved `first` there, before any version has it.
unsafe impl<T: Object> Sync for Chunk<T> {}

// SAFETY: The references that the chunk owns may be dropped anywhere.
unsafe impl<T: Object> Send for Chunk<T> {}

impl<T: Object> Chunk<T> {
    /// A chunk that may become the owner of these elements but the one at `skip`, behind `spare`
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

    /// Puts an element before the slot `first`, if that is where the chunk's elements begin, and
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
        // SAFETY: We have moved `first` to this slot, so that it is ours alone to write; no version
        // has it before we say that it is filled.
        unsafe { (*cell.get()).write(value) };
        Ok(slot)
    }

    /// Drops what the chunk owns, and gives its successor: after that it has neither elements nor a
    /// successor.
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
                // SAFETY: By the type invariants it held an element of ours, and none is being
                // written now.
                unsafe { cell.get_mut().assume_init_drop() };
            }
        }
        successor.map(|successor| successor.chunk.clone())
    }
}

impl<T: Object> Drop for Chunk<T> {
    fn drop(&mut self) {
        let mut successor = self.clear();
        // One after the other rather than each within the end of the one before: there may be many.
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
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            chunk: None,
            first: 0,
        }
    }

    /// The elements.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[RcuArc<T>] {
        let Some(slots) = self
            .chunk
            .as_ref()
            .and_then(|chunk| chunk.slots.get(self.first..))
        else {
            return &[];
        };
        // SAFETY: By the type invariants, they hold elements, which are not written again, and
        // whose owner lives as long as the chunk.
        unsafe { core::slice::from_raw_parts(slots.as_ptr().cast(), slots.len()) }
    }

    /// The list of `value` and all elements of this one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn with(&self, value: RcuArc<T>, flags: Flags) -> Result<Draft<T>> {
        let value = match &self.chunk {
            None => value,
            Some(chunk) => match chunk.put(self.first, value) {
                Ok(first) => return Ok(Draft::added(chunk, first)),
                // The chunk is full, or another version has taken the slot.
                Err(value) => value,
            },
        };
        let spare = self.as_slice().len().saturating_add(SPARE);
        self.moved(NONE, spare, flags)?.with(value, flags)
    }

    /// The list without its element number `index`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn without(&self, index: usize, flags: Flags) -> Result<Self> {
        self.moved(index, SPARE, flags)
    }

    /// The list without its element number `skip`, in a chunk of its own with `spare` empty slots.
    fn moved(&self, skip: usize, spare: usize, flags: Flags) -> Result<Self> {
        let chunk = Arc::new(Chunk::new(self.as_slice(), skip, spare, flags)?, flags)?;
        if !self.hand_over(&chunk, skip) {
            // They have gone to another chunk.
            for (number, element) in self.as_slice().iter().enumerate() {
                if number != skip {
                    mem::forget(element.clone());
                }
            }
        }
        // INVARIANT: The slots from there on hold copies of elements that are its own now.
        chunk.first.store(spare, Relaxed);
        Ok(Self {
            chunk: Some(chunk),
            first: spare,
        })
    }

    /// Makes `to` the owner of the elements but number `skip`, unless another chunk is.
    fn hand_over(&self, to: &Arc<Chunk<T>>, skip: usize) -> bool {
        let Some(chunk) = &self.chunk else {
            return false;
        };
        // INVARIANT: The successor has copies of them, and is about to be their owner.
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

/// A version of a list that may come to nothing: dropped, it gives its new element back.
///
/// # Invariants
///
/// If `is_added`, no other version has the first element of `list`, which its chunk owns.
pub(crate) struct Draft<T: Object> {
    list: HeadList<T>,
    is_added: bool,
}

impl<T: Object> Draft<T> {
    /// The version of a chunk whose slot `first` was just filled.
    fn added(chunk: &Arc<Chunk<T>>, first: usize) -> Self {
        // INVARIANT: The slot was just filled, for this version alone. A successor of the chunk was
        // made of another version: it does not own it.
        Self {
            list: HeadList {
                chunk: Some(chunk.clone()),
                first,
            },
            is_added: true,
        }
    }

    /// The elements.
    pub(crate) fn as_slice(&self) -> &[RcuArc<T>] {
        self.list.as_slice()
    }

    /// The list, which stays.
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
        // SAFETY: By the type invariants the slot holds an element, which the chunk owns and no
        // other version has: it is ours to take.
        let element = unsafe { (*cell.get()).assume_init_read() };
        // INVARIANT: The slot holds none any more. Until now `first` was there, since only a
        // version that has the slot can move it on.
        self.list.first = first.saturating_add(1);
        chunk.first.store(self.list.first, Release);
        drop(element);
    }
}
