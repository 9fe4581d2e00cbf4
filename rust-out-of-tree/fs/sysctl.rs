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
    sync::{
        atomic::Atomic,
        Arc, //
    },
};

/// A file and what it reads as at first.
pub(crate) struct IntFile {
    pub(crate) name: &'static CStr,
    pub(crate) default: i32,
}

/// How a file shows its integer.
#[derive(Clone, Copy)]
enum Unit {
    Itself,
    /// In seconds what is a number of jiffies.
    Seconds,
}

/// Files of integers, which may be set to anything.
///
/// # Invariants
///
/// `header` is of a registration of files in a namespace that is alive.
struct Files {
    /// What the files are, for as long as they are registered.
    _table: KVec<bindings::ctl_table>,
    header: NonNull<bindings::ctl_table_header>,
}

// SAFETY: Files can be removed by any thread.
unsafe impl Send for Files {}

// SAFETY: There is nothing to do with a shared reference.
unsafe impl Sync for Files {}

impl Drop for Files {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; this waits for those who use the files.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// Integers, each with its file, which lie where their owner does.
#[pin_data]
pub(crate) struct Ints<const N: usize> {
    /// Dropped before the values that they write to.
    files: Files,
    values: [Atomic<i32>; N],
    #[pin]
    _pin: PhantomPinned,
}

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
            files: {
                // SAFETY: `this` is valid for writes, so the address of its field is one.
                let values = unsafe { &raw mut (*this.as_ptr()).values };
                register(net, path, table(files, values.cast(), Unit::Itself)?)?
            },
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

/// A number of jiffies that a file shows in seconds, and that may outlast its file.
///
/// The file is there in namespaces of the initial user namespace only.
pub(crate) struct SharedJiffies {
    _file: Option<Files>,
    value: Jiffies,
}

/// The number of jiffies.
#[derive(Clone)]
pub(crate) struct Jiffies(Arc<Atomic<i32>>);

impl SharedJiffies {
    /// As [`Ints::new`], with one file.
    pub(crate) fn new(net: &Net, path: &'static CStr, file: &IntFile) -> Result<Self> {
        let value = Jiffies(Arc::new(Atomic::new(file.default), GFP_KERNEL)?);
        let file = if net.is_of_init_user_ns() {
            let files = core::slice::from_ref(file);
            let ptr = core::ptr::from_ref(&*value.0).cast_mut();
            Some(register(net, path, table(files, ptr, Unit::Seconds)?)?)
        } else {
            None
        };
        Ok(Self { _file: file, value })
    }

    /// A reference to the number.
    pub(crate) fn value(&self) -> Jiffies {
        self.value.clone()
    }
}

impl Jiffies {
    /// The number as it is now; below 0 it is a very large one.
    #[inline]
    pub(crate) fn get(&self) -> usize {
        // CAST: As C adds an `int` to an `unsigned long`.
        self.0.read_once() as usize
    }
}

/// The files for the integers from `values` on.
fn table(
    files: &[IntFile],
    values: *mut Atomic<i32>,
    unit: Unit,
) -> Result<KVec<bindings::ctl_table>> {
    let mut table = KVec::with_capacity(files.len(), GFP_KERNEL)?;
    for (i, file) in files.iter().enumerate() {
        let entry = bindings::ctl_table {
            procname: file.name.as_char_ptr(),
            data: values.wrapping_add(i).cast(),
            maxlen: size_of::<c_int>() as c_int,
            mode: 0o644,
            proc_handler: Some(match unit {
                Unit::Itself => bindings::proc_dointvec,
                Unit::Seconds => bindings::proc_dointvec_jiffies,
            }),
            ..Default::default()
        };
        table.push_within_capacity(entry).map_err(|_| ENOMEM)?;
    }
    Ok(table)
}

/// Creates the files of a table, whose integers stay where they are until the files are removed.
fn register(net: &Net, path: &'static CStr, table: KVec<bindings::ctl_table>) -> Result<Files> {
    // SAFETY: Namespace and path are valid, and the table is as long as it says and lives as long
    // as the files.
    let header = unsafe {
        bindings::register_net_sysctl_sz(
            net.as_raw(),
            path.as_char_ptr(),
            table.as_ptr(),
            table.len(),
        )
    };
    // INVARIANT: The files have just been registered.
    Ok(Files {
        _table: table,
        header: NonNull::new(header).ok_or(ENOMEM)?,
    })
}
