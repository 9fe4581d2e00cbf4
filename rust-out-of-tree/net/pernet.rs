// SPDX-License-Identifier: GPL-2.0

//! What a module keeps in each network namespace.
//!
//! A type that implements [`Pernet`] has one value in each namespace while its [`Registration`]
//! lives. This registers `pernet_operations` and nothing else: hooks, files and settings are
//! registrations of their own, which the value owns. They are made with a counted reference to it
//! ([`Ref`]), so that the teardown can wait until they are gone.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)
//!
//! # Phases
//!
//! In a namespace that is set up, and in each that there is when the type is registered, the initial
//! one first:
//!
//! 1. [`Pernet::init`] makes the value.
//! 2. It can be found ([`PerNet::of`]), and [`Pernet::start`] registers what there is of it.
//!
//! When a namespace goes, or the type is unregistered:
//!
//! 1. [`Pernet::pre_exit`], while the namespace is still whole.
//! 2. A grace period. In a namespace that goes, the devices then go one after the other
//!    (`NETDEV_DOWN`, `NETDEV_UNREGISTER`): the operations are those of a subsystem, which come after
//!    the ones of devices. So no packet comes to the namespace any more.
//! 3. The value can no longer be found. [`Pernet::exit`] drops the registrations that it owns.
//! 4. All references to it are waited for, then one grace period for all namespaces that go
//!    together: hooks and readers that have begun come to their end.
//! 5. The value is dropped.

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

/// The number under which namespaces keep the values of `T`, and of no other type.
pub(crate) struct Id<T: Pernet> {
    number: Atomic<u32>,
    /// Whether there is a registration.
    is_taken: Atomic<u32>,
    /// In which namespaces the slot of that number may be read: [`NOWHERE`], [`INITIAL`], or
    /// [`EVERYWHERE`].
    extent: Atomic<u32>,
    _of: PhantomData<fn(T)>,
}

/// Not registered.
const NOWHERE: u32 = 0;
/// Being registered: only the initial namespace certainly has its slot, as it comes first.
const INITIAL: u32 = 1;
/// Registered.
const EVERYWHERE: u32 = 2;

impl<T: Pernet> Id<T> {
    /// Not assigned yet.
    pub(crate) const fn new() -> Self {
        Self {
            number: Atomic::new(0),
            is_taken: Atomic::new(0),
            extent: Atomic::new(NOWHERE),
            _of: PhantomData,
        }
    }

    /// There is no registration any more.
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

/// What a module keeps in each network namespace.
pub(crate) trait Pernet: Send + Sync + Sized + 'static {
    /// Where the number of this type is kept.
    fn id() -> &'static Id<Self>;

    /// Makes the value for a namespace that is being set up.
    fn init(net: &Net) -> impl PinInit<Self, Error>;

    /// The value is in its place: registers what there is of it from now on.
    ///
    /// # Errors
    ///
    /// The namespace is not set up, after [`Self::exit`].
    fn start(_this: &Ref<Self>) -> Result {
        Ok(())
    }

    /// The namespace, or the module, begins to go.
    fn pre_exit(_this: &PerNet<Self>) {}

    /// Drops all references to the value that it owns itself: its registrations. The teardown waits
    /// for them.
    fn exit(this: &PerNet<Self>);
}

/// A value in its namespace.
#[pin_data]
pub(crate) struct PerNet<T: Pernet> {
    net: NonNull<bindings::net>,
    /// How many references there are; the namespace has one itself.
    count: Refcount,
    /// There is none any more.
    #[pin]
    unused: Completion,
    #[pin]
    value: T,
}

// SAFETY: `net` outlives the value and is shared by design; the rest is `Send + Sync`.
unsafe impl<T: Pernet> Send for PerNet<T> {}

// SAFETY: `net` outlives the value and is shared by design; the rest is `Send + Sync`.
unsafe impl<T: Pernet> Sync for PerNet<T> {}

impl<T: Pernet> PerNet<T> {
    /// The namespace.
    #[inline(always)]
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: A namespace outlives what is kept in it.
        unsafe { Net::from_raw(self.net.as_ptr()) }
    }

    /// The value of a namespace, unless it has not been made yet or is about to go.
    pub(crate) fn of(net: &Net) -> Option<Ref<T>> {
        let guard = rcu::read_lock();
        if !T::id().is_readable_in(net) {
            return None;
        }
        // SAFETY: The namespace is live, and has its slot for as long as the read lock is held.
        let slot = unsafe { Adapter::<T>::slot(net.as_raw()) }?;
        let value = slot.found.load(Acquire);
        // SAFETY: It is null, or the address of a value that is dropped a grace period after `exit`
        // took it out of there.
        let found = unsafe { value.as_ref() }.and_then(Self::get_ref);
        drop(guard);
        found
    }

    /// A reference to the value, unless it is about to be dropped.
    pub(crate) fn get_ref(&self) -> Option<Ref<T>> {
        let count = self.count.as_atomic();
        let mut old = count.load(Relaxed);
        loop {
            if old <= 0 {
                return None;
            }
            match count.cmpxchg(old, old.wrapping_add(1), Relaxed) {
                // INVARIANT: The reference was just taken.
                Ok(_) => return Some(Ref(NonNull::from(self))),
                Err(now) => old = now,
            }
        }
    }

    fn put(&self) {
        if self.count.dec_and_test() {
            self.unused.complete_all();
        }
    }
}

impl<T: Pernet> Deref for PerNet<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// A counted reference to a namespace's value. The teardown of the namespace, and of the module,
/// waits for it.
///
/// # Invariants
///
/// The value is live, and one of its references is ours.
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
        self.count.inc();
        // INVARIANT: The reference was just taken.
        Self(self.0)
    }
}

impl<T: Pernet> Drop for Ref<T> {
    fn drop(&mut self) {
        self.put();
    }
}

// SAFETY: `exit` of the namespace waits for all references, and for a grace period more, before the
// value is dropped; the value is pinned.
unsafe impl<T: Pernet> NetRef for Ref<T> {
    fn net(&self) -> &Net {
        (**self).net()
    }
}

/// What a namespace keeps for us; zeroed when it is allocated.
#[repr(C)]
struct Slot<T: Pernet> {
    /// The value while it can be found.
    found: Atomic<*mut PerNet<T>>,
    /// The value while there is one, made by `KBox::into_raw()`.
    owned: Atomic<*mut PerNet<T>>,
}

/// The slots of namespaces that go together.
///
/// # Invariants
///
/// `head` is a list of live namespaces by their `exit_list`, which does not change and whose slots
/// are not freed for `'a`; `link` is its head or one of its links.
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
            // SAFETY: By the type invariants, it is such a link of a namespace.
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
    /// The namespace's slot. `None` as long as `T` has no number.
    ///
    /// # Safety
    ///
    /// `net` must be live for `'a`. If `T` has a number, then `net` must have allocated the slot
    /// and not free it within `'a`.
    unsafe fn slot<'a>(net: *mut bindings::net) -> Option<&'a Slot<T>> {
        let id = T::id().number.read_once();
        if id == 0 {
            return None;
        }
        // SAFETY: By the safety requirement, the namespace is live and has a slot of that number.
        let slot = unsafe { bindings::oot_net_generic(net, id) }.cast::<Slot<T>>();
        // SAFETY: By the safety requirement, the slot is allocated for `'a`, with the size that the
        // registration says; it was zeroed, which is a valid value.
        unsafe { slot.as_ref() }
    }

    /// # Safety
    ///
    /// To be called by the namespace code only.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        from_result(|| {
            // SAFETY: `net` is live, and its slot allocated just before.
            let slot = unsafe { Self::slot(net) }.ok_or(ENOENT)?;
            // SAFETY: The namespace code calls us with a live namespace.
            let namespace = unsafe { Net::from_raw(net) };
            let init = kernel::try_pin_init!(PerNet::<T> {
                net: NonNull::new(net).ok_or(EINVAL)?,
                count: Refcount::new(1),
                unused <- Completion::new(),
                value <- T::init(namespace),
            }? Error);
            let value = KBox::pin_init(init, GFP_KERNEL)?;
            // SAFETY: The value stays where it is until `release` takes it back.
            let value = KBox::into_raw(unsafe { Pin::into_inner_unchecked(value) });
            slot.owned.store(value, Relaxed);
            slot.found.store(value, Release);
            if namespace.is_init() {
                T::id().extent.store(INITIAL, Release);
            }
            // SAFETY: The value was made whole, and only `release` drops it.
            let started = match unsafe { (*value).get_ref() } {
                Some(this) => T::start(&this),
                None => Err(ENOENT),
            };
            if let Err(error) = started {
                // SAFETY: The namespace's value was made just before.
                unsafe { Self::exit(net) };
                Self::release(core::iter::once(slot));
                return Err(error);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, after `init`.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its slot is freed after `exit_batch`.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        // SAFETY: It is null, or `init` stored the address of a value that only `release` drops.
        if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
            T::pre_exit(value);
        }
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, a grace period after `pre_exit`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its slot is freed after `exit_batch`.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        slot.found.store(core::ptr::null_mut(), Release);
        // SAFETY: It is null, or `init` stored the address of a value that only `release` drops.
        if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
            T::exit(value);
        }
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, after `exit` for each of the namespaces.
    unsafe extern "C" fn exit_batch(nets: *mut bindings::list_head) {
        // SAFETY: C passes a list of namespaces, which stays as it is during the call, and whose slots
        // are freed after it.
        Self::release(unsafe { Slots::new(nets) });
    }

    /// Drops the values in these slots, after `exit`, when they are not referred to any more.
    fn release<'a>(slots: impl Iterator<Item = &'a Slot<T>> + Clone)
    where
        T: 'a,
    {
        let mut waited = false;
        for slot in slots.clone() {
            // SAFETY: It is null, or `init` stored the address of a value that only we drop.
            if let Some(value) = unsafe { slot.owned.load(Relaxed).as_ref() } {
                value.put();
                value.unused.wait_for_completion();
                waited = true;
            }
        }
        if waited {
            rcu::synchronize_rcu();
        }
        for slot in slots {
            let value = slot.owned.xchg(core::ptr::null_mut(), Full);
            if !value.is_null() {
                // SAFETY: `init` put it there by `KBox::into_raw`; there is no other reference.
                let value = unsafe { KBox::from_raw(value) };
                // SAFETY: It has been pinned since `init` made it, and is dropped in place.
                drop(unsafe { Pin::new_unchecked(value) });
            }
        }
    }
}

/// Keeps a value of `T` in each namespace, those to come included.
///
/// As all registrations of the kernel crate, one that is leaked (`core::mem::forget()`) stays: the
/// functions are code of the module, which must not be unloaded then.
pub(crate) struct Registration<T: Pernet> {
    ops: Pin<KBox<Opaque<bindings::pernet_operations>>>,
    _of: PhantomData<fn(T)>,
}

// SAFETY: The operations are only handed to C on registering and unregistering.
unsafe impl<T: Pernet> Send for Registration<T> {}

// SAFETY: `&Registration` offers nothing.
unsafe impl<T: Pernet> Sync for Registration<T> {}

impl<T: Pernet> Registration<T> {
    /// Makes the values.
    ///
    /// # Errors
    ///
    /// `EBUSY` if they have been made before, or what making one fails with.
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
        // SAFETY: The operations stay in place until they are unregistered on drop, and the number
        // is theirs alone.
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
        // Readers that found slots to be readable are done with them after this.
        rcu::synchronize_rcu();
        // SAFETY: They were registered in `new`.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
        id.give_back();
    }
}
