// SPDX-License-Identifier: GPL-2.0

//! Tests of files of this layer that need only the parts of the kernel crate in `kernel.rs`.
//!
//! `qemu-test/check` compiles this file with `rustc --test` and runs it.

#![allow(dead_code)]

#[path = "../sync/head_list.rs"]
mod head_list;

/// References implemented with `std`, as far as [`HeadList`] needs them.
mod rcu_arc {
    use std::sync::Arc;

    pub(crate) trait Object {}

    #[repr(transparent)]
    pub(crate) struct RcuArc<T: Object>(pub(crate) Arc<T>);

    impl<T: Object> Clone for RcuArc<T> {
        fn clone(&self) -> Self {
            Self(self.0.clone())
        }
    }

    impl<T: Object> core::ops::Deref for RcuArc<T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.0
        }
    }
}

use head_list::HeadList;
use rcu_arc::{
    Object,
    RcuArc, //
};
use std::sync::Arc;

impl Object for usize {}

fn element(value: usize) -> RcuArc<usize> {
    RcuArc(Arc::new(value))
}

/// Returns `list` with `value` prepended.
fn with(list: &HeadList<usize>, value: &RcuArc<usize>) -> HeadList<usize> {
    list.with(value.clone(), ()).unwrap().publish()
}

fn values(list: &HeadList<usize>) -> Vec<usize> {
    list.as_slice().iter().map(|element| **element).collect()
}

/// The number of references to each element, without the test's own.
fn references(elements: &[RcuArc<usize>]) -> Vec<usize> {
    let count = |element: &RcuArc<usize>| Arc::strong_count(&element.0) - 1;
    elements.iter().map(count).collect()
}

/// A dropped draft keeps no reference to its new element, whether or not it has a new chunk.
#[test]
fn a_draft_gives_its_element_back() {
    let elements: Vec<_> = (0..40).map(element).collect();
    let mut list = HeadList::new();
    for (count, value) in elements.iter().enumerate() {
        drop(list.with(value.clone(), ()).unwrap());
        assert_eq!(references(&elements[count..]), vec![0; 40 - count]);
        // The slot is free again.
        list = with(&list, value);
    }
    assert_eq!(values(&list), (0..40).rev().collect::<Vec<_>>());
    drop(list);
    assert_eq!(references(&elements), [0; 40]);
}

/// While a draft holds a slot, another version is made in another chunk.
#[test]
fn a_draft_beside_another_version() {
    let elements: Vec<_> = (0..4).map(element).collect();
    let list = with(&HeadList::new(), &elements[0]);
    let draft = list.with(elements[1].clone(), ()).unwrap();
    let other = with(&list, &elements[2]);
    assert_eq!(draft.as_slice().len(), 2);
    drop(draft);
    assert_eq!(references(&elements), [1, 0, 1, 0]);
    let later = with(&list, &elements[3]);
    drop(list);
    assert_eq!([values(&other), values(&later)], [[2, 0], [3, 0]]);
    drop(other);
    assert_eq!(*later.as_slice()[1], 0);
    drop(later);
    assert_eq!(references(&elements), [0; 4]);
}

/// Makes and drops random versions. Each must keep its elements, and no reference may be leaked or
/// dropped twice.
#[test]
fn versions_share_what_they_have() {
    let mut seed = 1_u64;
    let mut below = move |limit: usize| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % limit
    };
    let elements: Vec<_> = (0..30).map(element).collect();
    let mut versions = vec![(HeadList::new(), vec![])];
    for _ in 0..20_000 {
        let number = below(versions.len());
        let (list, want) = &versions[number];
        assert_eq!(&values(list), want);
        match below(8) {
            0..=2 => {
                let value = below(elements.len());
                let want = [&[value], &want[..]].concat();
                versions.push((with(list, &elements[value]), want));
            }
            3 => drop(list.with(elements[0].clone(), ()).unwrap()),
            4 | 5 if !want.is_empty() => {
                let index = below(want.len());
                let mut want = want.clone();
                want.remove(index);
                versions.push((list.without(index, ()).unwrap(), want));
            }
            _ if versions.len() > 1 => drop(versions.swap_remove(number)),
            _ => (),
        }
        if versions.len() > 60 {
            versions.truncate(20);
        }
    }
    drop(versions);
    assert_eq!(references(&elements), [0; 30]);
}
