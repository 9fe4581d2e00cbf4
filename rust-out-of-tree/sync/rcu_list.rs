// SPDX-License-Identifier: GPL-2.0

//! A singly linked list with RCU readers; elements are added at the head.
//!
//! The list is one word: the address of the first node, with a bit spinlock in bit 0, which is held
//! with softirqs disabled. The list owns its nodes.
//!
//! It is like `hlist_bl`, but nodes have a single link: nodes are removed only during a walk from
//! the head, so they need no `pprev`. `llist` cannot remove single nodes.
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

/// An element in its own allocation.
type Node<T> = RcuBlock<Element<T>>;

struct Element<T> {
    /// The address of the next node, or 0.
    next: Atomic<usize>,
    value: T,
}

/// A value in its own allocation, ready to be added to an [`RcuList`].
///
/// # Invariants
///
/// `ptr` comes from `KBox::leak`, and this value owns it. No reader has accessed it.
pub(crate) struct RcuListItem<T> {
    ptr: NonNull<Node<T>>,
    _owns: PhantomData<Node<T>>,
}

impl<T> RcuListItem<T> {
    /// Moves `value` to its own allocation. Does not sleep, and does not warn on failure.
    ///
    /// # Errors
    ///
    /// [`AllocError`] if memory runs out.
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
        // SAFETY: By the type invariant we own the node and no reader has accessed it.
        unsafe { RcuBlock::free_now(self.ptr) };
    }
}

/// A list of values.
///
/// # Invariants
///
/// The head without bit 0, and each node's `next`, is 0 or the address of a node from `KBox::leak`
/// that the list owns. A removed node keeps its `next`, and stays valid until pre-existing readers
/// have ended.
pub(crate) struct RcuList<T: Send + Sync + 'static> {
    head: Atomic<usize>,
    _owns: PhantomData<KBox<Node<T>>>,
}

// SAFETY: Readers get `&T` and writers drop `T`, in any context.
unsafe impl<T: Send + Sync> Sync for RcuList<T> {}

// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for RcuList<T> {}

/// The values from the node at address `at` on.
struct Iter<'g, T> {
    at: usize,
    _nodes: PhantomData<&'g Node<T>>,
}

impl<'g, T> Iterator for Iter<'g, T> {
    type Item = &'g T;

    #[inline(always)]
    fn next(&mut self) -> Option<&'g T> {
        // SAFETY: By the list's invariants it is null or a node. The node is valid for `'g`: for
        // the read-side critical section that the iterator was made in, or as long as the lock is
        // held.
        let node: &'g Node<T> = unsafe { (self.at as *const Node<T>).as_ref() }?;
        let element = &node.value;
        self.at = rcu_dereference_marked(&element.next);
        Some(&element.value)
    }
}

impl<T: Send + Sync> RcuList<T> {
    /// Creates an empty list.
    pub(crate) const fn new() -> Self {
        Self {
            head: Atomic::new(0),
            _owns: PhantomData,
        }
    }

    /// Iterates over the values, the last one added first.
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

    /// Locks the list against changes.
    ///
    /// A list inside a value of another list is locked after that one.
    pub(crate) fn lock(&self) -> RcuListLocked<'_, T> {
        let bh = bh::Disabled::new();
        // SAFETY: The word is live, and bit 0 is used only as a lock.
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
            // SAFETY: The list owns the node; readers held a reference to the list, so none is
            // left.
            unsafe { RcuBlock::free_now(node) };
        }
    }
}

/// A list whose lock is held.
///
/// # Invariants
///
/// Bit 0 of the list's head is set, and this value clears it.
pub(crate) struct RcuListLocked<'a, T: Send + Sync + 'static> {
    list: &'a RcuList<T>,
    _bh: bh::Disabled,
}

impl<T: Send + Sync> RcuListLocked<'_, T> {
    /// Iterates over the values, the last one added first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.list.nodes()
    }

    /// Adds an item at the head.
    pub(crate) fn push(&mut self, item: RcuListItem<T>) {
        let node = item.into_raw();
        // SAFETY: The node was ours until now; it is valid at least as long as the lock is held.
        let next = &unsafe { node.as_ref() }.value.next;
        next.store(self.list.head.read_once() & !1, Relaxed);
        // INVARIANT: The list takes over the node.
        self.list.head.store(node.as_ptr() as usize | 1, Release);
    }

    /// Removes the values for which `is_over` returns true, and returns their number. They are
    /// dropped after a grace period.
    pub(crate) fn remove(&mut self, mut is_over: impl FnMut(&T) -> bool) -> usize {
        let mut count: usize = 0;
        let mut link = &self.list.head;
        // Bit 0 is set in the head only, which is the first link.
        let mut lock = 1;
        while let Some(node) = NonNull::new((link.read_once() & !1) as *mut Node<T>) {
            // SAFETY: By the list's invariants it is a node, live while we hold the lock.
            let element = unsafe { &(*node.as_ptr()).value };
            if is_over(&element.value) {
                link.store(element.next.read_once() | lock, Release);
                count = count.wrapping_add(1);
                // SAFETY: The list owned the node, which came from `KBox` and is now removed. Only
                // pre-existing readers may still access it.
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
