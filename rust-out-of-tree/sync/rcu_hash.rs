// SPDX-License-Identifier: GPL-2.0

//! A hash table that readers search under RCU while it changes and resizes.
//!
//! An entry is an [`RcuArc`] to a [`Linked`] value with up to two links, so that one object can be
//! found by two keys. The table owns one reference to each of its entries.
//!
//! # Vocabulary
//!
//! A *bucket* is a word: the address of the first link, bit 0 a spinlock. A chain ends in an *end
//! mark*, the address of its bucket with bit 0 set, so that a reader who strayed into another chain
//! (because the link it stood on was moved) notices and starts again, as in `rhashtable`. The
//! bucket of a hash is its *top* bits: the order of the buckets is the order of the hashes in every
//! size of table, so a cursor survives a resize.
//!
//! # Locking
//!
//! Links are added and removed under their bucket's bit lock with soft interrupts off. A resize
//! (a work item, so one at a time) publishes the successor, waits a grace period until all add
//! there, then moves each bucket: the old bucket's lock is taken before the new one's. A reader
//! that misses in the old table looks into the successor.
//!
//! # Size
//!
//! A table grows when it holds more entries than buckets, and shrinks when it holds less than a
//! 16th. The *load factor* moves that: as a binary logarithm, it is how many entries there are to a
//! bucket.
//!
//! C header: [`include/linux/rhashtable.h`](srctree/include/linux/rhashtable.h)

mod buckets;
mod lengths;
mod walk;

pub(crate) use lengths::ChainLengths;
pub(crate) use walk::Cursor;

use core::{
    marker::PhantomData,
    mem::offset_of,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        rcu, //
    },
    types::Opaque, //
};

use crate::oot::bindings;

use buckets::{
    Bucket,
    Buckets,
    Link,
    Size, //
};

use super::{
    bh,
    once::Once,
    rcu_arc::{
        Object,
        RcuArc,
        RcuRef, //
    }, //
};

/// A value with links for one table.
#[repr(C)]
#[pin_data]
pub(crate) struct Linked<T: Object> {
    links: [Link; 2],
    /// Whether it is in a table, and by how many links.
    state: Atomic<i32>,
    /// The table that it is in, or was last.
    table: Atomic<*mut RcuHash<T>>,
    #[pin]
    value: T,
}

// An entry that was in a table is not added again: readers may still stand on its links.
const NEW: i32 = 0;
const IN_ONE: i32 = 1;
const IN_TWO: i32 = 2;
const GONE: i32 = 3;

impl<T: Object> Linked<T> {
    /// Where the value lies, for those who know it from a field of it.
    pub(super) const VALUE_OFFSET: usize = offset_of!(Self, value);

    /// Wraps a value that is to become an entry.
    pub(crate) fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        let link = |index| Link {
            next: Atomic::new(0),
            hash: Atomic::new(0),
            index,
        };
        pin_init::pin_init!(Self {
            links: [link(0), link(1)],
            state: Atomic::new(NEW),
            table: Atomic::new(core::ptr::null_mut()),
            value <- value,
        }? E)
    }

    /// Takes the entry out of the table that it is in, and gives the table's
    /// reference to the caller; `None` if somebody else did, or is doing so.
    pub(crate) fn unlink(entry: RcuRef<'_, Self>, guard: &rcu::Guard) -> Option<RcuArc<Self>> {
        if entry.state.load(Acquire) == GONE {
            return None;
        }
        // SAFETY: Once set, it is a table that lives until a grace period after all entries were
        // taken out, and this one was in it just now.
        let table = unsafe { entry.table.load(Acquire).as_ref() }?;
        table.remove(guard, entry)
    }
}

impl<T: Object> Object for Linked<T> {
    fn retire(&self) {
        self.value.retire();
    }
}

impl<T: Object> Deref for Linked<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// The entry that a link belongs to.
///
/// # Safety
///
/// `link` must be the address of a link of a `Linked<T>` behind an [`RcuArc`], and that must stay
/// live for `'g`.
#[inline(always)]
unsafe fn entry_of<'g, T: Object>(link: usize) -> RcuRef<'g, Linked<T>> {
    // SAFETY: By the safety requirement it is a live link.
    let index = unsafe { (*(link as *const Link)).index } as usize;
    let linked = link
        .wrapping_sub(index.wrapping_mul(size_of::<Link>()))
        .wrapping_sub(offset_of!(Linked<T>, links));
    // SAFETY: The link lies at that offset of a `Linked<T>` that an `RcuArc` refers to.
    unsafe { RcuRef::from_value(linked as *const Linked<T>) }
}

/// The table.
///
/// # Invariants
///
/// `current` is a table from `KBox::into_raw`. Every link in it belongs to an entry of which the
/// table owns a reference.
#[pin_data(PinnedDrop)]
pub(crate) struct RcuHash<T: Object> {
    current: Atomic<*mut Buckets>,
    len: Atomic<i32>,
    /// The load factor that the next size is to have.
    load: Atomic<i32>,
    /// Whether there has been an entry.
    used: Atomic<u32>,
    #[pin]
    resize: Opaque<bindings::work_struct>,
    _owns: PhantomData<RcuArc<Linked<T>>>,
}

// SAFETY: Readers get `&T` and writers drop `T` in any context; an `Object` is `Send + Sync`.
unsafe impl<T: Object> Sync for RcuHash<T> {}

// SAFETY: As above.
unsafe impl<T: Object> Send for RcuHash<T> {}

impl<T: Object> RcuHash<T> {
    /// An empty table of the smallest size.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            current: Atomic::new(KBox::into_raw(Buckets::new(Size::SMALLEST)?)),
            len: Atomic::new(0),
            load: Atomic::new(0),
            used: Atomic::new(0),
            resize <- Opaque::ffi_init(|work| {
                // SAFETY: `work` is valid for writes and pinned; the callback fits it.
                unsafe { bindings::oot_init_work(work, Some(resize::<T>)) }
            }),
            _owns: PhantomData,
        }? Error)
    }

    #[inline(always)]
    fn current<'g>(&'g self, _guard: &'g rcu::Guard) -> &'g Buckets {
        // SAFETY: By the type invariant it is live, and freed a grace period after it is replaced.
        unsafe { &*self.current.read_once() }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.len.read_once().max(0) as usize
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.current(&rcu::read_lock()).heads.len()
    }

    /// The first entry one of whose links has this hash and pleases `matches`, which gets the
    /// index of the link and the entry.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        hash: u32,
        mut matches: impl FnMut(u32, RcuRef<'g, Linked<T>>) -> bool,
    ) -> Option<RcuRef<'g, Linked<T>>> {
        let mut table = self.current(guard);
        loop {
            let bucket = table.bucket(hash);
            let mut at = bucket.first();
            while at & 1 == 0 {
                // SAFETY: A link found in a chain is live until the read-side section ends.
                let link = unsafe { &*(at as *const Link) };
                if link.hash.read_once() == hash {
                    // SAFETY: As above; and it belongs to an entry of this table.
                    let entry: RcuRef<'g, Linked<T>> = unsafe { entry_of(at) };
                    if matches(link.index, entry) {
                        return Some(entry);
                    }
                }
                at = link.next.read_once();
            }
            if at != bucket.end_mark() {
                // A link was moved under us and led into another chain.
                continue;
            }
            table = table.successor()?;
        }
    }

    /// Adds an entry under one hash or two, and gives a look at it.
    ///
    /// An entry that is in a table, or has been in one, is not added again and gives `None`.
    pub(crate) fn insert<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        entry: RcuArc<Linked<T>>,
        hash: u32,
        second: Option<u32>,
    ) -> Option<RcuRef<'g, Linked<T>>> {
        let state = if second.is_some() { IN_TWO } else { IN_ONE };
        if entry.state.cmpxchg(NEW, state, Full).is_err() {
            return None;
        }
        if self.used.read_once() == 0 {
            self.used.write_once(1);
        }
        entry
            .table
            .store(core::ptr::from_ref(self).cast_mut(), Release);
        // INVARIANT: The reference is the table's from here on.
        // SAFETY: The table's reference keeps the entry alive until a grace period after it is
        // removed, so for all of this read-side section.
        let entry = RcuRef(unsafe { &*entry.into_raw().as_ptr() });
        let [first, other] = &entry.get().links;
        // A remover that finds one link waits for the other: be quick between the two.
        let _bh = bh::Disabled::new();
        let table = self.current(guard).newest();
        // A remover may come by either link: it is to find both hashes.
        first.hash.store(hash, Relaxed);
        if let Some(second) = second {
            other.hash.store(second, Relaxed);
            table.bucket(second).lock().push(other);
        }
        table.bucket(hash).lock().push(first);

        let len = self.len.fetch_add(1, Relaxed).wrapping_add(1);
        if len as usize > table.most {
            self.schedule_resize();
        }
        Some(entry)
    }

    /// Takes an entry, which was added to this table, out of it and gives the table's reference to
    /// the caller; `None` if somebody else did, or is doing so.
    fn remove(
        &self,
        guard: &rcu::Guard,
        entry: RcuRef<'_, Linked<T>>,
    ) -> Option<RcuArc<Linked<T>>> {
        let mut state = entry.state.read_once();
        loop {
            if state != IN_ONE && state != IN_TWO {
                return None;
            }
            match entry.state.cmpxchg(state, GONE, Full) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        let [first, other] = &entry.get().links;
        self.unlink(guard, first);
        if state == IN_TWO {
            self.unlink(guard, other);
        }
        let len = self.len.fetch_sub(1, Relaxed).wrapping_sub(1);
        let table = self.current(guard);
        if (len as usize) < table.least {
            self.schedule_resize();
        }
        // SAFETY: The state said that the table owned a reference, and nobody else got it.
        Some(unsafe { RcuArc::from_raw(NonNull::from(entry.0)) })
    }

    /// Takes one link out of its chain. It is in one of the two tables, or about to be.
    fn unlink(&self, guard: &rcu::Guard, link: &Link) {
        loop {
            // Whoever is about to add it stores the hash before the link.
            let hash = link.hash.read_once();
            let mut table = Some(self.current(guard));
            while let Some(buckets) = table {
                if buckets.bucket(hash).lock().remove(link) {
                    return;
                }
                table = buckets.successor();
            }
        }
    }

    /// Removes all entries.
    fn clear(&self) {
        self.for_each(|guard, entry| drop(self.remove(guard, entry)));
    }

    /// Makes it hold `2^load` entries to a bucket before it grows.
    pub(crate) fn set_load(&self, load: i32) {
        self.load.write_once(load);
        self.schedule_resize();
    }

    fn schedule_resize(&self) {
        // SAFETY: The work was initialised with the table, and is cancelled when that is dropped.
        unsafe { bindings::oot_schedule_work(self.resize.get()) };
    }

    /// Makes the number of buckets fit the number of entries. Sleeps; runs as one work item.
    fn resize(&self) {
        // SAFETY: Only this function replaces the table, and it does not run twice at a time.
        let old = unsafe { &*self.current.read_once() };
        let size = Size::fitting(self.len(), self.load.read_once(), old.size);
        if size == old.size {
            return;
        }
        // Without memory the chains stay long until the next entry asks again.
        let Ok(new) = Buckets::new(size) else { return };
        let new = KBox::into_raw(new);
        old.successor.store(new, Release);
        // From here on all add to `new`.
        rcu::synchronize_rcu();
        for head in old.heads.iter() {
            // SAFETY: `new` is live: it is freed by a later resize.
            Self::move_bucket(Bucket(head), unsafe { &*new });
        }
        self.current.store(new, Release);
        rcu::synchronize_rcu();
        // SAFETY: It came from `KBox::into_raw`, and no reader from before is left.
        drop(unsafe { KBox::from_raw(core::ptr::from_ref(old).cast_mut()) });
    }

    fn move_bucket(from: Bucket<'_>, to: &Buckets) {
        let locked = from.lock();
        loop {
            let at = locked.bucket().first();
            if at & 1 != 0 {
                break;
            }
            // SAFETY: Links in a chain are live while its lock is held.
            let hash = unsafe { (*(at as *const Link)).hash.read_once() };
            locked.move_first(to.bucket(hash));
        }
    }
}

/// The work item of a resize.
///
/// # Safety
///
/// To be called by the workqueue on the `resize` field of a live table.
unsafe extern "C" fn resize<T: Object>(work: *mut bindings::work_struct) {
    let field = offset_of!(RcuHash<T>, resize);
    // SAFETY: By the safety requirement this is the address of the table around `work`.
    let table = unsafe { &*work.byte_sub(field).cast::<RcuHash<T>>() };
    table.resize();
}

#[pinned_drop]
impl<T: Object> PinnedDrop for RcuHash<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The work was initialised with the table.
        unsafe { bindings::cancel_work_sync(self.resize.get()) };
        self.clear();
        if self.used.read_once() != 0 {
            // Who found an entry before it was removed may still be about to remove it, and who
            // has just removed the last one, such as its timer, still be at it.
            rcu::synchronize_rcu();
        }
        // The removals may have asked for a resize again.
        // SAFETY: As above.
        unsafe { bindings::cancel_work_sync(self.resize.get()) };
        // SAFETY: It came from `KBox::into_raw`; whoever could reach the table is gone.
        drop(unsafe { KBox::from_raw(self.current.read_once()) });
    }
}
