// SPDX-License-Identifier: GPL-2.0

//! What makes an object an entry of an [`RcuHash`].

use core::mem::offset_of;
use kernel::sync::{
    atomic::{
        Acquire,
        Atomic,
        Full,
        Release, //
    },
    rcu, //
};

use crate::oot::sync::{
    rcu_arc::{
        Object,
        RcuArc,
        RcuRef, //
    },
    Once, //
};

use super::{
    buckets::Link,
    RcuHash, //
};

/// The field by which an object is in a table: up to two links, so that it is found by two keys.
#[repr(C)]
pub(crate) struct HashLinks<T: HasHashLinks> {
    pub(super) links: [Link; 2],
    /// The table that it is in, or was last.
    table: Atomic<*mut RcuHash<T>>,
}

// The states of an entry, which the tag of its first link holds: even numbers, as bit 0 of a tag is
// the index of the link. An entry that was in a table is not added again: readers may still stand
// on its links.

/// Has been in no table.
const NEW: i32 = 0;
/// Is being added.
const ADDED: i32 = 2;
/// Is being added, and is to be removed by the CPU that adds it.
const DOOMED: i32 = 4;
/// Is in the table by one link.
const IN_ONE: i32 = 6;
/// Is in the table by both.
const IN_TWO: i32 = 8;
/// Is removed, or being so.
const GONE: i32 = 10;

/// A type of entries. Implemented by [`impl_has_hash_links!`] alone.
///
/// # Safety
///
/// `OFFSET` must be that of the field that [`HasHashLinks::links`] gives.
pub(crate) unsafe trait HasHashLinks: Object + Sized {
    /// Where the links are in the type.
    const OFFSET: usize;

    /// The links.
    fn links(&self) -> &HashLinks<Self>;
}

impl<T: HasHashLinks> HashLinks<T> {
    /// Links in no table.
    pub(crate) const fn new() -> Self {
        const fn link(tag: i32) -> Link {
            Link {
                next: Atomic::new(0),
                hash: Atomic::new(0),
                tag: Atomic::new(tag),
            }
        }
        Self {
            links: [link(NEW), link(1)],
            table: Atomic::new(core::ptr::null_mut()),
        }
    }

    /// Whether the entry is not yet in a table, or not by all its links.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state().load(Acquire), NEW | ADDED)
    }

    /// The state of the entry.
    fn state(&self) -> &Atomic<i32> {
        let [first, _] = &self.links;
        &first.tag
    }

    /// An entry begins to be added to `table`. False if it has been in one.
    pub(super) fn begin(&self, table: &RcuHash<T>) -> bool {
        if self.state().cmpxchg(NEW, ADDED, Full).is_err() {
            return false;
        }
        let table = core::ptr::from_ref(table).cast_mut();
        self.table.store(table, Release);
        true
    }

    /// The entry is in the table. False if it is to be removed at once.
    pub(super) fn end(&self, has_second: bool) -> bool {
        let state = if has_second { IN_TWO } else { IN_ONE };
        if self.state().cmpxchg(ADDED, state, Full).is_ok() {
            return true;
        }
        self.state().write_once(GONE);
        false
    }

    /// Makes it gone, and returns whether it has the second link, if it is the caller's to remove.
    pub(super) fn leave(&self) -> Option<bool> {
        let mut state = self.state().read_once();
        loop {
            let next = match state {
                IN_ONE | IN_TWO => GONE,
                ADDED => DOOMED,
                _ => return None,
            };
            match self.state().cmpxchg(state, next, Full) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        match state {
            ADDED => None,
            state => Some(state == IN_TWO),
        }
    }
}

impl<T: HasHashLinks> RcuHash<T> {
    /// Takes an entry out of the table that it is in, and gives the table's reference to the
    /// caller; `None` if another did, or does so, or is still adding it and will.
    pub(crate) fn unlink(entry: RcuRef<'_, T>, guard: &rcu::Guard) -> Option<RcuArc<T>> {
        let links = entry.links();
        if links.state().load(Acquire) == GONE {
            return None;
        }
        // SAFETY: Once set, it is a table that lives until a grace period after all entries were
        // taken out, and this one was in it just now.
        let table = unsafe { links.table.load(Acquire).as_ref() }?;
        table.remove(guard, entry)
    }
}

/// The index of a link, and the entry that it belongs to.
///
/// # Safety
///
/// `link` must be the address of a link of a `T` behind an [`RcuArc`], and that must stay live for
/// `'g`.
#[inline(always)]
pub(super) unsafe fn entry_of<'g, T: HasHashLinks>(link: usize) -> (u32, RcuRef<'g, T>) {
    // SAFETY: By the safety requirement it is a live link.
    let index = unsafe { (*(link as *const Link)).index() };
    let value = link
        .wrapping_sub((index as usize).wrapping_mul(size_of::<Link>()))
        .wrapping_sub(offset_of!(HashLinks<T>, links))
        .wrapping_sub(T::OFFSET);
    // SAFETY: By the requirements on `OFFSET` it is the address of a `T` that an `RcuArc` refers
    // to, live for `'g`.
    (index, unsafe { RcuRef::from_value(value as *const T) })
}

/// Says which field of a type is its [`HashLinks`].
macro_rules! impl_has_hash_links {
    (impl HasHashLinks for $self:ty { self.$field:ident }) => {
        #[allow(unsafe_code)]
        // SAFETY: `links` compiles only if the field is of the type.
        unsafe impl $crate::oot::sync::rcu_hash::HasHashLinks for $self {
            const OFFSET: usize = ::core::mem::offset_of!(Self, $field);

            #[inline(always)]
            fn links(&self) -> &$crate::oot::sync::HashLinks<Self> {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_has_hash_links;
