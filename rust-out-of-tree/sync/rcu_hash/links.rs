// SPDX-License-Identifier: GPL-2.0

//! The field that makes an object an entry of an [`RcuHash`].

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
    rcu_dereference::rcu_dereference,
    Once, //
};

use super::{
    buckets::Link,
    RcuHash, //
};

/// The hash links of an object. There are two, so that the object can be found by two keys.
#[repr(C)]
pub(crate) struct HashLinks<T: HasHashLinks> {
    pub(super) links: [Link; 2],
    /// The table that contains the entry, or contained it last.
    table: Atomic<*mut RcuHash<T>>,
}

// The state of an entry, in the tag of its first link. The states are even numbers, as bit 0 of a
// tag is the index of the link. An entry that was in a table is not added again, since readers may
// still access its links.

/// Was never in a table.
const NEW: i32 = 0;
/// Is being added.
const ADDED: i32 = 2;
/// Is being added, and will be removed by the CPU that adds it.
const DOOMED: i32 = 4;
/// Is in the table with one link.
const IN_ONE: i32 = 6;
/// Is in the table with both links.
const IN_TWO: i32 = 8;
/// Is being removed, or was removed.
const GONE: i32 = 10;

/// A type that can be an entry of an [`RcuHash`]. Implemented only by [`impl_has_hash_links!`].
///
/// # Safety
///
/// `OFFSET` must be the offset of the field that [`HasHashLinks::links`] returns.
pub(crate) unsafe trait HasHashLinks: Object + Sized {
    /// The offset of the links in the type, in bytes.
    const OFFSET: usize;

    /// The type of the owner of a table, which its entries can find.
    type Owner: Send + Sync + 'static;

    /// Returns the links.
    fn links(&self) -> &HashLinks<Self>;
}

impl<T: HasHashLinks> HashLinks<T> {
    /// Creates links that are in no table.
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

    /// Whether the entry is not in a table yet, or not with all its links.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(self.state().load(Acquire), NEW | ADDED)
    }

    /// The hash of the first key. 0 if the entry never was in a table.
    #[inline]
    pub(crate) fn hash(&self) -> u32 {
        let [first, _] = &self.links;
        first.hash.read_once()
    }

    /// The state of the entry.
    fn state(&self) -> &Atomic<i32> {
        let [first, _] = &self.links;
        &first.tag
    }

    /// Marks the entry as being added to `table`. Returns false if it is or was in a table.
    pub(super) fn begin(&self, table: &RcuHash<T>) -> bool {
        if self.state().cmpxchg(NEW, ADDED, Full).is_err() {
            return false;
        }
        let table = core::ptr::from_ref(table).cast_mut();
        self.table.store(table, Release);
        true
    }

    /// Marks the entry as added. Returns false if the caller must remove it at once.
    pub(super) fn end(&self, has_second: bool) -> bool {
        let state = if has_second { IN_TWO } else { IN_ONE };
        if self.state().cmpxchg(ADDED, state, Full).is_ok() {
            return true;
        }
        self.state().write_once(GONE);
        false
    }

    /// Marks the entry as gone. If the caller must remove it, returns whether it has a second link.
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
    /// Removes an entry from its table and returns the table's reference. Returns `None` if another
    /// CPU removes it or has removed it, or is still adding it and will then remove it.
    pub(crate) fn unlink(entry: RcuRef<'_, T>, guard: &rcu::Guard) -> Option<RcuArc<T>> {
        let links = entry.links();
        if links.state().load(Acquire) == GONE {
            return None;
        }
        // SAFETY: The pointer is null or a table. The table stays valid until a grace period after
        // all its entries were removed, and this entry was in it within this critical section.
        let table = unsafe { rcu_dereference(&links.table).as_ref() }?;
        table.remove(guard, entry)
    }

    /// Returns the owner of the table that contains the entry, if it has one.
    pub(crate) fn owner<'g>(entry: RcuRef<'g, T>, guard: &'g rcu::Guard) -> Option<&'g T::Owner> {
        let links = entry.links();
        if links.state().load(Acquire) == GONE {
            return None;
        }
        // SAFETY: As in `unlink`.
        let table = unsafe { rcu_dereference(&links.table).as_ref() }?;
        table.owner.get(guard)
    }
}

/// Returns the index of a link and the entry that contains it.
///
/// # Safety
///
/// `link` must be the address of a link of a `T` behind an [`RcuArc`], which must stay live for
/// `'g`.
#[inline(always)]
pub(super) unsafe fn entry_of<'g, T: HasHashLinks>(link: usize) -> (u32, RcuRef<'g, T>) {
    // SAFETY: By the safety requirement this is a live link.
    let index = unsafe { (*(link as *const Link)).index() };
    let value = link
        .wrapping_sub((index as usize).wrapping_mul(size_of::<Link>()))
        .wrapping_sub(offset_of!(HashLinks<T>, links))
        .wrapping_sub(T::OFFSET);
    // SAFETY: By the requirements on `OFFSET` this is the address of a `T` behind an `RcuArc`, live
    // for `'g`.
    (index, unsafe { RcuRef::from_value(value as *const T) })
}

/// Names the field of a type that is its [`HashLinks`], and the type of a table's owner.
macro_rules! impl_has_hash_links {
    (impl HasHashLinks<$owner:ty> for $self:ty { self.$field:ident }) => {
        #[allow(unsafe_code)]
        // SAFETY: `links` compiles only if the field has the type.
        unsafe impl $crate::oot::sync::rcu_hash::HasHashLinks for $self {
            const OFFSET: usize = ::core::mem::offset_of!(Self, $field);

            type Owner = $owner;

            #[inline(always)]
            fn links(&self) -> &$crate::oot::sync::HashLinks<Self> {
                &self.$field
            }
        }
    };
}
pub(crate) use impl_has_hash_links;
