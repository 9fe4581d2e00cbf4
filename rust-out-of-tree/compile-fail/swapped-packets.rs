// SPDX-License-Identifier: GPL-2.0
// Error: E0277

// The packets of two hook calls, or of a hook call and an owned one, must not be swapped.

use crate::oot::net::{
    filter::HookSkb,
    skbuff::Skb, //
};

fn both(a: &mut HookSkb<'_>, b: &mut HookSkb<'_>) -> u32 {
    let (a, b): (&mut Skb, &mut Skb) = (a, b);
    #[cfg(misuse)]
    core::mem::swap(a, b);
    a.len().wrapping_add(b.len())
}
