// SPDX-License-Identifier: GPL-2.0

//! The parts of the kernel crate that the files under test use, implemented with `std`.

pub mod alloc {
    pub type Flags = ();
}

pub mod prelude {
    pub type Result<T = (), E = Error> = core::result::Result<T, E>;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Error(i32);

    pub const ENOMEM: Error = Error(-12);

    pub struct KVVec<T>(Vec<T>);

    impl<T> KVVec<T> {
        pub fn with_capacity(capacity: usize, _flags: ()) -> Result<Self> {
            Ok(Self(Vec::with_capacity(capacity)))
        }

        pub fn push_within_capacity(&mut self, value: T) -> Result<(), T> {
            if self.0.len() == self.0.capacity() {
                return Err(value);
            }
            self.0.push(value);
            Ok(())
        }
    }

    impl<T> core::ops::Deref for KVVec<T> {
        type Target = [T];

        fn deref(&self) -> &[T] {
            &self.0
        }
    }

    impl<T> core::ops::DerefMut for KVVec<T> {
        fn deref_mut(&mut self) -> &mut [T] {
            &mut self.0
        }
    }
}

pub mod sync {
    use std::sync::OnceLock;

    pub struct Arc<T>(std::sync::Arc<T>);

    impl<T> Arc<T> {
        pub fn new(value: T, _flags: ()) -> crate::prelude::Result<Self> {
            Ok(Self(std::sync::Arc::new(value)))
        }

        pub fn into_unique_or_drop(this: Self) -> Option<Box<T>> {
            std::sync::Arc::into_inner(this.0).map(Box::new)
        }
    }

    impl<T> Clone for Arc<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T> core::ops::Deref for Arc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }

    pub struct SetOnce<T>(OnceLock<T>);

    impl<T> SetOnce<T> {
        #[allow(clippy::new_without_default)]
        pub fn new() -> Self {
            Self(OnceLock::new())
        }

        pub fn as_ref(&self) -> Option<&T> {
            self.0.get()
        }

        pub fn populate(&self, value: T) -> bool {
            self.0.set(value).is_ok()
        }
    }

    impl<T> Default for SetOnce<T> {
        fn default() -> Self {
            Self::new()
        }
    }

    pub mod atomic {
        use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

        pub struct Full;
        pub struct Relaxed;
        pub struct Release;

        pub struct Atomic<T>(AtomicUsize, core::marker::PhantomData<T>);

        impl Atomic<usize> {
            pub fn new(value: usize) -> Self {
                Self(AtomicUsize::new(value), core::marker::PhantomData)
            }

            pub fn store<O>(&self, value: usize, _order: O) {
                self.0.store(value, SeqCst);
            }

            pub fn xchg<O>(&self, value: usize, _order: O) -> usize {
                self.0.swap(value, SeqCst)
            }

            pub fn cmpxchg<O>(&self, old: usize, new: usize, _order: O) -> Result<usize, usize> {
                self.0.compare_exchange(old, new, SeqCst, SeqCst)
            }
        }
    }
}
