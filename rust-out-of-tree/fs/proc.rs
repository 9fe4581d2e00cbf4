// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/net.
//!
//! A [`File`] is what there is to read; a [`Registration`] of some of them makes them in a
//! namespace, to show what it refers to.
//!
//! A file shows a [`Table`], record by record, or is written in one go as a [`Single`].
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
//!
//! # Reading a table
//!
//! A reader takes any number of bytes at a time, and may seek. Each read starts where the last one
//! ended, by the [`Table::Cursor`] kept for the reader; only a seek starts over. From start to stop
//! of a read the RCU read lock is held, as C's do, so that the record at hand stays valid from one
//! step to the next.

use crate::oot::{
    bindings,
    net::namespace::{
        Net,
        NetRef, //
    },
};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop, //
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
    /// What the table is found in.
    type Context: Sync + 'static;

    /// What the table holds; freed only after a grace period.
    type Record: Sync;

    /// A place between two records. The zeroed one is before the first record.
    type Cursor: Copy + Zeroable + Send;

    /// Writes what stands above the records. Must not sleep.
    fn header(context: &Self::Context, seq: &SeqFile);

    /// The first record after `cursor`, which is moved behind that record. Must not sleep.
    fn next<'g>(
        context: &'g Self::Context,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record>;

    /// Writes a record. Must not sleep.
    fn show(context: &Self::Context, guard: &rcu::Guard, record: &Self::Record, seq: &SeqFile);
}

/// A file that is written in one go.
pub(crate) trait Single: 'static {
    /// What the file shows something of.
    type Context: Sync + 'static;

    /// Writes the file.
    fn show(context: &Self::Context, seq: &SeqFile);
}

/// What a file is called, and what of a `C` it shows.
pub(crate) struct File<C> {
    name: &'static CStr,
    mode: u16,
    /// # Safety
    ///
    /// The context must live as long as the file.
    create: unsafe fn(&Self, &Net, &C) -> *mut bindings::proc_dir_entry,
}

impl<C: Sync + 'static> File<C> {
    /// The file `name` with that mode, 0 standing for 0444, and the records of `T`.
    pub(crate) const fn table<T: Table<Context = C>>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: Adapter::<T>::create,
        }
    }

    /// The file `name` with that mode, 0 standing for 0444, and the text of `T`.
    pub(crate) const fn single<T: Single<Context = C>>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: SingleAdapter::<T>::create,
        }
    }
}

/// Files in the /proc/net of a namespace, removed on drop, which waits for those that are being
/// read.
///
/// # Invariants
///
/// The first `created` of `files` exist in the namespace of `context`.
pub(crate) struct Registration<R: NetRef<Target: Sized>> {
    files: &'static [File<R::Target>],
    created: usize,
    context: R,
}

impl<R: NetRef<Target: Sized>> Registration<R> {
    /// Creates the files in the namespace of `context`, to show what that refers to.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for a name that there is already.
    pub(crate) fn new(context: R, files: &'static [File<R::Target>]) -> Result<Self> {
        let mut registration = Self {
            files,
            created: 0,
            context,
        };
        for file in files {
            let context = &registration.context;
            // SAFETY: What `context` refers to outlives the registration, which removes the file.
            if unsafe { (file.create)(file, context.net(), context) }.is_null() {
                return Err(ENOMEM);
            }
            // INVARIANT: The file was just created.
            registration.created = registration.created.wrapping_add(1);
        }
        Ok(registration)
    }
}

impl<R: NetRef<Target: Sized>> Drop for Registration<R> {
    fn drop(&mut self) {
        let proc_net = directory(self.context.net());
        for file in self.files.iter().take(self.created) {
            // SAFETY: By the type invariants, the file exists; this waits for its readers.
            unsafe { bindings::remove_proc_entry(file.name.as_char_ptr(), proc_net) };
        }
    }
}

/// The namespace's `/proc/net`.
fn directory(net: &Net) -> *mut bindings::proc_dir_entry {
    // SAFETY: The namespace is live, and keeps its directory.
    unsafe { (*net.as_raw()).proc_net }
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
        context: &'g T::Context,
        guard: &'g rcu::Guard,
        pos: bindings::loff_t,
    ) -> Option<&'g T::Record> {
        if self.pos != pos {
            self.pos = 1;
            self.before = Zeroable::zeroed();
            while self.pos < pos {
                T::next(context, guard, &mut self.before)?;
                self.pos = self.pos.wrapping_add(1);
            }
        }
        self.behind = self.before;
        T::next(context, guard, &mut self.behind)
    }

    /// The record after the one at hand.
    fn advance<'g>(
        &mut self,
        context: &'g T::Context,
        guard: &'g rcu::Guard,
    ) -> Option<&'g T::Record> {
        self.before = self.behind;
        self.pos = self.pos.wrapping_add(1);
        T::next(context, guard, &mut self.behind)
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

    /// # Safety
    ///
    /// `context` must live as long as the file.
    unsafe fn create(
        file: &File<T::Context>,
        net: &Net,
        context: &T::Context,
    ) -> *mut bindings::proc_dir_entry {
        // SAFETY: The operations are a static, and the state is as large as they take it for.
        unsafe {
            bindings::proc_create_net_data(
                file.name.as_char_ptr(),
                file.mode,
                directory(net),
                &Self::OPS,
                size_of::<Reading<T>>() as c_uint,
                core::ptr::from_ref(context).cast_mut().cast(),
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
        // SAFETY: The file is one of [`File::table`] with this `T`, as the caller promises.
        let (context, reading) = unsafe { Self::reading(seq) };
        record(reading.seek(context, &guard, pos))
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
        // SAFETY: The file is one of [`File::table`] with this `T`, as the caller promises.
        let (context, reading) = unsafe { Self::reading(seq) };
        record(if v == HEADER {
            reading.seek(context, &guard, *pos)
        } else {
            reading.advance(context, &guard)
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
        // SAFETY: The file is one of [`File::table`] with this `T`, as the caller promises.
        let context = unsafe { context_of::<T::Context>(seq) };
        // SAFETY: As the caller promises; the file is used by no other meanwhile.
        let file = unsafe { SeqFile::from_raw(seq) };
        if v == HEADER {
            T::header(context, file);
        } else {
            // SAFETY: The record came from `start` or `next`, and the lock has been held since.
            T::show(context, &guard, unsafe { &*v.cast::<T::Record>() }, file);
        }
        0
    }

    /// What the file shows something of, and what is kept for the reader.
    ///
    /// # Safety
    ///
    /// `seq` must be an open file of [`File::table`] with this `T`; the kernel lets one
    /// thread at a time into its functions.
    unsafe fn reading<'a>(seq: *mut bindings::seq_file) -> (&'a T::Context, &'a mut Reading<T>) {
        // SAFETY: Reads a field of an open file.
        let private = unsafe { (*seq).private };
        // SAFETY: The private part of such a file is a `Reading<T>`, which its opening has zeroed,
        // a valid value, but for the kernel's part.
        let reading = unsafe { &mut *private.cast::<Reading<T>>() };
        // SAFETY: The file is one of [`File::table`] with this `T`.
        (unsafe { context_of::<T::Context>(seq) }, reading)
    }
}

/// What a file shows something of.
///
/// # Safety
///
/// `seq` must be an open file of a [`File<C>`], and within one of its functions.
unsafe fn context_of<'a, C>(seq: *mut bindings::seq_file) -> &'a C {
    // SAFETY: By the safety requirement, the file is one that `proc` has opened.
    let context = unsafe { bindings::oot_seq_file_pde_data(seq) };
    // SAFETY: `create` put it there, and it lives until the file is removed, which waits for its
    // functions.
    unsafe { &*context.cast::<C>() }
}

/// The pointer that C passes on for the record.
fn record<R>(record: Option<&R>) -> *mut c_void {
    record.map_or(core::ptr::null_mut(), |record| {
        core::ptr::from_ref(record).cast_mut().cast()
    })
}

/// The function that the kernel calls for a [`Single`].
struct SingleAdapter<T>(PhantomData<T>);

impl<T: Single> SingleAdapter<T> {
    /// # Safety
    ///
    /// `context` must live as long as the file.
    unsafe fn create(
        file: &File<T::Context>,
        net: &Net,
        context: &T::Context,
    ) -> *mut bindings::proc_dir_entry {
        // SAFETY: The function is one to be called with a file of this kind.
        unsafe {
            bindings::proc_create_net_single(
                file.name.as_char_ptr(),
                file.mode,
                directory(net),
                Some(Self::show),
                core::ptr::from_ref(context).cast_mut().cast(),
            )
        }
    }

    /// # Safety
    ///
    /// To be called by the kernel, as the `show` of a file of [`File::single`].
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
        // SAFETY: The file is one of [`File::single`] with this `T`.
        let context = unsafe { context_of::<T::Context>(seq) };
        // SAFETY: The file is valid, and used by no other meanwhile.
        let file = unsafe { SeqFile::from_raw(seq) };
        T::show(context, file);
        0
    }
}
