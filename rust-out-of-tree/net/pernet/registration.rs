// SPDX-License-Identifier: GPL-2.0

//! The registration of a type's per-netns values, and the functions that C calls.

use core::{
    marker::PhantomData,
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

use super::{
    Head,
    Net,
    PerNet,
    Pernet,
    EVERYWHERE,
    INITIAL,
    NOWHERE, //
};

/// The memory at our `net_generic()` id in a namespace. It is zeroed when it is allocated.
#[repr(C)]
pub(super) struct Slot<T: Pernet> {
    /// The value while it can be found, else null.
    pub(super) found: Atomic<*mut PerNet<T>>,
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

/// The C functions for `T`.
pub(super) struct Adapter<T: Pernet>(PhantomData<T>);

impl<T: Pernet> Adapter<T> {
    /// Returns the slot of a namespace, or `None` if `T` has no id.
    ///
    /// # Safety
    ///
    /// `net` must be live for `'a`. If `T` has an id, then `net` must have allocated the slot and
    /// must not free it within `'a`.
    pub(super) unsafe fn slot<'a>(net: *mut bindings::net) -> Option<&'a Slot<T>> {
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

/// The registration of `T`: while it exists, each namespace has a value, including new ones.
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
