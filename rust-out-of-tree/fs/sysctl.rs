// SPDX-License-Identifier: GPL-2.0

//! Integers in /proc/sys/net, one set of them in every network namespace.
//!
//! C headers: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h),
//! [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::oot::{
    bindings,
    net::namespace::Net,
    sync::Once, //
};
use core::{
    marker::PhantomPinned,
    ptr::NonNull, //
};
use kernel::{
    ffi::c_int,
    prelude::*,
    sync::atomic::Atomic, //
};

/// A file and what it reads as at first.
pub(crate) struct IntFile {
    pub(crate) name: &'static CStr,
    pub(crate) default: i32,
}

/// Integers, each with its file, which may be set to anything.
///
/// # Invariants
///
/// `header` is of a registration of files for `values`, in a namespace that is alive.
#[pin_data(PinnedDrop)]
pub(crate) struct Ints<const N: usize> {
    values: [Atomic<i32>; N],
    /// What the files are, for as long as they are registered.
    table: KVec<bindings::ctl_table>,
    header: NonNull<bindings::ctl_table_header>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Files can be removed by any thread.
unsafe impl<const N: usize> Send for Ints<N> {}

// SAFETY: The values are atomic; there is nothing to do with the rest of a shared reference.
unsafe impl<const N: usize> Sync for Ints<N> {}

impl<const N: usize> Ints<N> {
    /// Creates `files` in the directory `path`, such as `net/ipv4/vs`, of a namespace.
    ///
    /// They have to be dropped before the namespace goes: they belong into its per-namespace state.
    pub(crate) fn new<'a>(
        net: &'a Net,
        path: &'static CStr,
        files: &'static [IntFile; N],
    ) -> impl PinInit<Self, Error> + use<'a, N> {
        pin_init::pin_init!(&this in Self {
            values: core::array::from_fn(|i| {
                Atomic::new(files.get(i).map_or(0, |file| file.default))
            }),
            table: {
                // SAFETY: `this` is valid for writes, so the address of its field is one.
                let values = unsafe { &raw mut (*this.as_ptr()).values };
                table(files, values.cast())?
            },
            // INVARIANT: The files are registered here, as the last thing that can fail.
            header: register(net, path, table)?,
            _pin: PhantomPinned,
        }? Error)
    }

    /// The integer with that index.
    #[inline(always)]
    pub(crate) fn get<const I: usize>(&self) -> i32 {
        const { assert!(I < N) };
        self.values.get(I).map_or(0, |value| value.read_once())
    }
}

/// The files for the integers from `values` on.
fn table(files: &[IntFile], values: *mut Atomic<i32>) -> Result<KVec<bindings::ctl_table>> {
    let mut table = KVec::with_capacity(files.len(), GFP_KERNEL)?;
    for (i, file) in files.iter().enumerate() {
        let entry = bindings::ctl_table {
            procname: file.name.as_char_ptr(),
            data: values.wrapping_add(i).cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: 0o644,
            proc_handler: Some(bindings::proc_dointvec),
            ..Default::default()
        };
        table.push_within_capacity(entry).map_err(|_| ENOMEM)?;
    }
    Ok(table)
}

/// Creates the files of a table, which stays where it is, as do their integers, until they are
/// removed.
fn register(
    net: &Net,
    path: &'static CStr,
    table: &[bindings::ctl_table],
) -> Result<NonNull<bindings::ctl_table_header>> {
    // SAFETY: Namespace and path are valid, and the table is as long as it says.
    let header = unsafe {
        bindings::register_net_sysctl_sz(
            net.as_raw(),
            path.as_char_ptr(),
            table.as_ptr(),
            table.len(),
        )
    };
    NonNull::new(header).ok_or(ENOMEM)
}

#[pinned_drop]
impl<const N: usize> PinnedDrop for Ints<N> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant; this waits for those who use the files.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}
