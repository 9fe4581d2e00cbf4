// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/sys/net of a network namespace.
//!
//! A [`File`] names a number or text of a `T` that it shows and sets, and how; a [`Registration`] of
//! some of them makes them in a namespace, for the `T` that it refers to. Numbers are plain words
//! of the `T`, read at the cost of a load.
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

/// Where in a `T` a file's numbers lie.
pub(crate) type At<T, const N: usize> = fn(&T) -> &[Atomic<i32>; N];

/// What becomes of a file in a namespace whose owner need not be privileged, because it belongs to
/// another user namespace than the initial one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unprivileged {
    /// It may be set as everywhere.
    Sets,
    /// It may be read only.
    Reads,
    /// There is none.
    Lacks,
}

/// What a file is called, and what of a `T` it shows and sets.
pub(crate) struct File<T: 'static> {
    name: &'static CStr,
    unprivileged: Unprivileged,
    value: Value<T>,
}

enum Value<T: 'static> {
    Int(At<T, 1>),
    /// From one number to another.
    Range(At<T, 1>, &'static [c_int; 2]),
    /// In seconds what is a number of jiffies.
    Seconds(At<T, 1>),
    Long(fn(&T) -> &Atomic<usize>),
    One(Ruled<T, 1>),
    Two(Ruled<T, 2>),
    Text(Text<T>),
}

/// `N` integers that are shown and set by a rule.
struct Ruled<T: 'static, const N: usize> {
    at: At<T, N>,
    rule: &'static Rule<T, N>,
}

/// What is shown of `N` integers, and what is done with new ones.
pub(crate) struct Rule<T, const N: usize> {
    /// What is shown of what they are.
    pub(crate) show: fn(&T, [i32; N]) -> [i32; N],
    /// Stores new ones, or refuses to. It is called after each write that had any.
    pub(crate) set: fn(&T, &[Atomic<i32>; N], [i32; N]) -> Result,
    /// What `set` gets in place of a number that was not given, if not what it was.
    pub(crate) absent: Option<i32>,
}

/// A text that is shown and set.
pub(crate) struct Text<T> {
    /// Writes it to the buffer, as far as it goes, and a NUL behind. Its length without that.
    pub(crate) show: fn(&T, &mut [u8]) -> Result<usize>,
    /// Sets it, or refuses to.
    pub(crate) set: fn(&T, &CStr) -> Result,
}

impl<T: Sync> File<T> {
    const fn new(name: &'static CStr, value: Value<T>) -> Self {
        Self {
            name,
            unprivileged: Unprivileged::Sets,
            value,
        }
    }

    /// Any integer.
    pub(crate) const fn int(name: &'static CStr, at: At<T, 1>) -> Self {
        Self::new(name, Value::Int(at))
    }

    /// An integer from the first of `range` to the second.
    pub(crate) const fn range(
        name: &'static CStr,
        at: At<T, 1>,
        range: &'static [c_int; 2],
    ) -> Self {
        Self::new(name, Value::Range(at, range))
    }

    /// Seconds, which are kept in jiffies.
    pub(crate) const fn seconds(name: &'static CStr, at: At<T, 1>) -> Self {
        Self::new(name, Value::Seconds(at))
    }

    /// Any `unsigned long`.
    pub(crate) const fn long(name: &'static CStr, at: fn(&T) -> &Atomic<usize>) -> Self {
        Self::new(name, Value::Long(at))
    }

    /// An integer with a rule.
    pub(crate) const fn one(name: &'static CStr, at: At<T, 1>, rule: &'static Rule<T, 1>) -> Self {
        Self::new(name, Value::One(Ruled { at, rule }))
    }

    /// Two integers with a rule.
    pub(crate) const fn two(name: &'static CStr, at: At<T, 2>, rule: &'static Rule<T, 2>) -> Self {
        Self::new(name, Value::Two(Ruled { at, rule }))
    }

    /// A text.
    pub(crate) const fn text(name: &'static CStr, text: Text<T>) -> Self {
        Self::new(name, Value::Text(text))
    }

    /// What becomes of it where users are unprivileged, if they may not set it.
    pub(crate) const fn unprivileged(mut self, unprivileged: Unprivileged) -> Self {
        self.unprivileged = unprivileged;
        self
    }

    /// The file for what is `value`'s; it refers to both.
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
        let is_writable = is_privileged || self.unprivileged == Unprivileged::Sets;
        bindings::ctl_table {
            procname: self.name.as_char_ptr(),
            mode: if is_writable { 0o644 } else { 0o444 },
            ..entry
        }
    }
}

/// What C calls to read and write a file.
type Handler = unsafe extern "C" fn(
    *const bindings::ctl_table,
    c_int,
    *mut c_void,
    *mut usize,
    *mut bindings::loff_t,
) -> c_int;

/// A file that a handler of C's shows and sets.
fn ints<const N: usize>(at: &[Atomic<i32>; N], handler: Handler) -> bindings::ctl_table {
    bindings::ctl_table {
        data: core::ptr::from_ref(at).cast_mut().cast(),
        maxlen: size_of::<[Atomic<i32>; N]>() as c_int,
        proc_handler: Some(handler),
        ..Default::default()
    }
}

/// A file that a handler of ours shows and sets: what `by` describes of `value`.
fn ours<T, By>(value: &T, by: &'static By, handler: Handler) -> bindings::ctl_table {
    bindings::ctl_table {
        data: core::ptr::from_ref(value).cast_mut().cast(),
        extra1: core::ptr::from_ref(by).cast_mut().cast(),
        proc_handler: Some(handler),
        ..Default::default()
    }
}

/// The handler of [`Ruled`] integers.
///
/// # Safety
///
/// To be called as a handler of a file by [`ours`] of a `T` and a `Ruled<T, N>`.
unsafe extern "C" fn ruled_ints<T: 'static, const N: usize>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: C calls handlers with their table.
    let table = unsafe { &*table };
    // SAFETY: `ours` put a `T` there, which outlives the files.
    let value = unsafe { &*table.data.cast::<T>() };
    // SAFETY: `ours` put it there.
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
    // SAFETY: The copy describes `ints`; the rest is what we were called with.
    let result = unsafe { bindings::proc_dointvec(&copy, write, buffer, len, pos) };
    // As in C, what came before an error in what was written is set.
    if write != 0 && (result == 0 || ints != before) {
        if let Err(error) = (rule.set)(value, place, ints) {
            return error.to_errno();
        }
    }
    result
}

/// The handler of a [`Text`], which is read and written from its start in one go.
///
/// # Safety
///
/// To be called as a handler of a file by [`ours`] of a `T` and a `Text<T>`.
unsafe extern "C" fn text<T: 'static>(
    table: *const bindings::ctl_table,
    write: c_int,
    buffer: *mut c_void,
    len: *mut usize,
    pos: *mut bindings::loff_t,
) -> c_int {
    // SAFETY: C calls handlers with their table.
    let table = unsafe { &*table };
    // SAFETY: `ours` put a `T` there, which outlives the files.
    let value = unsafe { &*table.data.cast::<T>() };
    // SAFETY: `ours` put it there.
    let text = unsafe { &*table.extra1.cast::<Text<T>>() };
    // SAFETY: C calls handlers with a length of their own.
    let len = unsafe { &mut *len };
    // SAFETY: C calls handlers with a position of their own.
    let pos = unsafe { &mut *pos };
    if *pos != 0 || *len == 0 {
        *len = 0;
        return 0;
    }
    let buffer = buffer.cast::<u8>();
    let result = if write != 0 {
        // SAFETY: So much was written.
        let given = unsafe { core::slice::from_raw_parts(buffer, *len) };
        set_text(text, value, given)
    } else {
        // The buffer has one byte more than is read, unless it is a BPF program with its page.
        let room = len.saturating_add(usize::from(*len < PAGE_SIZE));
        // SAFETY: There is so much room.
        unsafe { buffer.write_bytes(0, room) };
        // SAFETY: There is so much room, and it is initialised now.
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

/// What was written need not end in a NUL.
fn set_text<T>(text: &Text<T>, value: &T, given: &[u8]) -> Result {
    let mut copy = KVVec::with_capacity(given.len().saturating_add(1), GFP_KERNEL)?;
    for byte in given.iter().copied().take_while(|byte| *byte != 0) {
        copy.push_within_capacity(byte).map_err(|_| ENOMEM)?;
    }
    copy.push_within_capacity(0).map_err(|_| ENOMEM)?;
    let copy = CStr::from_bytes_with_nul(&copy).map_err(|_| EINVAL)?;
    (text.set)(value, copy)
}

/// Files in a directory of a namespace, removed on drop, which waits for those that are being read
/// or written.
///
/// # Invariants
///
/// `header` is of a registration of `_table` in the namespace of `_value`.
pub(crate) struct Registration<R: NetRef> {
    header: NonNull<bindings::ctl_table_header>,
    /// What the files are, for as long as they are registered.
    _table: KVec<bindings::ctl_table>,
    /// What they refer to.
    _value: R,
}

// SAFETY: Files can be removed by any thread, and an `R` is `Send`.
unsafe impl<R: NetRef> Send for Registration<R> {}

// SAFETY: There is nothing to do with a shared reference.
unsafe impl<R: NetRef> Sync for Registration<R> {}

impl<R: NetRef<Target: Sized>> Registration<R> {
    /// Creates the files in the directory `path`, such as `net/ipv4/conf`, of the namespace of
    /// `value`, for what that refers to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for a name that there is already.
    pub(crate) fn new(
        value: R,
        path: &'static CStr,
        files: &'static [File<R::Target>],
    ) -> Result<Self> {
        let net = value.net();
        let is_privileged = net.is_of_init_user_ns();
        let mut table = KVec::with_capacity(files.len(), GFP_KERNEL)?;
        for file in files {
            if is_privileged || file.unprivileged != Unprivileged::Lacks {
                let entry = file.entry(&value, is_privileged);
                table.push_within_capacity(entry).map_err(|_| ENOMEM)?;
            }
        }
        // SAFETY: Namespace and path are valid, and the table is as long as it says and lives as
        // long as the files; so does what it refers to, by the contract of `NetRef`.
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
        // SAFETY: By the type invariant; this waits for readers and writers of the files.
        unsafe { bindings::unregister_net_sysctl_table(self.header.as_ptr()) };
    }
}

/// A number of jiffies that a file may show in seconds, and that may outlast the file.
#[derive(Clone)]
pub(crate) struct Jiffies(Arc<[Atomic<i32>; 1]>);

impl Jiffies {
    /// A number of its own.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(jiffies: i32) -> Result<Self> {
        Ok(Self(Arc::new([Atomic::new(jiffies)], GFP_KERNEL)?))
    }

    /// Where it lies.
    pub(crate) fn at(&self) -> &[Atomic<i32>; 1] {
        &self.0
    }

    /// The number as it is now; below 0 it is a very large one.
    #[inline]
    pub(crate) fn get(&self) -> usize {
        let [jiffies] = self.at();
        // CAST: As C adds an `int` to an `unsigned long`.
        jiffies.read_once() as usize
    }
}
