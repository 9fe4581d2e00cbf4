// SPDX-License-Identifier: GPL-2.0

//! A kernel thread that works on a value, and ends with it.
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

/// A value on which a thread works step by step.
pub(crate) trait Steps: Send + Sync + 'static {
    /// Does one step, and returns how many jiffies the thread is to sleep after it, if at all.
    fn step(&self) -> Option<usize>;
}

/// A thread that has been started.
///
/// # Invariants
///
/// The pointer owns a reference to a thread that runs [`main`] and that nothing else stops.
struct Task(NonNull<bindings::task_struct>);

// SAFETY: Any thread may stop another.
unsafe impl Send for Task {}

impl Drop for Task {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; this waits for the thread and gives the reference back.
        unsafe { bindings::kthread_stop_put(self.0.as_ptr()) };
    }
}

/// A value with its thread, which does not run at first.
#[pin_data(PinnedDrop)]
pub(crate) struct Threaded<T: Steps> {
    #[pin]
    task: Mutex<Option<Task>>,
    #[pin]
    value: T,
}

impl<T: Steps> Threaded<T> {
    /// Wraps a value.
    pub(crate) fn new(value: impl PinInit<T, Error>) -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            task <- new_mutex!(None),
            value <- value,
        }? Error)
    }

    /// Starts a thread called `name`, with that nice value, best on those CPUs, unless one is
    /// running; returns whether it did.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the caller is being killed.
    pub(crate) fn start(&self, name: &CStr, nice: i32, cpus: Option<&Cpumask>) -> Result<bool> {
        let mut task = self.task.lock();
        if task.is_some() {
            return Ok(false);
        }
        let value = (&raw const self.value).cast_mut().cast();
        // SAFETY: The format asks for one string. The value is pinned, and it stays while the
        // thread runs, since it is dropped after that was stopped.
        let new = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(main::<T>),
                value,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // SAFETY: The thread was created, and has not run, so it is there.
        unsafe { bindings::oot_get_task_struct(new) };
        // SAFETY: As above.
        unsafe { bindings::set_user_nice(new, nice as c_long) };
        if let Some(cpus) = cpus {
            // SAFETY: As above; it has not run, and the mask is valid.
            unsafe { bindings::kthread_affine_preferred(new, cpus.as_raw()) };
        }
        // SAFETY: As above.
        unsafe { bindings::wake_up_process(new) };
        // INVARIANT: The reference was just taken, and the thread is stopped by dropping it.
        *task = NonNull::new(new).map(Task);
        Ok(true)
    }

    /// Whether a thread was started, and not stopped.
    pub(crate) fn is_running(&self) -> bool {
        self.task.lock().is_some()
    }

    /// Stops the thread, if it is running, and waits for it; returns whether it was.
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

/// What the thread runs.
///
/// # Safety
///
/// `value` must be a `T` that is valid until the thread has been stopped.
unsafe extern "C" fn main<T: Steps>(value: *mut c_void) -> c_int {
    // SAFETY: By the safety requirement.
    let value = unsafe { &*value.cast::<T>() };
    // `kthread_stop()` wakes the thread: its flag must be read after the state is set.
    loop {
        let delay = value.step();
        if delay.is_some() {
            // SAFETY: Sets the state of this thread.
            unsafe { bindings::oot_set_current_state_idle() };
        }
        // SAFETY: This is a kthread.
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
    // SAFETY: Sets the state of this thread.
    unsafe { bindings::oot_set_current_state_running() };
    0
}
