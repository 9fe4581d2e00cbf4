// SPDX-License-Identifier: GPL-2.0

//! Per-netns values of a module.
//!
//! A type that implements [`Pernet`] has one value in each namespace while its [`Registration`]
//! lives. The registration covers only the `pernet_operations`. Hooks, files and settings have
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

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    container_of,
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        rcu,
        Completion,
        Refcount, //
    },
    types::Opaque, //
};

use crate::oot::{
    bindings,
    sync::Once, //
};

use super::namespace::{
    Net,
    NetRef, //
};

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

/// What a value of any type has: its namespace and the references to it.
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
        let value = slot.found.load(Acquire);
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

/// The memory at our `net_generic()` id in a namespace. It is zeroed when it is allocated.
#[repr(C)]
struct Slot<T: Pernet> {
    /// The value while it can be found, else null.
    found: Atomic<*mut PerNet<T>>,
    /// The value from `KBox::into_raw()` until it is dropped, else null.
    owned: Atomic<*mut PerNet<T>>,
}

/// The slots of namespaces that are removed together.
///
/// # Invariants
///
/// `head` is a list of live namespaces, linked by their `exit_list`. The list does not change for
/// `'a`, and the slots are not freed for `'a`. `link` is the head or a link of the list.
struct Slots<'a, T: Pernet> {
    head: *mut bindings::list_head,
    link: *mut bindings::list_head,
    _slots: PhantomData<&'a Slot<T>>,
}

impl<T: Pernet> Slots<'_, T> {
    /// # Safety
    ///
    /// The type's invariants must hold for `head`.
    unsafe fn new(head: *mut bindings::list_head) -> Self {
        Self {
            head,
            // SAFETY: By the safety requirement, the list is valid.
            link: unsafe { (*head).next },
            _slots: PhantomData,
        }
    }
}

impl<T: Pernet> Clone for Slots<'_, T> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, T: Pernet> Iterator for Slots<'a, T> {
    type Item = &'a Slot<T>;

    fn next(&mut self) -> Option<&'a Slot<T>> {
        while self.link != self.head {
            // SAFETY: By the type invariants, the link is the `exit_list` of a namespace.
            let net = unsafe { container_of!(self.link, bindings::net, exit_list) };
            // SAFETY: By the type invariants, the link is valid.
            self.link = unsafe { (*self.link).next };
            // SAFETY: By the type invariants, `net` is live, and does not free its slot for `'a`.
            if let Some(slot) = unsafe { Adapter::<T>::slot(net) } {
                return Some(slot);
            }
        }
        None
    }
}

struct Adapter<T: Pernet>(PhantomData<T>);

impl<T: Pernet> Adapter<T> {
    /// Returns the slot of a namespace, or `None` if `T` has no id.
    ///
    /// # Safety
    ///
    /// `net` must be live for `'a`. If `T` has an id, then `net` must have allocated the slot and
    /// must not free it within `'a`.
    unsafe fn slot<'a>(net: *mut bindings::net) -> Option<&'a Slot<T>> {
        let id = T::id().number.read_once();
        if id == 0 {
            return None;
        }
        // SAFETY: By the safety requirement, the namespace is live and has a slot for this id.
        let slot = unsafe { bindings::oot_net_generic(net, id) }.cast::<Slot<T>>();
        // SAFETY: By the safety requirement, the slot is allocated for `'a`, with the registered
        // size. It was zeroed, which is a valid value.
        unsafe { slot.as_ref() }
    }

    /// # Safety
    ///
    /// To be called only by the namespace code.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        from_result(|| {
            // SAFETY: `net` is live, and its slot was allocated before the call.
            let slot = unsafe { Self::slot(net) }.ok_or(ENOENT)?;
            // SAFETY: The namespace code passes a live namespace.
            let namespace = unsafe { Net::from_raw(net) };
            let net = NonNull::new(net).ok_or(EINVAL)?;
            let init = kernel::try_pin_init!(PerNet::<T> {
                head <- pin_init::pin_init!(Head {
                    net,
                    count: Refcount::new(1),
                    unused <- Completion::new(),
                }),
                value <- T::init(namespace),
            }? Error);
            let value = KBox::pin_init(init, GFP_KERNEL)?;
            // SAFETY: The value does not move until `release` takes it back.
            let value = KBox::into_raw(unsafe { Pin::into_inner_unchecked(value) });
            slot.owned.store(value, Relaxed);
            slot.found.store(value, Release);
            if namespace.is_init() {
                T::id().extent.store(INITIAL, Release);
            }
            // SAFETY: The value is initialised, and only `release` drops it.
            let started = match unsafe { (*value).get_ref() } {
                Some(this) => T::start(&this),
                None => Err(ENOENT),
            };
            if let Err(error) = started {
                // SAFETY: `init` just created the value of this namespace.
                unsafe { Self::exit(net.as_ptr()) };
                Self::release(core::iter::once(slot));
                return Err(error);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called only by the namespace code, after `init`.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its slot is freed after `exit_batch`.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        // SAFETY: The pointer is null, or `init` stored it and only `release` drops the value.
        if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
            T::pre_exit(value);
        }
    }

    /// # Safety
    ///
    /// To be called only by the namespace code, a grace period after `pre_exit`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its slot is freed after `exit_batch`.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        slot.found.store(core::ptr::null_mut(), Release);
        // SAFETY: The pointer is null, or `init` stored it and only `release` drops the value.
        if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
            T::exit(value);
        }
    }

    /// # Safety
    ///
    /// To be called only by the namespace code, after `exit` for each of the namespaces.
    unsafe extern "C" fn exit_batch(nets: *mut bindings::list_head) {
        // SAFETY: C passes a list of namespaces. It does not change during the call, and the slots
        // are freed later.
        Self::release(unsafe { Slots::new(nets) });
    }

    /// Drops the values in these slots, after `exit`, once their last references are dropped.
    fn release<'a>(slots: impl Iterator<Item = &'a Slot<T>> + Clone)
    where
        T: 'a,
    {
        let mut waited = false;
        for slot in slots.clone() {
            // SAFETY: The pointer is null, or `init` stored it and only this function drops the
            // value.
            if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
                value.head.put();
                value.head.unused.wait_for_completion();
                waited = true;
            }
        }
        if waited {
            rcu::synchronize_rcu();
        }
        for slot in slots {
            let value = slot.owned.xchg(core::ptr::null_mut(), Full);
            if !value.is_null() {
                // SAFETY: `init` got the pointer from `KBox::into_raw`; there is no other
                // reference.
                let value = unsafe { KBox::from_raw(value) };
                // SAFETY: The value has been pinned since `init` created it, and is dropped in
                // place.
                drop(unsafe { Pin::new_unchecked(value) });
            }
        }
    }
}

/// The registration of `T`: while it lives, each namespace has a value, including new ones.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its functions are module code: the module must not be unloaded then.
pub(crate) struct Registration<T: Pernet> {
    ops: Pin<KBox<Opaque<bindings::pernet_operations>>>,
    _of: PhantomData<fn(T)>,
}

// SAFETY: The operations are only passed to C, for registering and unregistering.
unsafe impl<T: Pernet> Send for Registration<T> {}

// SAFETY: `&Registration` has no methods.
unsafe impl<T: Pernet> Sync for Registration<T> {}

impl<T: Pernet> Registration<T> {
    /// Registers `T` and creates a value in each existing namespace.
    ///
    /// # Errors
    ///
    /// - `EBUSY`: `T` is already registered.
    /// - `ENOMEM`: no memory.
    /// - Otherwise the error of [`Pernet::init`] or [`Pernet::start`] in a namespace.
    pub(crate) fn new() -> Result<Self> {
        let ops = bindings::pernet_operations {
            init: Some(Adapter::<T>::init),
            pre_exit: Some(Adapter::<T>::pre_exit),
            exit: Some(Adapter::<T>::exit),
            exit_batch: Some(Adapter::<T>::exit_batch),
            id: T::id().number.as_ptr(),
            size: size_of::<Slot<T>>(),
            ..pin_init::zeroed()
        };
        let ops = KBox::pin(Opaque::new(ops), GFP_KERNEL)?;
        let id = T::id();
        if id.is_taken.cmpxchg(0, 1, Full).is_err() {
            return Err(EBUSY);
        }
        // SAFETY: The operations stay in place until they are unregistered on drop. No other
        // operations use the id.
        if let Err(error) = to_result(unsafe { bindings::register_pernet_subsys(ops.get()) }) {
            id.give_back();
            return Err(error);
        }
        id.extent.store(EVERYWHERE, Release);
        Ok(Self {
            ops,
            _of: PhantomData,
        })
    }
}

impl<T: Pernet> Drop for Registration<T> {
    fn drop(&mut self) {
        let id = T::id();
        id.extent.store(NOWHERE, Release);
        // After this grace period, no reader uses a slot that it found to be readable.
        rcu::synchronize_rcu();
        // SAFETY: The operations were registered in `new`.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
        id.give_back();
    }
}
