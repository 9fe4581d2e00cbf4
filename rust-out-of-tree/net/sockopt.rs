// SPDX-License-Identifier: GPL-2.0

//! Socket options of IPv4 sockets, handled by a netfilter module.
//!
//! A [`SockOpts`] is a static with a range of options to set and a range to get. The [`SockOpt`]
//! functions of a type handle them while a [`Registration`] exists. During a call the kernel holds
//! a reference to the module. The caller gives the buffer of an option and its length; accesses
//! beyond the length fail.
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

/// The handlers of a [`SockOpts`].
pub(crate) trait SockOpt: 'static {
    /// Handles a `setsockopt()`.
    ///
    /// # Errors
    ///
    /// The errno that `setsockopt()` returns.
    fn set(call: &Set<'_>) -> Result;

    /// Handles a `getsockopt()`.
    ///
    /// # Errors
    ///
    /// The errno that `getsockopt()` returns.
    fn get(call: &mut Get<'_>) -> Result;
}

/// A `setsockopt()` call.
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
    /// The network namespace of the socket.
    pub(crate) fn net(&self) -> &'a Net {
        self.net
    }

    /// The option number.
    pub(crate) fn option(&self) -> c_int {
        self.option
    }

    /// The length of the value in bytes, as given by the caller.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Reads a `T` from the start of the value.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the value is too short or cannot be read.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Result<T> {
        let mut value = T::new_zeroed();
        let bytes = value.as_mut_bytes();
        if bytes.len() > self.len {
            return Err(EFAULT);
        }
        let (to, len) = (bytes.as_mut_ptr().cast(), bytes.len());
        // SAFETY: `to` is valid for writes of `len` bytes. By the type invariants and the check
        // above, the value has at least as many bytes if it is kernel memory.
        match unsafe { bindings::oot_copy_from_sockptr(to, self.value, len) } {
            0 => Ok(value),
            _ => Err(EFAULT),
        }
    }
}

/// A `getsockopt()` call.
pub(crate) struct Get<'a> {
    net: &'a Net,
    option: c_int,
    value: UserPtr,
    len: &'a mut c_int,
}

impl<'a> Get<'a> {
    /// The network namespace of the socket.
    pub(crate) fn net(&self) -> &'a Net {
        self.net
    }

    /// The option number.
    pub(crate) fn option(&self) -> c_int {
        self.option
    }

    /// The length of the buffer in bytes, as given by the caller; 0 if negative.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(*self.len).unwrap_or(0)
    }

    /// Sets the length that is returned to the caller.
    pub(crate) fn set_len(&mut self, len: usize) {
        *self.len = len as c_int;
    }

    /// Reads a `T` from the start of the buffer.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the buffer is too short or cannot be read.
    pub(crate) fn read<T: FromBytes + IntoBytes>(&self) -> Result<T> {
        let mut value = T::new_zeroed();
        UserSlice::new(self.value, self.len())
            .reader()
            .read_slice(value.as_mut_bytes())?;
        Ok(value)
    }

    /// Returns a writer for the buffer from `offset` bytes on.
    pub(crate) fn writer(&self, offset: usize) -> UserSliceWriter {
        let rest = self.len().saturating_sub(offset);
        UserSlice::new(self.value.wrapping_byte_add(offset), rest).writer()
    }
}

/// The C functions for a [`SockOpt`].
struct Adapter<T>(PhantomData<T>);

impl<T: SockOpt> Adapter<T> {
    /// # Safety
    ///
    /// To be called only by netfilter, as the `set` of socket options.
    unsafe extern "C" fn set(
        sk: *mut bindings::sock,
        option: c_int,
        value: bindings::sockptr_t,
        len: c_uint,
    ) -> c_int {
        from_result(|| {
            // SAFETY: Netfilter passes a live socket.
            let net = unsafe { net_of(sk) };
            // INVARIANT: Netfilter passes kernel memory with its real length.
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
    /// To be called only by netfilter, as the `get` of socket options.
    unsafe extern "C" fn get(
        sk: *mut bindings::sock,
        option: c_int,
        user: *mut c_void,
        len: *mut c_int,
    ) -> c_int {
        from_result(|| {
            // SAFETY: Netfilter passes a live socket.
            let net = unsafe { net_of(sk) };
            // SAFETY: Netfilter passes a pointer to a local variable, which this call may write.
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

/// The network namespace of a socket.
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

/// A range of socket options and their handlers.
#[repr(transparent)]
pub(crate) struct SockOpts(Opaque<bindings::nf_sockopt_ops>);

// SAFETY: Only netfilter changes the value, under its own lock.
unsafe impl Sync for SockOpts {}

impl SockOpts {
    /// Describes the options `set` and `get`, handled by `T` of `module`; for use in a static.
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
        // INVARIANT: The options were just registered.
        Ok(Registration(self))
    }
}

/// The registration of [`SockOpts`], unregistered on drop.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its functions are module code: the module must not be unloaded then.
///
/// # Invariants
///
/// The options are registered.
pub(crate) struct Registration(&'static SockOpts);

impl Drop for Registration {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the options are registered.
        unsafe { bindings::nf_unregister_sockopt(self.0 .0.get()) };
    }
}
