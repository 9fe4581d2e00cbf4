// SPDX-License-Identifier: GPL-2.0

//! Extensions of the kernel crate's vectors, without checks that panic.

use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// Appends `value`. Doubles the capacity if the vector is full.
///
/// # Errors
///
/// `value`, if memory runs out.
pub(crate) fn push<T>(vec: &mut KVVec<T>, value: T, flags: Flags) -> Result<(), T> {
    if vec.len() == vec.capacity() {
        let capacity = vec.len().saturating_mul(2).max(8);
        let Ok(mut larger) = KVVec::with_capacity(capacity, flags) else {
            return Err(value);
        };
        for element in vec.drain_all() {
            // Cannot fail: the capacity is sufficient.
            let _ = larger.push_within_capacity(element);
        }
        *vec = larger;
    }
    vec.push_within_capacity(value).map_err(|full| full.0)
}

/// Removes and returns the element at `index`. The last element takes its place.
pub(crate) fn swap_remove<T>(vec: &mut KVVec<T>, index: usize) -> Option<T> {
    if index >= vec.len() {
        return None;
    }
    let last = vec.pop()?;
    Some(match vec.get_mut(index) {
        Some(place) => core::mem::replace(place, last),
        None => last,
    })
}
