// SPDX-License-Identifier: GPL-2.0

//! Files in /proc/net.
//!
//! A [`File`] describes what a file shows. A [`Registration`] creates some files in a namespace,
//! which show the value that the registration has a reference to.
//!
//! A file shows either [`Records`] or the text of a [`Single`].
//!
//! C headers: [`include/linux/proc_fs.h`](srctree/include/linux/proc_fs.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)
//!
//! # Reads of a table
//!
//! A reader may read any number of bytes at a time, and seek. A read continues at the
//! [`Records::Cursor`] stored for the reader; only a seek starts from the beginning. The RCU read
//! lock is held from `start` to `stop` of a read, as in C, so that the current record stays valid
//! between the steps.

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
pub(crate) trait Records: 'static {
    /// The value that contains the table.
    type Context: Sync + 'static;

    /// A record. It is freed only after a grace period.
    type Record: Sync;

    /// A position between two records. The zeroed cursor is before the first record.
    type Cursor: Copy + Zeroable + Send;

    /// Writes the header of the file. Must not sleep.
    fn header(context: &Self::Context, seq: &SeqFile);

    /// Returns the first record after `cursor`, and moves `cursor` behind it. Must not sleep.
    fn next<'g>(
        context: &'g Self::Context,
        guard: &'g rcu::Guard,
        cursor: &mut Self::Cursor,
    ) -> Option<&'g Self::Record>;

    /// Writes a record. Must not sleep.
    fn show(context: &Self::Context, guard: &rcu::Guard, record: &Self::Record, seq: &SeqFile);
}

/// A file whose text is written in one call.
pub(crate) trait Single: 'static {
    /// The value that the file shows.
    type Context: Sync + 'static;

    /// Writes the text of the file.
    fn show(context: &Self::Context, seq: &SeqFile);
}

/// The name and mode of a file that shows a `C`, and its functions.
pub(crate) struct File<C> {
    name: &'static CStr,
    mode: u16,
    /// # Safety
    ///
    /// The context must be valid as long as the file exists.
    create: unsafe fn(&Self, &Net, &C) -> *mut bindings::proc_dir_entry,
}

impl<C: Sync + 'static> File<C> {
    /// Describes a file that shows the records of `T`. A `mode` of 0 stands for 0444.
    pub(crate) const fn table<T: Records<Context = C>>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: Adapter::<T>::create,
        }
    }

    /// Describes a file that shows the text of `T`. A `mode` of 0 stands for 0444.
    pub(crate) const fn single<T: Single<Context = C>>(name: &'static CStr, mode: u16) -> Self {
        Self {
            name,
            mode,
            create: SingleAdapter::<T>::create,
        }
    }
}

/// Files in the /proc/net of a namespace, removed on drop. The removal waits for reads in progress.
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
    /// Creates the files in the namespace of `context`, to show its value.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if a file of the same name exists.
    pub(crate) fn new(context: R, files: &'static [File<R::Target>]) -> Result<Self> {
        let mut registration = Self {
            files,
            created: 0,
            context,
        };
        for file in files {
            let context = &registration.context;
            // SAFETY: The value of `context` outlives the registration, which removes the file.
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
            // SAFETY: By the type invariants the file exists. The call waits for its readers.
            unsafe { bindings::remove_proc_entry(file.name.as_char_ptr(), proc_net) };
        }
    }
}

/// The /proc/net directory of the namespace.
fn directory(net: &Net) -> *mut bindings::proc_dir_entry {
    // SAFETY: The namespace is live, and so is its directory.
    unsafe { (*net.as_raw()).proc_net }
}

/// Writes bytes to a file that is being shown. Returns false if the buffer is full. The record is
/// then shown again with a larger buffer, so the rest of it need not be written now.
pub(crate) fn write(seq: &SeqFile, bytes: &[u8]) -> bool {
    let file = core::ptr::from_ref(seq).cast_mut().cast();
    // SAFETY: A `SeqFile` is a valid `seq_file` that is being shown, and the bytes are valid.
    let failed = unsafe { bindings::seq_write(file, bytes.as_ptr().cast(), bytes.len()) };
    failed == 0
}

/// The state of a reader of a table. The kernel allocates it zeroed.
#[repr(C)]
struct Reading<T: Records> {
    /// The kernel's part, which must be the first field.
    net: bindings::seq_net_private,
    /// The current position: 0 is the header, `n` the `n`th record.
    pos: bindings::loff_t,
    /// The cursor before the record at `pos`.
    before: T::Cursor,
    /// The cursor behind the record at `pos`, while the lock is held.
    behind: T::Cursor,
}

impl<T: Records> Reading<T> {
    /// Returns the record at `pos`, which must not be 0.
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

    /// Returns the record after the current one.
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

/// The pointer that stands for the header (C: `SEQ_START_TOKEN`).
const HEADER: *mut c_void = core::ptr::without_provenance_mut(1);

/// The C functions for a [`Records`].
struct Adapter<T>(PhantomData<T>);

impl<T: Records> Adapter<T> {
    const OPS: bindings::seq_operations = bindings::seq_operations {
        start: Some(Self::start),
        stop: Some(Self::stop),
        next: Some(Self::next),
        show: Some(Self::show),
    };

    /// # Safety
    ///
    /// `context` must be valid as long as the file exists.
    unsafe fn create(
        file: &File<T::Context>,
        net: &Net,
        context: &T::Context,
    ) -> *mut bindings::proc_dir_entry {
        // SAFETY: The operations are a static, and the state has the size that they expect.
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
    /// To be called only by the kernel, as the `start` of a file of [`File::table`].
    unsafe extern "C" fn start(
        seq: *mut bindings::seq_file,
        pos: *mut bindings::loff_t,
    ) -> *mut c_void {
        // The lock is held until `stop`, which the kernel always calls after `start`.
        let guard = ManuallyDrop::new(rcu::read_lock());
        // SAFETY: The kernel passes a valid position.
        let pos = unsafe { *pos };
        if pos == 0 {
            return HEADER;
        }
        // SAFETY: By the safety requirement the file is one of [`File::table`] with this `T`.
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
        // SAFETY: `start` has taken the lock, and no other is held. No reference to a record is used
        // after this: the next one is found by its position.
        unsafe { bindings::oot_cond_resched_rcu() };
        let guard = rcu::read_lock();
        // SAFETY: By the safety requirement the file is one of [`File::table`] with this `T`.
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
        // SAFETY: By the safety requirement the file is one of [`File::table`] with this `T`.
        let context = unsafe { context_of::<T::Context>(seq) };
        // SAFETY: By the safety requirement the file is valid; no other code uses it during the
        // call.
        let file = unsafe { SeqFile::from_raw(seq) };
        if v == HEADER {
            T::header(context, file);
        } else {
            // SAFETY: The record came from `start` or `next`, and the lock has been held since.
            T::show(context, &guard, unsafe { &*v.cast::<T::Record>() }, file);
        }
        0
    }

    /// Returns the value that the file shows, and the state of the reader.
    ///
    /// # Safety
    ///
    /// `seq` must be an open file of [`File::table`] with this `T`. The kernel serialises the calls
    /// of its functions.
    unsafe fn reading<'a>(seq: *mut bindings::seq_file) -> (&'a T::Context, &'a mut Reading<T>) {
        // SAFETY: The file is open, so its fields are valid.
        let private = unsafe { (*seq).private };
        // SAFETY: The private part of such a file is a `Reading<T>`. The kernel zeroed it at open,
        // except for its own part, and zeros are a valid value.
        let reading = unsafe { &mut *private.cast::<Reading<T>>() };
        // SAFETY: The file is one of [`File::table`] with this `T`.
        (unsafe { context_of::<T::Context>(seq) }, reading)
    }
}

/// Returns the value that a file shows.
///
/// # Safety
///
/// `seq` must be an open file of a [`File<C>`], and one of its functions must be running.
unsafe fn context_of<'a, C>(seq: *mut bindings::seq_file) -> &'a C {
    // SAFETY: By the safety requirement, `seq` is an open /proc file.
    let context = unsafe { bindings::oot_seq_file_pde_data(seq) };
    // SAFETY: `create` set the pointer. The value stays valid until the file is removed, which
    // waits for its functions.
    unsafe { &*context.cast::<C>() }
}

/// Converts a record to the pointer that C passes on.
fn record<R>(record: Option<&R>) -> *mut c_void {
    record.map_or(core::ptr::null_mut(), |record| {
        core::ptr::from_ref(record).cast_mut().cast()
    })
}

/// The C function for a [`Single`].
struct SingleAdapter<T>(PhantomData<T>);

impl<T: Single> SingleAdapter<T> {
    /// # Safety
    ///
    /// `context` must be valid as long as the file exists.
    unsafe fn create(
        file: &File<T::Context>,
        net: &Net,
        context: &T::Context,
    ) -> *mut bindings::proc_dir_entry {
        // SAFETY: The function expects a file of this kind.
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
    /// To be called only by the kernel, as the `show` of a file of [`File::single`].
    unsafe extern "C" fn show(seq: *mut bindings::seq_file, _v: *mut c_void) -> c_int {
        // SAFETY: The file is one of [`File::single`] with this `T`.
        let context = unsafe { context_of::<T::Context>(seq) };
        // SAFETY: The file is valid, and no other code uses it during the call.
        let file = unsafe { SeqFile::from_raw(seq) };
        T::show(context, file);
        0
    }
}
