// SPDX-License-Identifier: GPL-2.0

//! A list that readers walk under RCU while elements come, at its head, and go.
//!
//! The head is a word: the address of the first node, bit 0 a spinlock, which is held with soft
//! interrupts off. A list takes no more than that word and owns its nodes.
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
    },
    types::Opaque, //
};

use crate::oot::bindings;

use super::{
    bh,
    once::Once, //
};

#[repr(C)]
struct Node<T> {
    /// First, so that the callback of `call_rcu()` gets the address of the whole.
    rcu: Opaque<bindings::callback_head>,
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
    pub(crate) fn new(value: T) -> Result<Self, AllocError> {
        let node = KBox::new(
            Node {
                rcu: Opaque::uninit(),
                next: Atomic::new(0),
                value,
            },
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
        // SAFETY: By the type invariant we own the node and nobody else has seen it.
        drop(unsafe { KBox::from_raw(self.ptr.as_ptr()) });
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
        // What is read through the address depends on it: that orders it.
        self.at = node.next.read_once();
        Some(&node.value)
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
            at: self.head.read_once() & !1,
            _nodes: PhantomData,
        }
    }

    /// Keeps all others from changing the list.
    ///
    /// Whoever holds several lists locked takes those inside values after those they are in.
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
            // SAFETY: By the type invariant the list owns the node; whoever could walk the list
            // held a reference to it.
            let node = unsafe { KBox::from_raw(node.as_ptr()) };
            at = node.next.read_once();
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
        let next = unsafe { &(*node.as_ptr()).next };
        next.store(self.list.head.read_once() & !1, Relaxed);
        // INVARIANT: The list takes over the node.
        self.list.head.store(node.as_ptr() as usize | 1, Release);
    }

    /// Takes out the values which `is_over` holds for, and says how many; they are dropped a grace
    /// period later.
    pub(crate) fn remove(&mut self, mut is_over: impl FnMut(&T) -> bool) -> usize {
        let mut count: usize = 0;
        let mut link = &self.list.head;
        // The first link is the head, with the lock in bit 0.
        let mut lock = 1;
        while let Some(node) = NonNull::new((link.read_once() & !1) as *mut Node<T>) {
            // SAFETY: By the list's invariants it is a node, live while we hold the lock.
            let node = unsafe { node.as_ref() };
            if is_over(&node.value) {
                link.store(node.next.read_once() | lock, Release);
                count = count.wrapping_add(1);
                // SAFETY: The node is out of the list, so nobody else queues its head; readers may
                // still look at it, whom `free` outwaits.
                unsafe { bindings::call_rcu(node.rcu.get(), Some(free::<T>)) };
            } else {
                link = &node.next;
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

/// The end of a node.
///
/// # Safety
///
/// To be called by RCU on the head of a [`Node<T>`] that was taken out of its list.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    // SAFETY: The head is the first field of a `Node<T>` from `KBox::leak`.
    drop(unsafe { KBox::from_raw(head.cast::<Node<T>>()) });
}
