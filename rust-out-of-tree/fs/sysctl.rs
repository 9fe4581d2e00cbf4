// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/sys/net of a network namespace.
//!
//! A [`File`] describes a number or text of a `T`, and how to show and set it. A [`Registration`]
//! creates some files in a namespace, for the `T` that it has a reference to. Numbers are plain
//! words of the `T`, so that the code that uses them reads them by a single load.
//!
//! C headers: [`include/linux/sysctl.h`](srctree/include/linux/sysctl.h),
//! [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use crate::oot::{
    bindings,
    net::namespace::NetRef,
    sync::Once, //
};
use core::{
    array,
    ptr::NonNull, //
};
use kernel::{
    ffi::{
        c_int,
        c_void, //
    },
    page::PAGE_SIZE,
    prelude::*,
    sync::{
        atomic::Atomic,
        Arc, //
    },
};

/// Returns the numbers of a file in a `T`.
pub(crate) type At<T, const N: usize> = fn(&T) -> &[Atomic<i32>; N];

/// The availability of a file in a namespace that does not belong to the initial user namespace,
/// and so may have an unprivileged owner.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unprivileged {
    /// Writable, as in other namespaces.
    ReadWrite,
    /// Read-only.
    ReadOnly,
    /// Absent.
    Absent,
}

/// The name of a file, and the number or text of a `T` that it shows and sets.
pub(crate) struct File<T: 'static> {
    name: &'static CStr,
    unprivileged: Unprivileged,
    value: Value<T>,
}

enum Value<T: 'static> {
    Int(At<T, 1>),
    /// Limited to the given minimum and maximum.
    Range(At<T, 1>, &'static [c_int; 2]),
    /// Shown in seconds and stored in jiffies.
    Seconds(At<T, 1>),
    Long(fn(&T) -> &Atomic<usize>),
    One(Ruled<T, 1>),
    Two(Ruled<T, 2>),
    Text(Text<T>),
}

/// `N` integers that a rule shows and sets.
struct Ruled<T: 'static, const N: usize> {
    at: At<T, N>,
    rule: &'static Rule<T, N>,
}

/// The functions that show and set `N` integers.
pub(crate) struct Rule<T, const N: usize> {
    /// Converts the stored integers to those shown.
    pub(crate) show: fn(&T, [i32; N]) -> [i32; N],
    /// Stores new integers. Called after each write that contains at least one.
    ///
    /// # Errors
    ///
    /// The errno of the write, if the integers are invalid or memory is short.
    pub(crate) set: fn(&T, &[Atomic<i32>; N], [i32; N]) -> Result,
    /// The value that `set` gets for an integer that was not written. If `None`, it gets the stored
    /// one.
    pub(crate) absent: Option<i32>,
}

/// The functions that show and set a text.
pub(crate) struct Text<T> {
    /// Writes the text and a NUL to the buffer, truncated if the buffer is too short. Returns the
    /// length without the NUL.
    pub(crate) show: fn(&T, &mut [u8]) -> Result<usize>,
    /// Sets the text.
    ///
    /// # Errors
    ///
    /// The errno of the write, if the text is invalid or memory is short.
    pub(crate) set: fn(&T, &CStr) -> Result,
}

impl<T: Sync> File<T> {
    const fn new(name: &'static CStr, value: Value<T>) -> Self {
        Self {
            name,
            unprivileged: Unprivileged::ReadWrite,
            value,
        }
    }

    /// Describes an integer without limits.
    pub(crate) const fn int(name: &'static CStr, at: At<T, 1>) -> Self {
        Self::new(name, Value::Int(at))
    }

    /// Describes an integer from the first to the second of `range`.
    pub(crate) const fn range(
        name: &'static CStr,
        at: At<T, 1>,
        range: &'static [c_int; 2],
    ) -> Self {
        Self::new(name, Value::Range(at, range))
    }

    /// Describes a number of jiffies that is shown in seconds.
    pub(crate) const fn seconds(name: &'static CStr, at: At<T, 1>) -> Self {
        Self::new(name, Value::Seconds(at))
    }

    /// Describes an `unsigned long`.
    pub(crate) const fn long(name: &'static CStr, at: fn(&T) -> &Atomic<usize>) -> Self {
        Self::new(name, Value::Long(at))
    }

    /// Describes an integer with a rule.
    pub(crate) const fn one(name: &'static CStr, at: At<T, 1>, rule: &'static Rule<T, 1>) -> Self {
        Self::new(name, Value::One(Ruled { at, rule }))
    }

    /// Describes two integers with a rule.
    pub(crate) const fn two(name: &'static CStr, at: At<T, 2>, rule: &'static Rule<T, 2>) -> Self {
        Self::new(name, Value::Two(Ruled { at, rule }))
    }

    /// Describes a text.
    pub(crate) const fn text(name: &'static CStr, text: Text<T>) -> Self {
        Self::new(name, Value::Text(text))
    }

    /// Sets the availability in namespaces whose owner may be unprivileged.
    pub(crate) const fn unprivileged(mut self, unprivileged: Unprivileged) -> Self {
        self.unprivileged = unprivileged;
        self
    }

    /// Returns the C table entry of the file, which refers to `self` and `value`.
    fn entry(&'static self, value: &T, is_privileged: bool) -> bindings::ctl_table {
        let entry = match &self.value {
            Value::Int(at) => ints(at(value), bindings::proc_dointvec),
            Value::Range(at, [least, most]) => bindings::ctl_table {
                extra1: core::ptr::from_ref(least).cast_mut().cast(),
                extra2: core::ptr::from_ref(most).cast_mut().cast(),
                ..ints(at(value), bindings::proc_dointvec_minmax)
            },
            Value::Seconds(at) => ints(at(value), bindings::proc_dointvec_jiffies),
            Value::Long(at) => bindings::ctl_table {
                data: at(value).as_ptr().cast(),
                maxlen: size_of::<usize>() as c_int,
                proc_handler: Some(bindings::proc_doulongvec_minmax),
                ..Default::default()
            },
            Value::One(ruled) => ours(value, ruled, ruled_ints::<T, 1>),
            Value::Two(ruled) => ours(value, ruled, ruled_ints::<T, 2>),
            Value::Text(of) => ours(value, of, text::<T>),
        };
        let is_writable = is_privileged || self.unprivileged == Unprivileged::ReadWrite;
        bindings::ctl_table {
            procname: self.name.as_char_ptr(),
            mode: if is_writable { 0o644 } else { 0o444 },
            ..entry
        }
    }
}

/// A C function that reads and writes a file.
type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// Returns an entry with a handler of the kernel.
fn ints<const N: usize>(at: &[Atomic<i32>; N], handler: Handler) -> bindings::ctl_table {
    bindings::ctl_table {
        data: core::ptr::from_ref(at).cast_mut().cast(),
        maxlen: size_of::<[Atomic<i32>; N]>() as c_int,
        proc_handler: Some(handler),
        ..Default::default()
    }
}

/// Returns an entry with a handler of this module, which gets `value` and `by`.
fn ours<T, By>(value: &T, by: &'static By, handler: Handler) -> bindings::ctl_table {
    bindings::ctl_table {
        data: core::ptr::from_ref(value).cast_mut().cast(),
        extra1: core::ptr::from_ref(by).cast_mut().cast(),
        proc_handler: Some(handler),
        ..Default::default()
    }
}

/// The handler for [`Ruled`] integers.
///
/// # Safety
///
/// To be called only as the handler of an entry from [`ours`] with a `T` and a `Ruled<T, N>`.
unsafe extern "C" fn ruled_ints<T: 'static, const N: usize>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: C calls handlers with their table entry.
    let table = unsafe { &*table };
    // SAFETY: `ours` set the pointer to a `T`, which outlives the files.
    let value = unsafe { &*table.data.cast::<T>() };
    // SAFETY: `ours` set the pointer to a static `Ruled<T, N>`.
    let Ruled { at, rule } = unsafe { &*table.extra1.cast::<Ruled<T, N>>() };
    let place = at(value);
    let now = array::from_fn(|i| place.get(i).map_or(0, |int| int.read_once()));
    let mut ints: [c_int; N] = match rule.absent {
        _ if write == 0 => (rule.show)(value, now),
        Some(absent) => [absent; N],
        None => now,
    };
    let before = ints;
    let copy = bindings::ctl_table {
        data: ints.as_mut_ptr().cast(),
        maxlen: size_of::<[c_int; N]>() as c_int,
        mode: table.mode,
        ..Default::default()
    };
    // SAFETY: The copy describes `ints`; the other arguments are those of this call.
    let result = unsafe { bindings::proc_dointvec(&copy, write, buffer, len, pos) };
    // As in C, integers before a syntax error in the written text are set.
    if write != 0 && (result == 0 || ints != before) {
        if let Err(error) = (rule.set)(value, place, ints) {
            return error.to_errno();
        }
    }
    result
}

/// The handler for a [`Text`]. The text is read and written only at offset 0, in one call.
///
/// # Safety
///
/// To be called only as the handler of an entry from [`ours`] with a `T` and a `Text<T>`.
unsafe extern "C" fn text<T: 'static>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: C calls handlers with their table entry.
    let table = unsafe { &*table };
    // SAFETY: `ours` set the pointer to a `T`, which outlives the files.
    let value = unsafe { &*table.data.cast::<T>() };
    // SAFETY: `ours` set the pointer to a static `Text<T>`.
    let text = unsafe { &*table.extra1.cast::<Text<T>>() };
    // SAFETY: C passes a pointer to a local variable, which this call may write.
    let len = unsafe { &mut *len };
    // SAFETY: C passes a valid position, which this call may write.
    let pos = unsafe { &mut *pos };
    if *pos != 0 || *len == 0 {
        *len = 0;
        return 0;
    }
    let buffer = buffer.cast::<u8>();
    let result = if write != 0 {
        // SAFETY: `buffer` has the `*len` bytes that were written to the file.
        let given = unsafe { core::slice::from_raw_parts(buffer, *len) };
        set_text(text, value, given)
    } else {
        // The buffer has one byte more than is read, unless a BPF program supplied a page.
        let room = len.saturating_add(usize::from(*len < PAGE_SIZE));
        // SAFETY: `buffer` is valid for writes of `room` bytes.
        unsafe { buffer.write_bytes(0, room) };
        // SAFETY: `buffer` is valid for writes of `room` bytes, which are now initialised.
        let buffer = unsafe { core::slice::from_raw_parts_mut(buffer, room) };
        (text.show)(value, buffer).map(|shown| *len = shown.min(*len))
    };
    match result {
        Ok(()) => {
            *pos = pos.wrapping_add_unsigned(*len as u64);
            0
        }
        Err(error) => error.to_errno(),
    }
}

/// Copies the written text, which need not end with a NUL, and sets it.
fn set_text<T>(text: &Text<T>, value: &T, given: &[u8]) -> Result {
    let mut copy = KVVec::with_capacity(given.len().saturating_add(1), GFP_KERNEL)?;
    for byte in given.iter().copied().take_while(|byte| *byte != 0) {
        copy.push_within_capacity(byte).map_err(|_| ENOMEM)?;
    }
    copy.push_within_capacity(0).map_err(|_| ENOMEM)?;
    let copy = CStr::from_bytes_with_nul(&copy).map_err(|_| EINVAL)?;
    (text.set)(value, copy)
}

/// Files in a sysctl directory of a namespace, removed on drop. The removal waits for reads and
/// writes in progress.
///
/// # Invariants
///
/// `header` is the registration of `_table` in the namespace of `_value`.
pub(crate) struct Registration<R: NetRef> {
    header: NonNull<bindings::ctl_table_header>,
    /// The entries, which must be valid as long as they are registered.
    _table: KVec<bindings::ctl_table>,
    /// The reference to the value that the entries refer to.
    _value: R,
}

// SAFETY: Files can be removed by any thread, and an `R` is `Send`.
unsafe impl<R: NetRef> Send for Registration<R> {}

// SAFETY: `&Registration` has no methods.
unsafe impl<R: NetRef> Sync for Registration<R> {}

impl<R: NetRef<Target: Sized>> Registration<R> {
    /// Creates the files in the directory `path`, for example `net/ipv4/conf`, of the namespace of
    /// `value`, for its value.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if a file of the same name exists.
    pub(crate) fn new(
        value: R,
        path: &'static CStr,
        files: &'static [File<R::Target>],
    ) -> Result<Self> {
        let net = value.net();
        let is_privileged = net.is_of_init_user_ns();
        let mut table = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        for file in files {
            if is_privileged || file.unprivileged != Unprivileged::Absent {
                let entry = file.entry(&value, is_privileged);
                table.push_within_capacity(entry).map_err(|_| ENOMEM)?;
            }
        }
        // SAFETY: The namespace and the path are valid. The table has `table.len()` entries and
        // is valid as long as the files exist. So is the value that it refers to, by the contract
        // of `NetRef`.
        let header = unsafe {
            bindings::register_net_sysctl_sz(
                net.as_raw(),
                path.as_char_ptr(),
                table.as_ptr(),
                table.len(),
            )
        };
        // INVARIANT: The files have just been registered.
        Ok(Self {
            header: NonNull::new(header).ok_or(ENOMEM)?,
            _table: table,
            _value: value,
        })
    }
}

impl<R: NetRef> Drop for Registration<R> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant. The call waits for readers and writers of the files.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// A shared number of jiffies for a [`File::seconds`], which may outlive the file.
#[derive(Clone)]
pub(crate) struct Jiffies(Arc<[Atomic<i32>; 1]>);

impl Jiffies {
    /// Allocates a number.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(jiffies: i32) -> Result<Self> {
        Ok(Self(Arc::new([Atomic::new(jiffies)], GFP_KERNEL)?))
    }

    /// Returns the number for a [`File::seconds`].
    pub(crate) fn at(&self) -> &[Atomic<i32>; 1] {
        &self.0
    }

    /// The current number. A negative one is converted to a very large one.
    #[inline]
    pub(crate) fn get(&self) -> usize {
        let [jiffies] = self.at();
        // CAST: C also adds an `int` to an `unsigned long` here.
        jiffies.read_once() as usize
    }
}
