// SPDX-License-Identifier: GPL-2.0

//! Per-netns values of a module.
//!
//! A type that implements [`Pernet`] has one value in each namespace while its [`Registration`]
//! exists. The registration covers only the `pernet_operations`. Hooks, files and settings have
//! registrations of their own, which the value owns. They hold counted references to the value
//! ([`Ref`]), so that the teardown can wait until they are dropped.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)
//!
//! # Phases
//!
//! Setup of a new namespace, and of each existing one when the type is registered (the initial
//! namespace first):
//!
//! 1. [`Pernet::init`] creates the value.
//! 2. [`PerNet::of`] now finds it, and [`Pernet::start`] registers its hooks, files and settings.
//!
//! Teardown of a namespace, and of all when the type is unregistered:
//!
//! 1. [`Pernet::pre_exit`] is called while the namespace is still complete.
//! 2. A grace period. If the namespace is removed, its devices are then unregistered one by one
//!    (`NETDEV_DOWN`, `NETDEV_UNREGISTER`): the operations are those of a subsystem, which run
//!    after those of devices. So no packet arrives in the namespace any more.
//! 3. [`PerNet::of`] no longer finds the value. [`Pernet::exit`] drops the registrations that it
//!    owns.
//! 4. The teardown waits until all references are dropped, and then for one grace period for all
//!    namespaces that are removed together, until hooks and readers in progress have ended.
//! 5. The value is dropped. Its tables may wait for grace periods of their own.

mod registration;

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        rcu,
        Completion,
        Refcount, //
    }, //
};

use crate::oot::{
    bindings,
    sync::rcu_dereference, //
};

use super::namespace::{
    Net,
    NetRef, //
};
use registration::Adapter;
pub(crate) use registration::Registration;

/// The `net_generic()` id of the values of `T`.
pub(crate) struct Id<T: Pernet> {
    number: Atomic<u32>,
    /// 1 if there is a registration, else 0.
    is_taken: Atomic<u32>,
    /// The namespaces in which the slot may be read: [`NOWHERE`], [`INITIAL`], or [`EVERYWHERE`].
    extent: Atomic<u32>,
    _of: PhantomData<fn(T)>,
}

/// Not registered.
const NOWHERE: u32 = 0;
/// Being registered: only the initial namespace, the first one, is known to have its slot.
const INITIAL: u32 = 1;
/// Registered.
const EVERYWHERE: u32 = 2;

impl<T: Pernet> Id<T> {
    /// Creates an unassigned id.
    pub(crate) const fn new() -> Self {
        Self {
            number: Atomic::new(0),
            is_taken: Atomic::new(0),
            extent: Atomic::new(NOWHERE),
            _of: PhantomData,
        }
    }

    /// Marks the id as unassigned after unregistering.
    fn give_back(&self) {
        self.extent.store(NOWHERE, Relaxed);
        self.number.store(0, Relaxed);
        self.is_taken.store(0, Release);
    }

    fn is_readable_in(&self, net: &Net) -> bool {
        match self.extent.load(Acquire) {
            EVERYWHERE => true,
            INITIAL => net.is_init(),
            _ => false,
        }
    }
}

/// A type with an id. Implemented only by [`impl_has_pernet_id!`].
///
/// # Safety
///
/// [`Self::id`] must return the same static on each call.
pub(crate) unsafe trait HasPernetId: Sized + 'static {
    /// The static that holds the id of this type.
    fn id() -> &'static Id<Self>
    where
        Self: Pernet;
}

/// Gives a type a static for its id.
macro_rules! impl_has_pernet_id {
    (impl HasPernetId for $self:ty) => {
        #[allow(unsafe_code)]
        // SAFETY: The static is the only one that is returned.
        unsafe impl $crate::oot::net::pernet::HasPernetId for $self {
            fn id() -> &'static $crate::oot::net::pernet::Id<Self> {
                static ID: $crate::oot::net::pernet::Id<$self> =
                    $crate::oot::net::pernet::Id::new();
                &ID
            }
        }
    };
}
pub(crate) use impl_has_pernet_id;

/// A type with a value in each network namespace.
pub(crate) trait Pernet: HasPernetId + Send + Sync {
    /// Creates the value for a namespace that is being set up.
    ///
    /// # Errors
    ///
    /// Any errno. The setup of the namespace then fails.
    fn init(net: &Net) -> impl PinInit<Self, Error>;

    /// Called when the value can be found. Registers its hooks, files and settings.
    ///
    /// # Errors
    ///
    /// Any errno. The setup of the namespace then fails, after a call of [`Self::exit`].
    fn start(_this: &Ref<Self>) -> Result {
        Ok(())
    }

    /// Called when the removal of the namespace or the module starts.
    fn pre_exit(_this: &PerNet<Self>) {}

    /// Drops all references to the value that it owns itself: its registrations. The teardown then
    /// waits for the remaining references.
    fn exit(this: &PerNet<Self>);
}

/// The part of a value that does not depend on its type: the namespace and the references.
#[pin_data]
struct Head {
    net: NonNull<bindings::net>,
    /// The number of references. The namespace has one itself.
    count: Refcount,
    /// Completed when the last reference is dropped.
    #[pin]
    unused: Completion,
}

// SAFETY: `net` outlives the value and is shared by design; the rest is `Send + Sync`.
unsafe impl Send for Head {}

// SAFETY: `net` outlives the value and is shared by design; the rest is `Send + Sync`.
unsafe impl Sync for Head {}

impl Head {
    /// Takes a reference. Returns false if the last one was dropped.
    fn get(&self) -> bool {
        let count = self.count.as_atomic();
        let mut old = count.load(Relaxed);
        loop {
            if old <= 0 {
                return false;
            }
            match count.cmpxchg(old, old.wrapping_add(1), Relaxed) {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
    }

    fn put(&self) {
        if self.count.dec_and_test() {
            self.unused.complete_all();
        }
    }

    #[inline(always)]
    fn net(&self) -> &Net {
        // SAFETY: A namespace outlives its per-netns values.
        unsafe { Net::from_raw(self.net.as_ptr()) }
    }
}

/// A value and its namespace.
#[pin_data]
pub(crate) struct PerNet<T: Pernet> {
    #[pin]
    head: Head,
    #[pin]
    value: T,
}

impl<T: Pernet> PerNet<T> {
    /// The namespace.
    #[inline(always)]
    pub(crate) fn net(&self) -> &Net {
        self.head.net()
    }

    /// Returns the value of a namespace. `None` if it is not created yet or being removed.
    pub(crate) fn of(net: &Net) -> Option<Ref<T>> {
        Self::find(net, &rcu::read_lock())?.get_ref()
    }

    /// The same without a reference, for a read-side critical section.
    pub(crate) fn find<'g>(net: &'g Net, _guard: &'g rcu::Guard) -> Option<&'g Self> {
        if !T::id().is_readable_in(net) {
            return None;
        }
        // SAFETY: The namespace is live, and has its slot for as long as the read lock is held.
        let slot = unsafe { Adapter::<T>::slot(net.as_raw()) }?;
        let value = rcu_dereference(&slot.found);
        // SAFETY: The pointer is null, or to a value that is dropped a grace period after `exit`
        // cleared it.
        unsafe { value.as_ref() }
    }

    /// Takes a reference to the value. `None` if the last one was dropped.
    pub(crate) fn get_ref(&self) -> Option<Ref<T>> {
        // INVARIANT: The reference was just taken.
        self.head.get().then(|| Ref(NonNull::from(self)))
    }
}

impl<T: Pernet> Deref for PerNet<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A counted reference to a per-netns value. The teardown of the namespace, and of the module,
/// waits until it is dropped.
///
/// # Invariants
///
/// The value is live, and this value owns one of its references.
pub(crate) struct Ref<T: Pernet>(NonNull<PerNet<T>>);

// SAFETY: A value is `Send + Sync`, and dropping a reference does not drop the value.
unsafe impl<T: Pernet> Send for Ref<T> {}

// SAFETY: A value is `Send + Sync`, and dropping a reference does not drop the value.
unsafe impl<T: Pernet> Sync for Ref<T> {}

impl<T: Pernet> Deref for Ref<T> {
    type Target = PerNet<T>;

    #[inline(always)]
    fn deref(&self) -> &PerNet<T> {
        // SAFETY: By the type invariant.
        unsafe { self.0.as_ref() }
    }
}

impl<T: Pernet> Clone for Ref<T> {
    fn clone(&self) -> Self {
        self.head.count.inc();
        // INVARIANT: The reference was just taken.
        Self(self.0)
    }
}

impl<T: Pernet> Drop for Ref<T> {
    fn drop(&mut self) {
        self.head.put();
    }
}

// SAFETY: The namespace's `exit_batch` waits for all references, and then for a grace period,
// before the value is dropped; the value is pinned.
unsafe impl<T: Pernet> NetRef for Ref<T> {
    fn net(&self) -> &Net {
        (**self).net()
    }
}
