// SPDX-License-Identifier: GPL-2.0

//! The primitives for the pure files in the host tests, based on `std`. `shim/module.rs` documents
//! them.

use super::NoMemory;
use core::{
    ops::{
        Deref,
        DerefMut, //
    },
    sync::atomic::{
        AtomicU32,
        AtomicU64,
        Ordering, //
    },
};
use std::{
    cell::Cell,
    sync::{
        RwLock,
        RwLockWriteGuard, //
    }, //
};

pub(crate) use std::sync::Arc as Shared;

pub(crate) struct Guard;

pub(crate) fn read_lock() -> Guard {
    Guard
}

pub(crate) trait Share: 'static {}

pub(crate) const HZ: usize = 250;

/// The time of this thread, which [`set_jiffies`] sets.
pub(crate) fn jiffies() -> usize {
    JIFFIES.get()
}

pub(crate) fn set_jiffies(now: usize) {
    JIFFIES.set(now);
}

/// The sysctl of this thread, which [`set_setting`] sets.
#[derive(Clone, Copy)]
pub(crate) struct Jiffies;

impl Jiffies {
    pub(crate) fn get(&self) -> usize {
        SETTING.get() as usize
    }
}

pub(crate) fn set_setting(time: i32) {
    SETTING.set(time);
}

pub(crate) trait Tick: Share {
    fn tick(&self, guard: &Guard);
}

/// A value without a timer: tests call [`Tick::tick`].
pub(crate) struct Periodic<T>(T);

impl<T: Share> Share for Periodic<T> {}

impl<T> Deref for Periodic<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

pub(crate) fn start<T: Tick>(value: T, _interval: usize) -> Result<Shared<Periodic<T>>, NoMemory> {
    share(Periodic(value))
}

/// A list whose readers walk a copy.
pub(crate) struct List<T>(RwLock<Vec<Item<T>>>);

impl<T: 'static> List<T> {
    pub(crate) const fn new() -> Self {
        Self(RwLock::new(Vec::new()))
    }

    pub(crate) fn iter(&self, _guard: &Guard) -> impl Iterator<Item = Shared<T>> {
        let items: Vec<_> = self
            .0
            .read()
            .unwrap()
            .iter()
            .map(|item| item.0.clone())
            .collect();
        items.into_iter()
    }

    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let elements = self.0.write().unwrap();
        Locked {
            _held: Held::new(),
            elements,
            removed: Vec::new(),
        }
    }
}

/// A locked list. The fields are dropped in this order: removed elements are dropped without the
/// lock, as after a grace period.
pub(crate) struct Locked<'a, T> {
    elements: RwLockWriteGuard<'a, Vec<Item<T>>>,
    _held: Held,
    removed: Vec<Item<T>>,
}

impl<T: 'static> Locked<'_, T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.elements.iter().map(|item| &*item.0)
    }

    pub(crate) fn push(&mut self, item: Item<T>) {
        self.elements.insert(0, item);
    }

    pub(crate) fn remove(&mut self, mut is_over: impl FnMut(&T) -> bool) -> usize {
        let (removed, left): (Vec<_>, Vec<_>) =
            self.elements.drain(..).partition(|item| is_over(&item.0));
        *self.elements = left;
        let count = removed.len();
        self.removed.extend(removed);
        count
    }
}

/// Marks that this thread holds the lock of a list and must neither allocate nor free memory.
struct Held;

impl Held {
    fn new() -> Self {
        LOCKS.set(LOCKS.get() + 1);
        Self
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        LOCKS.set(LOCKS.get() - 1);
    }
}

/// Panics if this thread holds the lock of a list.
fn assert_no_lock() {
    assert_eq!(LOCKS.get(), 0, "memory is allocated or freed under a lock");
}

/// An element of a [`List`]. It must neither be created nor dropped under a lock.
pub(crate) struct Item<T>(Shared<T>);

impl<T> Item<T> {
    pub(crate) fn new(value: T) -> Result<Self, NoMemory> {
        assert_no_lock();
        match LACKS_MEMORY.get() {
            true => Err(NoMemory),
            false => Ok(Self(Shared::new(value))),
        }
    }
}

impl<T> Drop for Item<T> {
    fn drop(&mut self) {
        assert_no_lock();
    }
}

/// Sets whether allocations of an [`Item`] on this thread fail.
pub(crate) fn lack_memory(lacks: bool) {
    LACKS_MEMORY.set(lacks);
}

pub(crate) fn share<T: Share>(value: T) -> Result<Shared<T>, NoMemory> {
    Ok(Shared::new(value))
}

/// A cell whose readers take a reference; in the kernel they rely on the grace period.
pub(crate) struct SharedCell<T>(RwLock<Option<Shared<T>>>);

impl<T: Share> SharedCell<T> {
    pub(crate) fn new(value: Option<Shared<T>>) -> Self {
        Self(RwLock::new(value))
    }

    pub(crate) fn get(&self, _guard: &Guard) -> Option<Shared<T>> {
        self.0.read().unwrap().clone()
    }

    pub(crate) fn replace(&self, value: Option<Shared<T>>) -> Option<Shared<T>> {
        core::mem::replace(&mut *self.0.write().unwrap(), value)
    }
}

#[inline]
pub(crate) fn fence() {
    core::sync::atomic::fence(Ordering::SeqCst);
}

pub(crate) struct BhDisabled;

pub(crate) fn bh_disable() -> BhDisabled {
    BhDisabled
}

thread_local! {
    static JIFFIES: Cell<usize> = const { Cell::new(0) };
    static SETTING: Cell<i32> = const { Cell::new(0) };
    static LACKS_MEMORY: Cell<bool> = const { Cell::new(false) };
    /// The number of list locks that this thread holds.
    static LOCKS: Cell<u32> = const { Cell::new(0) };
    /// The state of this thread's random number generator, which has the same seed in each test.
    static RANDOM: Cell<u64> = const { Cell::new(1) };
    /// The number of accesses until this thread yields, 0 for never, and the state of the random
    /// number generator for it.
    static HELD_UP: Cell<(u32, u32)> = const { Cell::new((0, 0)) };
}

pub(crate) fn random_u64() -> u64 {
    let seed = RANDOM.get().wrapping_mul(6_364_136_223_846_793_005);
    let seed = seed.wrapping_add(1_442_695_040_888_963_407);
    RANDOM.set(seed);
    seed
}

/// Makes this thread yield at random before accesses of a [`Word`], so that other threads run
/// between any two accesses.
pub(crate) fn hold_up(seed: u32) {
    HELD_UP.set((1, seed));
}

/// Yields if the next yield of [`hold_up`] is due.
#[inline]
fn perhaps_hold_up() {
    match HELD_UP.get() {
        (0, _) => (),
        (1, seed) => {
            let seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            HELD_UP.set((2 + (seed >> 27), seed));
            std::thread::yield_now();
        }
        (left, seed) => HELD_UP.set((left - 1, seed)),
    }
}

pub(crate) struct Word(AtomicU64);

impl Word {
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> u64 {
        perhaps_hold_up();
        self.0.load(Ordering::Acquire)
    }

    #[inline]
    pub(crate) fn set(&self, value: u64) {
        perhaps_hold_up();
        self.0.store(value, Ordering::Release);
    }

    #[inline]
    pub(crate) fn exchange(&self, from: u64, to: u64) -> bool {
        perhaps_hold_up();
        let order = Ordering::SeqCst;
        self.0.compare_exchange(from, to, order, order).is_ok()
    }

    #[inline]
    pub(crate) fn compare_exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        perhaps_hold_up();
        let order = Ordering::SeqCst;
        self.0.compare_exchange(from, to, order, order).map(|_| ())
    }

    #[inline]
    pub(crate) fn swap(&self, to: u64) -> u64 {
        perhaps_hold_up();
        self.0.swap(to, Ordering::SeqCst)
    }

    #[inline]
    pub(crate) fn add(&self, value: u64) {
        perhaps_hold_up();
        self.0.fetch_add(value, Ordering::SeqCst);
    }
}

pub(crate) struct Word32(AtomicU32);

impl Word32 {
    pub(crate) const fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    #[inline]
    pub(crate) fn get(&self) -> u32 {
        perhaps_hold_up();
        self.0.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn set(&self, value: u32) {
        perhaps_hold_up();
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn update(&self, next: impl Fn(u32) -> u32) -> u32 {
        perhaps_hold_up();
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| Some(next(old)))
            .unwrap()
    }
}

impl Word32 {
    #[inline]
    pub(crate) fn fetch_add(&self, value: u32) -> u32 {
        perhaps_hold_up();
        self.0.fetch_add(value, Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn compare_exchange(&self, from: u32, to: u32) -> Result<(), u32> {
        perhaps_hold_up();
        self.0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .map(|_| ())
    }
}

pub(crate) type Bytes = Vec<u8>;

pub(crate) fn zeroed(len: usize) -> Result<Bytes, NoMemory> {
    Ok(vec![0; len])
}

pub(crate) struct Array<T>(Vec<T>);

impl<T> Array<T> {
    pub(crate) fn new(len: usize, make: impl FnMut(usize) -> T) -> Result<Self, NoMemory> {
        Ok(Self((0..len).map(make).collect()))
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Array<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
