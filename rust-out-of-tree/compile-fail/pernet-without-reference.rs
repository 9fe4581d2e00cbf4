// SPDX-License-Identifier: GPL-2.0
// Error: E0515

// A per-netns value must not be used without a reference, for which the netns teardown waits.

use crate::oot::net::{
    namespace::Net,
    pernet::{
        PerNet,
        Pernet,
        Ref, //
    },
};

#[cfg(not(misuse))]
fn find<T: Pernet>(net: &Net) -> Option<Ref<T>> {
    PerNet::of(net)
}

#[cfg(misuse)]
fn find<T: Pernet>(net: &Net) -> Option<&PerNet<T>> {
    let found: Ref<T> = PerNet::of(net)?;
    Some(&*found)
}
