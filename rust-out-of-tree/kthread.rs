// SPDX-License-Identifier: GPL-2.0

//! A kernel thread that works on a value and is stopped when the value is dropped.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use crate::oot::bindings;
use core::{
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    cpumask::Cpumask,
    error::from_err_ptr,
    ffi::{
        c_int,
        c_long,
        c_void, //
    },
    new_mutex,
    prelude::*,
    sync::Mutex, //
};

/// A value on which a kernel thread works in steps.
pub(crate) trait Steps: Send + Sync + 'static {
    /// Does one step. Returns the number of jiffies to sleep before the next one, or `None` to go
    /// on without sleeping.
    fn step(&self) -> Option<usize>;
}

/// A started thread.
///
/// # Invariants
///
/// The pointer owns a reference to a thread that runs [`main`]. Nothing else stops the thread.
struct Task(NonNull<bindings::task_struct>);

// SAFETY: Any thread may stop a kthread.
unsafe impl Send for Task {}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: By the type invariants. The call waits for the thread to end and drops the
        // reference.
        unsafe { bindings::kthread_stop_put(self.0.as_ptr()) };
    }
}

/// A value and its thread. The thread is not started by [`Self::new`].
#[pin_data(PinnedDrop)]
pub(crate) struct Threaded<T: Steps> {
    #[pin]
    task: Mutex<Option<Task>>,
    #[pin]
    value: T,
}

impl<T: Steps> Threaded<T> {
    /// Wraps a value; starts no thread.
    ///
    /// # Errors
    ///
    /// The error of `value`.
    pub(crate) fn new(value: impl PinInit<T, Error>) -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            task <- new_mutex!(None),
            value <- value,
        }? Error)
    }

    /// Starts a thread called `name` with nice value `nice`, unless one is running. `cpus` is its
    /// preferred affinity. Returns whether a thread was started.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the calling task is being killed.
    pub(crate) fn start(&self, name: &CStr, nice: i32, cpus: Option<&Cpumask>) -> Result<bool> {
        let mut task = self.task.lock();
        if task.is_some() {
            return Ok(false);
        }
        let value = (&raw const self.value).cast_mut().cast();
        // SAFETY: The format takes one string. The value is pinned and outlives the thread:
        // dropping the value stops the thread first.
        let new = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(main::<T>),
                value,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // SAFETY: The thread was created and has not run, so the task struct is live.
        unsafe { bindings::oot_get_task_struct(new) };
        // SAFETY: As above.
        unsafe { bindings::set_user_nice(new, nice as c_long) };
        if let Some(cpus) = cpus {
            // SAFETY: As above; the thread has not run, and the mask is valid.
            unsafe { bindings::kthread_affine_preferred(new, cpus.as_raw()) };
        }
        // SAFETY: As above.
        unsafe { bindings::wake_up_process(new) };
        // INVARIANT: The reference was just taken, and only dropping it stops the thread.
        *task = NonNull::new(new).map(Task);
        Ok(true)
    }

    /// Whether a thread was started and has not been stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.task.lock().is_some()
    }

    /// Stops the thread and waits for it to end. Returns whether a thread was running.
    pub(crate) fn stop(&self) -> bool {
        self.task.lock().take().is_some()
    }
}

impl<T: Steps> Deref for Threaded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[pinned_drop]
impl<T: Steps> PinnedDrop for Threaded<T> {
    fn drop(self: Pin<&mut Self>) {
        self.stop();
    }
}

/// The thread's main function.
///
/// # Safety
///
/// `value` must be a `T` that is valid until the thread has been stopped.
unsafe extern "C" fn main<T: Steps>(value: *mut c_void) -> c_int {
    // SAFETY: By the safety requirement.
    let value = unsafe { &*value.cast::<T>() };
    // The state must be set before `kthread_should_stop()` reads the flag: `kthread_stop()` sets
    // the flag and then wakes the thread.
    loop {
        let delay = value.step();
        if delay.is_some() {
            // SAFETY: Sets the state of the current thread.
            unsafe { bindings::oot_set_current_state_idle() };
        }
        // SAFETY: The current thread is a kthread.
        if unsafe { bindings::kthread_should_stop() } {
            break;
        }
        match delay {
            // SAFETY: The thread may sleep here.
            Some(delay) => drop(unsafe { bindings::schedule_timeout(delay as c_long) }),
            // SAFETY: As above.
            None => unsafe { bindings::oot_cond_resched() },
        }
    }
    // SAFETY: Sets the state of the current thread.
    unsafe { bindings::oot_set_current_state_running() };
    0
}
