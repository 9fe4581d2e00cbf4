// SPDX-License-Identifier: GPL-2.0

//! Kernel threads, each stopped when the value that it works on is dropped: [`Threaded`], which is
//! started and stopped again and works in steps, and [`Thread`], which runs a function once.
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
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        Mutex, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    }, //
};

/// A value on which a kernel thread works in steps.
pub(crate) trait Steps: Send + Sync + 'static {
    /// Does one step. Returns the number of jiffies to sleep before the next one, or `None` to go
    /// on without sleeping.
    fn step(&self) -> Option<usize>;
}

/// A thread.
///
/// # Invariants
///
/// The pointer owns a reference to a kthread. Nothing else stops the thread.
struct Task(NonNull<bindings::task_struct>);

// SAFETY: Any thread may stop a kthread.
unsafe impl Send for Task {}

// SAFETY: A shared reference allows only to wake the thread, which any thread may do.
unsafe impl Sync for Task {}

impl Task {
    /// Creates a thread that will call `main` with `value` once it is woken.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the calling task is being killed.
    ///
    /// # Safety
    ///
    /// `main` may be called with `value` until the result has been dropped.
    unsafe fn create(
        main: unsafe extern "C" fn(*mut c_void) -> c_int,
        value: *mut c_void,
        name: &CStr,
    ) -> Result<Self> {
        // SAFETY: The format takes one string. The rest by the safety requirement: the thread ends
        // before the result has been dropped.
        let new = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(main),
                value,
                bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        })?;
        let task = NonNull::new(new).ok_or(ENOMEM)?;
        // SAFETY: The thread was created and has not run, so the task struct is live.
        unsafe { bindings::oot_get_task_struct(new) };
        // INVARIANT: The reference was just taken, and only dropping it stops the thread.
        Ok(Self(task))
    }

    fn wake_up(&self) {
        // SAFETY: The task struct is live by the type invariant.
        unsafe { bindings::wake_up_process(self.0.as_ptr()) };
    }
}

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
        // SAFETY: The value is pinned and outlives the thread: dropping the value stops the thread
        // first.
        let new = unsafe { Task::create(main::<T>, value, name) }?;
        // SAFETY: The task struct is live by the type invariant.
        unsafe { bindings::set_user_nice(new.0.as_ptr(), nice as c_long) };
        if let Some(cpus) = cpus {
            // SAFETY: As above; the thread has not run, and the mask is valid.
            unsafe { bindings::kthread_affine_preferred(new.0.as_ptr(), cpus.as_raw()) };
        }
        new.wake_up();
        *task = Some(new);
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

/// The function of a [`Thread`].
pub(crate) trait Run: Send + 'static {
    /// Called once by the thread, unless the thread is stopped before it has run. Must return soon
    /// after [`Current::should_stop`] is true.
    fn run(&mut self, current: &Current);
}

/// Evidence that the current task is a kthread.
pub(crate) struct Current(NotThreadSafe);

impl Current {
    /// Whether the thread is to end.
    pub(crate) fn should_stop(&self) -> bool {
        // SAFETY: The current task is a kthread.
        unsafe { bindings::kthread_should_stop() }
    }

    /// Lets other tasks run, if that is due.
    pub(crate) fn resched(&self) {
        // SAFETY: The thread may sleep here.
        unsafe { bindings::oot_cond_resched() };
    }

    /// Sleeps until `waker` is woken, for `timeout` jiffies, or until the thread is to end. Returns
    /// whether `waker` was woken since the last call.
    pub(crate) fn wait(&self, waker: &Waker, timeout: usize) -> bool {
        let woken = waker.woken.as_ptr();
        // SAFETY: The current task is a kthread and may sleep here. The queue was initialised, and
        // the flag is live.
        unsafe { bindings::oot_kthread_wait(waker.queue.get(), woken, timeout as c_long) };
        // A full barrier orders later reads of the thread after the clearing of the flag.
        waker.woken.xchg(0, Full) != 0
    }
}

/// A wait queue for one thread, with a flag.
#[pin_data]
pub(crate) struct Waker {
    #[pin]
    queue: Opaque<bindings::wait_queue_head>,
    /// 1 if the thread was woken, or must not sleep the next time.
    woken: Atomic<u32>,
}

// SAFETY: A wait queue does its own locking.
unsafe impl Send for Waker {}

// SAFETY: As above.
unsafe impl Sync for Waker {}

impl Waker {
    /// A waker that was not woken.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            queue <- Opaque::ffi_init(|queue| {
                // SAFETY: `queue` is valid for writes and pinned.
                unsafe { bindings::oot_init_waitqueue(queue) }
            }),
            woken: Atomic::new(0),
        })
    }

    /// Wakes the thread that waits, or lets the next wait return at once. May be called in softirq
    /// context.
    pub(crate) fn wake(&self) {
        if self.woken.xchg(1, Full) == 0 {
            // SAFETY: The queue was initialised.
            unsafe { bindings::oot_wake_up(self.queue.get()) };
        }
    }
}

/// A running thread and the value that it works on. Dropping it stops the thread, waits for it to
/// end, and then drops the value.
///
/// # Invariants
///
/// `value` comes from [`KBox::into_raw`] and is owned. Only the thread accesses it while `task` is
/// `Some`.
pub(crate) struct Thread<T: Run> {
    task: Option<Task>,
    value: NonNull<T>,
}

// SAFETY: The value is `Send`, and any thread may stop a kthread.
unsafe impl<T: Run> Send for Thread<T> {}

// SAFETY: `&Thread` has no methods.
unsafe impl<T: Run> Sync for Thread<T> {}

impl<T: Run> Thread<T> {
    /// Starts a thread called `name` that runs `value`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINTR` if the calling task is being killed.
    pub(crate) fn start(name: &CStr, value: T) -> Result<Self> {
        let value = NonNull::from(KBox::leak(KBox::new(value, GFP_KERNEL)?));
        // INVARIANT: The value was just allocated; there is no thread.
        let mut this = Self { task: None, value };
        // SAFETY: `run` may be called with the value until the task is dropped: only then does
        // dropping `this` free it, and nothing else accesses it.
        let task = unsafe { Task::create(run::<T>, value.as_ptr().cast(), name) }?;
        task.wake_up();
        this.task = Some(task);
        Ok(this)
    }
}

impl<T: Run> Drop for Thread<T> {
    fn drop(&mut self) {
        drop(self.task.take());
        // SAFETY: By the type invariant, as the thread has ended.
        drop(unsafe { KBox::from_raw(self.value.as_ptr()) });
    }
}

/// The main function of a [`Thread`].
///
/// # Safety
///
/// `value` must be a `T` that is valid, and that nothing else accesses, until the thread has ended.
unsafe extern "C" fn run<T: Run>(value: *mut c_void) -> c_int {
    // SAFETY: By the safety requirement.
    let value = unsafe { &mut *value.cast::<T>() };
    value.run(&Current(NotThreadSafe));
    0
}
