// SPDX-License-Identifier: GPL-2.0

//! Socket options of IPv4 sockets that a netfilter module serves.
//!
//! A [`SockOpts`] is a static: a range of options to set and one to get, which a type serves by its
//! [`SockOpt`] functions while a [`Registration`] lives. During a call the kernel holds a reference
//! to the module. The value of an option is bytes of the caller's, of the length that it says: what
//! is read or written beyond that is refused.
//!
//! C header: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h)

use super::namespace::Net;
use crate::oot::bindings;
use core::{
    marker::PhantomData,
    ops::Range, //
};
use kernel::{
    error::{from_result, to_result},
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    types::Opaque,
    uaccess::{UserPtr, UserSlice, UserSliceWriter}, //
};
use zerocopy::{FromBytes, IntoBytes};

/// Serves the options of a [`SockOpts`].
pub(crate) trait SockOpt: 'static {
    /// Carries out a `setsockopt()`.
    fn set(call: &Set<'_>) -> Result;

    /// Answers a `getsockopt()`.
    fn get(call: &mut Get<'_>) -> Result;
}

/// A call of `setsockopt()`.
///
/// # Invariants
///
/// `value` is user memory, or kernel memory of at least `len` bytes.
pub(crate) struct Set<'a> {
    net: &'a Net,
    option: c_int,
    value: bindings::sockptr_t,
    len: usize,
}

impl<'a> Set<'a> {
    /// The namespace of the socket.
    pub(crate) fn net(&self) -> &'a Net {
        self.net
    }

    /// Which option.
    pub(crate) fn option(&self) -> c_int {
        self.option
    }

    /// The length of the value, as the caller gave it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads the start of the value.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the value is shorter, or cannot be read.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Result<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if bytes.len() > self.len {
            return Err(EFAULT);
        }
        let (to, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: `to` has room for `len` bytes; by the type invariants and the check above, there
        // are as many to read if the value is kernel memory.
        match unsafe { bindings::oot_copy_from_sockptr(to, self.value, len) } {
            0 => Ok(value),
            _ => Err(EFAULT),
        }
    }
}

/// A call of `getsockopt()`.
pub(crate) struct Get<'a> {
    net: &'a Net,
    option: c_int,
    value: UserPtr,
    len: &'a mut c_int,
}

impl<'a> Get<'a> {
    /// The namespace of the socket.
    pub(crate) fn net(&self) -> &'a Net {
        self.net
    }

    /// Which option.
    pub(crate) fn option(&self) -> c_int {
        self.option
    }

    /// The length of the room for the value, as the caller gave it; 0 for a negative one.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(*self.len).unwrap_or(0)
    }

    /// Reports that length of the value to the caller, not that of the room.
    pub(crate) fn set_len(&mut self, len: usize) {
        *self.len = len as c_int;
    }

    /// Reads what is in the room for the value, from its start.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is less room, or it cannot be read.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Result<T> {
        let mut value = T::new_zeroed();
        UserSlice::new(self.value, self.len())
            .reader()
            .read_slice(value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes to the room for the value, from `offset` on.
    pub(crate) fn writer(&self, offset: usize) -> UserSliceWriter {
        let rest = self.len().saturating_sub(offset);
        UserSlice::new(self.value.wrapping_byte_add(offset), rest).writer()
    }
}

/// The functions that netfilter calls for a [`SockOpt`].
struct Adapter<T>(PhantomData<T>);

impl<T: SockOpt> Adapter<T> {
    /// # Safety
    ///
    /// To be called by netfilter, as the `set` of socket options.
    unsafe extern "C" fn set(
        sk: *mut bindings::sock,
        option: c_int,
        value: bindings::sockptr_t,
        len: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: Netfilter passes a live socket.
            let net = unsafe { net_of(sk) };
            // INVARIANT: Kernel memory comes with its true length.
            T::set(&Set {
                net,
                option,
                value,
                len: len as usize,
            })?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// To be called by netfilter, as the `get` of socket options.
    unsafe extern "C" fn get(
        sk: *mut bindings::sock,
        option: c_int,
        user: *mut c_void,
        len: *mut c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: Netfilter passes a live socket.
            let net = unsafe { net_of(sk) };
            // SAFETY: Netfilter passes a length of its own, ours during the call.
            let len = unsafe { &mut *len };
            T::get(&mut Get {
                net,
                option,
                value: UserPtr::from_ptr(user),
                len,
            })?;
            Ok(0)
        })
    }
}

/// The namespace of a socket.
///
/// # Safety
///
/// `sk` must be live for `'a`.
unsafe fn net_of<'a>(sk: *const bindings::sock) -> &'a Net {
    // SAFETY: By the safety requirement.
    let net = unsafe { bindings::oot_sock_net(sk) };
    // SAFETY: A socket that a process uses holds its namespace.
    unsafe { Net::from_raw(net) }
}

/// The options that a type serves.
#[repr(transparent)]
pub(crate) struct SockOpts(Opaque<bindings::nf_sockopt_ops>);

// SAFETY: Netfilter, which alone changes it, does so under its own lock.
unsafe impl Sync for SockOpts {}

impl SockOpts {
    /// The options `set` and `get`, served by `T` of that module; for use in a static.
    pub(crate) const fn new<T: SockOpt>(
        module: &ThisModule,
        set: Range<c_int>,
        get: Range<c_int>,
    ) -> Self {
        Self(Opaque::new(bindings::nf_sockopt_ops {
            pf: bindings::NFPROTO_IPV4 as u8,
            set_optmin: set.start,
            set_optmax: set.end,
            set: Some(Adapter::<T>::set),
            get_optmin: get.start,
            get_optmax: get.end,
            get: Some(Adapter::<T>::get),
            owner: module.as_ptr(),
            ..pin_init::zeroed()
        }))
    }

    /// Registers the options with netfilter.
    ///
    /// # Errors
    ///
    /// `EBUSY` if any of them is registered already.
    pub(crate) fn register(&'static self) -> Result<Registration> {
        // SAFETY: The operations are a static, and its module is held while one of them runs.
        to_result(unsafe { bindings::nf_register_sockopt(self.0.get()) })?;
        // INVARIANT: They were just registered.
        Ok(Registration(self))
    }
}

/// The registration of [`SockOpts`]; dropping it ends them.
///
/// As all registrations of the kernel crate, one that is leaked (`core::mem::forget()`) stays: the
/// functions are code of the module, which must not be unloaded then.
///
/// # Invariants
///
/// They are registered.
pub(crate) struct Registration(&'static SockOpts);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, they are registered.
        unsafe { bindings::nf_unregister_sockopt(self.0 .0.get()) };
    }
}
