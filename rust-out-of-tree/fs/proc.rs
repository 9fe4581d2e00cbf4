// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/net, one of each in every network namespace.
//!
//! A [`File`] says what there is to read; those that a [`Pernet`] lists are there in each namespace
//! as long as its value is.
//!
//! A file shows a [`Table`], record by record, or is written in one go as a [`Single`].
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
//!
//! [`Pernet`]: crate::oot::net::namespace::Pernet
//!
//! # Reading a table
//!
//! A reader takes as much at a time as it likes, and may seek. Each read starts where the last one
//! ended, by the [`Table::Cursor`] kept for the reader; only a seek starts over. From start to stop
//! of a read the RCU read lock is held, as C's do, so that the record at hand stays valid from one
//! step to the next.

use crate::oot::{
    bindings,
    net::namespace::Net, //
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    ffi::{c_int, c_uint, c_void},
    prelude::*,
    seq_file::SeqFile,
    sync::rcu, //
};
use pin_init::Zeroable;

/// A file that shows the records of a table.
pub(crate) trait Table: 'static {
    /// What the table holds; freed only after a grace period.
    type Record: Sync;

    /// A place between two records. The zeroed one is before the first record.
    type Cursor: Copy + Zeroable + Send;

    /// Writes what stands above the records.
    fn header(net: &Net, seq: &SeqFile);

    /// The first record after `cursor`, which is moved behind that record.
    fn next<'g>(
        net: &'g Net,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record>;

    /// Writes a record.
    fn show(net: &Net, guard: &rcu::Guard, record: &Self::Record, seq: &SeqFile);
}

/// A file that is written in one go.
pub(crate) trait Single: 'static {
    /// Writes the file.
    fn show(net: &Net, seq: &SeqFile);
}

/// What a file is called and shows.
pub(crate) struct File {
    name: &'static CStr,
    mode: u16,
    create: fn(&Self, &Net) -> *mut bindings::proc_dir_entry,
}

impl File {
    /// The file `name` with that mode, 0 standing for 0444, and the records of `T`.
    pub(crate) const fn table<T: Table>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: Adapter::<T>::create,
        }
    }

    /// The file `name` with that mode, 0 standing for 0444, and the text of `T`.
    pub(crate) const fn single<T: Single>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: SingleAdapter::<T>::create,
        }
    }
}

/// A file in the /proc/net of a namespace; dropping it removes the file.
///
/// # Invariants
///
/// The file `name` exists in the namespace, which is alive.
pub(in crate::oot) struct Entry {
    net: NonNull<bindings::net>,
    name: &'static CStr,
}

// SAFETY: A file can be removed by any thread.
unsafe impl Send for Entry {}

// SAFETY: There is nothing to do with a shared entry.
unsafe impl Sync for Entry {}

impl Entry {
    /// Creates the file.
    ///
    /// # Safety
    ///
    /// The entry must be dropped before the namespace goes.
    pub(in crate::oot) unsafe fn new(net: &Net, file: &File) -> Result<Self> {
        if (file.create)(file, net).is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The file was just created, and the entry goes first.
        Ok(Self {
            net: NonNull::new(net.as_raw()).ok_or(EINVAL)?,
            name: file.name,
        })
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the namespace is alive.
        let proc_net = unsafe { directory(self.net.as_ptr()) };
        // SAFETY: By the type invariants, the file exists; this waits for those who read it.
        unsafe { bindings::remove_proc_entry(self.name.as_char_ptr(), proc_net) };
    }
}

/// The namespace's `/proc/net`.
///
/// # Safety
///
/// `net` must be alive.
unsafe fn directory(net: *const bindings::net) -> *mut bindings::proc_dir_entry {
    // SAFETY: As the caller promises.
    unsafe { (*net).proc_net }
}

/// Writes bytes to a file that is being shown. False if there is no room for them: the record will
/// be shown again with more, and what else there is of it need not be written now.
pub(crate) fn write(seq: &SeqFile, bytes: &[u8]) -> bool {
    let file = core::ptr::from_ref(seq).cast_mut().cast();
    // SAFETY: A `SeqFile` is a valid `seq_file` that is being shown, and the bytes are valid.
    let failed = unsafe { bindings::seq_write(file, bytes.as_ptr().cast(), bytes.len()) };
    failed == 0
}

/// What is kept for a reader of a table; the kernel allocates it zeroed.
#[repr(C)]
struct Reading<T: Table> {
    /// The kernel's own part; it must be the first.
    net: bindings::seq_net_private,
    /// The position that the reader is at: 0 is the header, `n` the `n`th record.
    pos: bindings::loff_t,
    /// The place before the record at `pos`.
    before: T::Cursor,
    /// The place behind the record at `pos`, while the lock is held.
    behind: T::Cursor,
}

impl<T: Table> Reading<T> {
    /// The record at `pos`, which is not 0.
    fn seek<'g>(
        &mut self,
        net: &'g Net,
        guard: &'g rcu::Guard,
        pos: bindings::loff_t,
    ) -> Option<&'g T::Record> {
        if self.pos != pos {
            self.pos = 1;
            self.before = Zeroable::zeroed();
            while self.pos < pos {
                T::next(net, guard, &mut self.before)?;
                self.pos = self.pos.wrapping_add(1);
            }
        }
        self.behind = self.before;
        T::next(net, guard, &mut self.behind)
    }

    /// The record after the one at hand.
    fn advance<'g>(&mut self, net: &'g Net, guard: &'g rcu::Guard) -> Option<&'g T::Record> {
        self.before = self.behind;
        self.pos = self.pos.wrapping_add(1);
        T::next(net, guard, &mut self.behind)
    }
}

/// What stands for the header among the records (C: `SEQ_START_TOKEN`).
const HEADER: *mut c_void = core::ptr::without_provenance_mut(1);

/// The functions that the kernel calls for a [`Table`].
struct Adapter<T>(PhantomData<T>);

impl<T: Table> Adapter<T> {
    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    fn create(file: &File, net: &Net) -> *mut bindings::proc_dir_entry {
        // SAFETY: The namespace is alive.
        let directory = unsafe { directory(net.as_raw()) };
        // SAFETY: The operations are a static, and the state is as large as they take it for.
        unsafe {
            bindings::proc_create_net_data(
                file.name.as_char_ptr(),
                file.mode,
                directory,
                &Self::OPS,
                size_of::<Reading<T>>() as c_uint,
                core::ptr::null_mut(),
            )
        }
    }

    /// # Safety
    ///
    /// To be called by the kernel, as the `start` of a file of [`File::table`].
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // The lock is held until `stop`, which the kernel calls whatever this returns.
        let guard = ManuallyDrop::new(rcu::read_lock());
        // SAFETY: The kernel passes a valid position.
        let pos = unsafe { *pos };
        if pos == 0 {
            return HEADER;
        }
        // SAFETY: As the caller promises.
        let (net, reading) = unsafe { Self::reading(seq) };
        record(reading.seek(net, &guard, pos))
    }

    /// # Safety
    ///
    /// As for [`Self::start`], as the `next`.
    unsafe extern "C" fn next(
        seq: *mut bindings::seq_file,
        v: *mut c_void,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // SAFETY: The kernel passes a valid position.
        let pos = unsafe { &mut *pos };
        *pos = pos.wrapping_add(1);
        let guard = rcu::read_lock();
        // SAFETY: As the caller promises.
        let (net, reading) = unsafe { Self::reading(seq) };
        record(if v == HEADER {
            reading.seek(net, &guard, *pos)
        } else {
            reading.advance(net, &guard)
        })
    }

    /// # Safety
    ///
    /// As for [`Self::start`], as the `stop`.
    unsafe extern "C" fn stop(_seq: *mut bindings::seq_file, _v: *mut c_void) {
        // SAFETY: `start` has taken the lock.
        unsafe { bindings::rcu_read_unlock() };
    }

    /// # Safety
    ///
    /// As for [`Self::start`], as the `show`.
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, v: *mut c_void) -> c_int {
        let guard = rcu::read_lock();
        // SAFETY: As the caller promises.
        let net = unsafe { net_of(seq) };
        // SAFETY: As the caller promises; nobody else uses the file meanwhile.
        let file = unsafe { SeqFile::from_raw(seq) };
        if v == HEADER {
            T::header(net, file);
        } else {
            // SAFETY: The record came from `start` or `next`, and the lock has been held since.
            T::show(net, &guard, unsafe { &*v.cast::<T::Record>() }, file);
        }
        0
    }

    /// The namespace and what is kept for the reader.
    ///
    /// # Safety
    ///
    /// `seq` must be an open file of [`File::table`] with this `T`; the kernel lets one
    /// thread at a time into its functions.
    unsafe fn reading<'a>(seq: *mut bindings::seq_file) -> (&'a Net, &'a mut Reading<T>) {
        // SAFETY: Reads a field of an open file.
        let private = unsafe { (*seq).private };
        // SAFETY: The private part of such a file is a `Reading<T>`, which its opening has zeroed,
        // a valid value, but for the kernel's part.
        let reading = unsafe { &mut *private.cast::<Reading<T>>() };
        // SAFETY: As the caller promises.
        (unsafe { net_of(seq) }, reading)
    }
}

/// The namespace of a file.
///
/// # Safety
///
/// `seq` must be an open file of [`File::table`].
unsafe fn net_of<'a>(seq: *mut bindings::seq_file) -> &'a Net {
    // SAFETY: As the caller promises.
    let net = unsafe { bindings::oot_seq_file_net(seq) };
    // SAFETY: An open file holds its namespace.
    unsafe { Net::from_raw(net) }
}

/// The pointer by which the kernel knows the record.
fn record<R>(record: Option<&R>) -> *mut c_void {
    record.map_or(core::ptr::null_mut(), |record| {
        core::ptr::from_ref(record).cast_mut().cast()
    })
}

/// The function that the kernel calls for a [`Single`].
struct SingleAdapter<T>(PhantomData<T>);

impl<T: Single> SingleAdapter<T> {
    fn create(file: &File, net: &Net) -> *mut bindings::proc_dir_entry {
        // SAFETY: The namespace is alive.
        let directory = unsafe { directory(net.as_raw()) };
        // SAFETY: The function is one to be called with a file of this kind.
        unsafe {
            bindings::proc_create_net_single(
                file.name.as_char_ptr(),
                file.mode,
                directory,
                Some(Self::show),
                core::ptr::null_mut(),
            )
        }
    }

    /// # Safety
    ///
    /// To be called by the kernel, as the `show` of a file of [`File::single`].
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
        // SAFETY: This is a single file.
        let net = unsafe { bindings::oot_seq_file_single_net(seq) };
        // SAFETY: An open file holds its namespace.
        let net = unsafe { Net::from_raw(net) };
        // SAFETY: The file is valid, and nobody else uses it meanwhile.
        let file = unsafe { SeqFile::from_raw(seq) };
        T::show(net, file);
        0
    }
}
