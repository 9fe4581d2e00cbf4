// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a module keeps in each of them.
//!
//! A type that implements [`Pernet`] gets one value in each namespace while its [`Registration`]
//! lives. The value comes with the namespace's netfilter hooks ([`PerNet::enable_hooks`]) and files
//! ([`Pernet::files`]), which are gone, and have run for the last time, before it is dropped.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc,
        ArcBorrow,
        Mutex, //
    },
    types::Opaque, //
};

use crate::oot::{
    bindings,
    fs::{
        proc::{
            Entry,
            File, //
        },
        sysctl, //
    },
    sync::Once, //
};

use super::filter::{
    self,
    HookOps, //
};

/// A network namespace.
///
/// # Invariants
///
/// A live `struct net`.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: `struct net` is shared between CPUs by design.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `net` must be live for `'a`.
    pub(in crate::oot) unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*net.cast::<Self>() }
    }

    /// The initial one.
    pub(crate) fn init() -> &'static Self {
        // SAFETY: It is never freed.
        unsafe { Self::from_raw(&raw mut bindings::init_net) }
    }

    /// Whether it is the initial one.
    pub(crate) fn is_init(&self) -> bool {
        core::ptr::eq(self, Self::init())
    }

    /// Whether it belongs to the initial user namespace, not to an unprivileged user's.
    pub(crate) fn is_of_init_user_ns(&self) -> bool {
        // SAFETY: The namespace is live by the type invariant.
        unsafe { bindings::oot_net_is_of_init_user_ns(self.as_raw()) }
    }

    /// Whether the caller may administer it: has `CAP_NET_ADMIN` in the user namespace that it
    /// belongs to.
    pub(crate) fn is_admin(&self) -> bool {
        self.is_capable(bindings::CAP_NET_ADMIN)
    }

    /// Whether the caller has that capability in the user namespace that it belongs to.
    pub(in crate::oot) fn is_capable(&self, capability: u32) -> bool {
        // SAFETY: The namespace is live by the type invariant.
        unsafe { bindings::oot_net_ns_capable(self.as_raw(), capability as c_int) }
    }

    #[inline(always)]
    pub(in crate::oot) fn as_raw(&self) -> *mut bindings::net {
        self.0.get()
    }
}

/// The number under which namespaces keep the values of `T`, and of no other type, and what these
/// share.
///
/// # Invariants
///
/// `shared` is null, or comes from an `Arc` that the one registration of `T` owns.
pub(crate) struct Id<T: Pernet> {
    number: Atomic<u32>,
    shared: Atomic<*mut T::Shared>,
}

impl<T: Pernet> Id<T> {
    /// Not assigned yet.
    pub(crate) const fn new() -> Self {
        Self {
            number: Atomic::new(0),
            shared: Atomic::new(core::ptr::null_mut()),
        }
    }
}

/// What a module keeps in each network namespace.
pub(crate) trait Pernet: Send + Sync + Sized + 'static {
    /// What the values of all namespaces share.
    type Shared: Send + Sync + 'static;

    /// Where the number of this type is kept.
    fn id() -> &'static Id<Self>;

    /// What there is in the namespace's /proc/net.
    fn files() -> &'static [File];

    /// What there is in the namespace's /proc/sys: a directory, such as `net/ipv4/vs`, and the files
    /// in it.
    fn settings() -> (&'static CStr, &'static [sysctl::File<Self>]);

    /// Makes the value for a namespace that is being set up.
    fn init<'a>(net: &'a Net, shared: ArcBorrow<'a, Self::Shared>) -> impl PinInit<Self, Error>;

    /// The namespace, or the module, goes away: hooks are gone already, a grace period follows,
    /// then the value is dropped.
    fn pre_exit(_this: &PerNet<Self>) {}
}

/// A value in its namespace. Fields are dropped in this order: the files, and with them who reads
/// or writes them, before what is read.
#[pin_data]
pub(crate) struct PerNet<T: Pernet> {
    net: NonNull<bindings::net>,
    _files: KVec<Entry>,
    _settings: sysctl::Files,
    #[pin]
    hooks: Mutex<Hooks>,
    #[pin]
    value: T,
}

struct Hooks {
    /// Set when the namespace goes: no hooks any more.
    closed: bool,
    sets: [Option<filter::Registration>; 2],
}

// SAFETY: `net` outlives the value and is shared by design; the rest is `Send + Sync`.
unsafe impl<T: Pernet> Send for PerNet<T> {}

// SAFETY: As above.
unsafe impl<T: Pernet> Sync for PerNet<T> {}

impl<T: Pernet> PerNet<T> {
    fn new<'a>(
        namespace: &'a Net,
        shared: ArcBorrow<'a, T::Shared>,
    ) -> impl PinInit<Self, Error> + use<'a, T> {
        kernel::try_pin_init!(&this in Self {
            net: NonNull::from(namespace).cast(),
            hooks <- new_mutex!(Hooks {
                closed: false,
                sets: [None, None],
            }),
            value <- T::init(namespace, shared),
            _settings: {
                // SAFETY: `this` is valid, so the address of its field is.
                let value = unsafe { &raw const (*this.as_ptr()).value };
                // SAFETY: It was initialised just before, and only shared from here on.
                let value = unsafe { &*value };
                let (path, files) = T::settings();
                // SAFETY: They are for `self`, which is dropped while the namespace lives, the
                // value last.
                unsafe { sysctl::Files::new(namespace, path, files, value) }?
            },
            _files: Self::create_files(namespace)?,
        }? Error)
    }

    fn create_files(namespace: &Net) -> Result<KVec<Entry>> {
        let files = T::files();
        let mut entries = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        for file in files {
            // SAFETY: It is for `self`, which is dropped while the namespace lives.
            let entry = unsafe { Entry::new(namespace, file) }?;
            entries.push_within_capacity(entry).map_err(|_| ENOMEM)?;
        }
        Ok(entries)
    }

    /// The namespace.
    #[inline(always)]
    pub(crate) fn net(&self) -> &Net {
        // SAFETY: A namespace outlives what is kept in it.
        unsafe { Net::from_raw(self.net.as_ptr()) }
    }

    /// The value of a namespace, once [`Registration::new`] made it.
    ///
    /// For callers that run within the registration's life: requests of a netlink family, of
    /// files, of socket options that the module unregisters first. Files may ask while the value
    /// is being made, or when it is about to go: then there is none.
    pub(crate) fn of(net: &Net) -> Option<&Self> {
        // SAFETY: The namespace is live, and its word allocated: that is done before the value,
        // and with it the files, is made, of the initial namespace first, and of all before
        // anything else that calls us is registered.
        let slot = unsafe { Adapter::<T>::slot(net.as_raw()) }?;
        let value = slot.load(Acquire);
        // SAFETY: It is null or was made whole before `init` stored it. `exit` frees it only after
        // whoever may have loaded it has come to an end: notifiers hold the RTNL, with which the
        // slot is emptied; files are removed, and waited for, before the value that they read; a
        // netlink or other socket keeps its namespace; and both sorts are unregistered before the
        // module unregisters the values.
        unsafe { value.as_ref() }
    }

    /// Starts the hooks of slot `slot` (0 or 1) if they do not run yet.
    pub(crate) fn enable_hooks(&self, slot: usize, ops: &[HookOps<T>]) -> Result {
        let mut hooks = self.hooks.lock();
        if hooks.closed {
            return Err(ENOENT);
        }
        let set = hooks.sets.get_mut(slot).ok_or(EINVAL)?;
        if set.is_none() {
            // SAFETY: The registration is dropped in `close`, a grace period before `self` is.
            *set = Some(unsafe { filter::Registration::new(self, ops) }?);
        }
        Ok(())
    }

    /// Stops the hooks of a slot. Ones that are running finish on their own.
    pub(crate) fn disable_hooks(&self, slot: usize) {
        if let Some(set) = self.hooks.lock().sets.get_mut(slot) {
            *set = None;
        }
    }

    fn close(&self) {
        let mut hooks = self.hooks.lock();
        hooks.closed = true;
        hooks.sets = [None, None];
    }
}

impl<T: Pernet> Deref for PerNet<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

struct Adapter<T: Pernet>(PhantomData<T>);

impl<T: Pernet> Adapter<T> {
    /// The word in which the namespace keeps the address of our value; null if there is none.
    /// `None` as long as `T` has no number.
    ///
    /// # Safety
    ///
    /// `net` must be live for `'a`. If `T` has a number, then `net` must have allocated the word
    /// and not free it within `'a`.
    unsafe fn slot<'a>(net: *mut bindings::net) -> Option<&'a Atomic<*mut PerNet<T>>> {
        let id = T::id().number.read_once();
        if id == 0 {
            return None;
        }
        // SAFETY: By the safety requirement, the namespace is live and has a word of that number.
        let slot = unsafe { bindings::oot_net_generic(net, id) }.cast::<*mut PerNet<T>>();
        if slot.is_null() {
            return None;
        }
        // SAFETY: By the safety requirement, the word is allocated for `'a`, with the size of a
        // pointer and at least its alignment; nobody accesses it but by this function.
        Some(unsafe { Atomic::from_ptr(slot) })
    }

    /// # Safety
    ///
    /// To be called by the namespace code only.
    unsafe extern "C" fn init(net: *mut bindings::net) -> c_int {
        from_result(|| {
            // SAFETY: `net` is live, and its word allocated just before.
            let slot = unsafe { Self::slot(net) }.ok_or(ENOENT)?;
            // SAFETY: The namespace code calls us with a live namespace.
            let namespace = unsafe { Net::from_raw(net) };
            // SAFETY: The registration set it before the first call, and owns the `Arc`.
            let shared = unsafe { ArcBorrow::from_raw(T::id().shared.read_once()) };
            let init = PerNet::<T>::new(namespace, shared);
            let value = KBox::pin_init(init, GFP_KERNEL)?;
            // SAFETY: The value stays where it is until `exit` takes it back.
            let value = unsafe { Pin::into_inner_unchecked(value) };
            // Files find it from now on: all of it.
            slot.store(KBox::into_raw(value), Release);
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, after `init`.
    unsafe extern "C" fn pre_exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its word is freed after `exit`.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        let value = slot.load(Acquire);
        // SAFETY: It is null, or `init` stored the address of a value that only `exit` frees.
        if let Some(value) = unsafe { value.as_ref() } {
            value.close();
            T::pre_exit(value);
        }
    }

    /// # Safety
    ///
    /// To be called by the namespace code only, a grace period after `pre_exit`.
    unsafe extern "C" fn exit(net: *mut bindings::net) {
        // SAFETY: `net` is live, and its word is freed after this.
        let Some(slot) = (unsafe { Self::slot(net) }) else {
            return;
        };
        // Notifiers of devices find the value with the RTNL held.
        // SAFETY: We may sleep and do not hold it.
        unsafe { bindings::rtnl_lock() };
        let value = slot.xchg(core::ptr::null_mut(), Full);
        // SAFETY: It was just taken.
        unsafe { bindings::rtnl_unlock() };
        if value.is_null() {
            return;
        }
        // SAFETY: `init` put it there by `KBox::into_raw`, and nobody else takes it out. Files that
        // found it before are waited for as the first of its fields are dropped.
        let value = unsafe { KBox::from_raw(value) };
        // SAFETY: It has been pinned since `init` made it, and is dropped in place.
        drop(unsafe { Pin::new_unchecked(value) });
    }
}

/// Keeps a value of `T` in each namespace, those to come included.
pub(crate) struct Registration<T: Pernet> {
    ops: Pin<KBox<Opaque<bindings::pernet_operations>>>,
    _shared: Arc<T::Shared>,
}

// SAFETY: The operations are only handed to C on registering and unregistering.
unsafe impl<T: Pernet> Send for Registration<T> {}

// SAFETY: As above; `&Registration` offers nothing.
unsafe impl<T: Pernet> Sync for Registration<T> {}

impl<T: Pernet> Registration<T> {
    /// Makes the values. `EBUSY` if they have been made before.
    pub(crate) fn new(shared: Arc<T::Shared>) -> Result<Self> {
        let ours = Arc::as_ptr(&shared).cast_mut();
        // INVARIANT: The registration keeps the `Arc`. Should it fail, or end, no other begins.
        if T::id()
            .shared
            .cmpxchg(core::ptr::null_mut(), ours, Full)
            .is_err()
        {
            return Err(EBUSY);
        }
        let ops = bindings::pernet_operations {
            init: Some(Adapter::<T>::init),
            pre_exit: Some(Adapter::<T>::pre_exit),
            exit: Some(Adapter::<T>::exit),
            id: T::id().number.as_ptr(),
            size: size_of::<*mut PerNet<T>>(),
            ..pin_init::zeroed()
        };
        let ops = KBox::pin(Opaque::new(ops), GFP_KERNEL)?;
        // SAFETY: The operations stay in place until they are unregistered on drop.
        to_result(unsafe { bindings::register_pernet_subsys(ops.get()) })?;
        Ok(Self {
            ops,
            _shared: shared,
        })
    }
}

impl<T: Pernet> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: They were registered in `new`.
        unsafe { bindings::unregister_pernet_subsys(self.ops.get()) };
    }
}
