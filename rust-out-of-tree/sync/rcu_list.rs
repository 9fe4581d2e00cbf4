// SPDX-License-Identifier: GPL-2.0

//! A list that readers walk under RCU while elements come, at its head, and go.
//!
//! The head is a word: the address of the first node, bit 0 a spinlock, which is held with soft
//! interrupts off. A list takes no more than that word and owns its nodes.
//!
//! It is `hlist_bl` with nodes of one link: no node is removed but by a walk from the head, and so
//! none needs the address of the link before it. `llist` has no removal of single nodes.
//!
//! C header: [`include/linux/rculist_bl.h`](srctree/include/linux/rculist_bl.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        flags::__GFP_NOWARN,
        AllocError, //
    },
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    }, //
};

use crate::oot::bindings;

use super::{
    bh,
    once::Once,
    rcu_dereference::rcu_dereference_marked,
    rcu_head::RcuBlock, //
};

/// An element in memory of its own.
type Node<T> = RcuBlock<Element<T>>;

struct Element<T> {
    /// The address of the next node, or 0.
    next: Atomic<usize>,
    value: T,
}

/// A value in memory of its own, ready to join an [`RcuList`].
///
/// # Invariants
///
/// `ptr` comes from `KBox::leak`, and this value owns it. No reader has seen it.
pub(crate) struct RcuListItem<T> {
    ptr: NonNull<Node<T>>,
    _owns: PhantomData<Node<T>>,
}

impl<T> RcuListItem<T> {
    /// Moves `value` into memory of its own; does not sleep, and does not complain.
    ///
    /// # Errors
    ///
    /// [`AllocError`] without memory.
    pub(crate) fn new(value: T) -> Result<Self, AllocError> {
        let node = KBox::new(
            RcuBlock::new(Element {
                next: Atomic::new(0),
                value,
            }),
            GFP_ATOMIC | __GFP_NOWARN,
        )?;
        // INVARIANT: The pointer comes from `KBox::leak`.
        Ok(Self {
            ptr: NonNull::from(KBox::leak(node)),
            _owns: PhantomData,
        })
    }

    fn into_raw(self) -> NonNull<Node<T>> {
        core::mem::ManuallyDrop::new(self).ptr
    }
}

impl<T> Drop for RcuListItem<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the node and no reader has seen it.
        unsafe { RcuBlock::free_now(self.ptr) };
    }
}

/// The list.
///
/// # Invariants
///
/// The head without bit 0, and each node's `next`, is 0 or the address of a node from `KBox::leak`
/// that the list owns. A node that is taken out keeps its `next`, and lives until readers from
/// before are gone.
pub(crate) struct RcuList<T: Send + Sync + 'static> {
    head: Atomic<usize>,
    _owns: PhantomData<KBox<Node<T>>>,
}

// SAFETY: Readers get `&T`, writers drop `T`, in any context.
unsafe impl<T: Send + Sync> Sync for RcuList<T> {}

// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for RcuList<T> {}

/// The values from a node on.
struct Iter<'g, T> {
    at: usize,
    _nodes: PhantomData<&'g Node<T>>,
}

impl<'g, T> Iterator for Iter<'g, T> {
    type Item = &'g T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'g T> {
        // SAFETY: By the list's invariants it is null or a node, which lives for `'g`: for the
        // read-side section that the iterator was made in, or as long as the lock is held.
        let node: &'g Node<T> = unsafe { (self.at as *const Node<T>).as_ref() }?;
        let element = &node.value;
        self.at = rcu_dereference_marked(&element.next);
        Some(&element.value)
    }
}

impl<T: Send + Sync> RcuList<T> {
    /// An empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: Atomic::new(0),
            _owns: PhantomData,
        }
    }

    /// The values, the last one added first.
    #[inline(always)]
    pub(crate) fn iter<'g>(&'g self, _guard: &'g rcu::Guard) -> impl Iterator<Item = &'g T> {
        self.nodes()
    }

    #[inline(always)]
    fn nodes(&self) -> Iter<'_, T> {
        Iter {
            at: rcu_dereference_marked(&self.head) & !1,
            _nodes: PhantomData,
        }
    }

    /// Keeps all others from changing the list.
    ///
    /// The lock of a list inside a value is taken after that of the list that the value is in.
    pub(crate) fn lock(&self) -> RcuListLocked<'_, T> {
        let bh = bh::Disabled::new();
        // SAFETY: The word is live, and bit 0 is used as a lock alone.
        unsafe { bindings::oot_bit_spin_lock(0, self.head.as_ptr().cast()) };
        // INVARIANT: The lock was just taken.
        RcuListLocked {
            list: self,
            _bh: bh,
        }
    }
}

impl<T: Send + Sync> Drop for RcuList<T> {
    fn drop(&mut self) {
        let mut at = self.head.read_once() & !1;
        while let Some(node) = NonNull::new(at as *mut Node<T>) {
            // SAFETY: By the type invariant it is a node.
            at = unsafe { node.as_ref() }.value.next.read_once();
            // SAFETY: The list owns it; readers held a reference to the list, and are gone.
            unsafe { RcuBlock::free_now(node) };
        }
    }
}

/// A list whose lock we hold.
///
/// # Invariants
///
/// Bit 0 of the list's head was set by us.
pub(crate) struct RcuListLocked<'a, T: Send + Sync + 'static> {
    list: &'a RcuList<T>,
    _bh: bh::Disabled,
}

impl<T: Send + Sync> RcuListLocked<'_, T> {
    /// The values, the last one added first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.nodes()
    }

    /// Adds an item at the head.
    pub(crate) fn push(&mut self, item: RcuListItem<T>) {
        let node = item.into_raw();
        // SAFETY: The node was ours until now; it lives at least as long as the lock is held.
        let next = &unsafe { node.as_ref() }.value.next;
        next.store(self.list.head.read_once() & !1, Relaxed);
        // INVARIANT: The list takes over the node.
        self.list.head.store(node.as_ptr() as usize | 1, Release);
    }

    /// Takes out the values which `is_over` holds for, and returns how many; they are dropped a grace
    /// period later.
    pub(crate) fn remove(&mut self, mut is_over: impl FnMut(&T) -> bool) -> usize {
        let mut count: usize = 0;
        let mut link = &self.list.head;
        // The first link is the head, with the lock in bit 0.
        let mut lock = 1;
        while let Some(node) = NonNull::new((link.read_once() & !1) as *mut Node<T>) {
            // SAFETY: By the list's invariants it is a node, live while we hold the lock.
            let element = unsafe { &(*node.as_ptr()).value };
            if is_over(&element.value) {
                link.store(element.next.read_once() | lock, Release);
                count = count.wrapping_add(1);
                // SAFETY: The list owned the node, which came from `KBox`, and it is out of the
                // list: only readers from before look at it.
                unsafe { RcuBlock::free_after_grace_period(node) };
            } else {
                link = &element.next;
                lock = 0;
            }
        }
        count
    }
}

impl<T: Send + Sync> Drop for RcuListLocked<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we hold the lock.
        unsafe { bindings::oot_bit_spin_unlock(0, self.list.head.as_ptr().cast()) };
    }
}
