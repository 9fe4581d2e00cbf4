// SPDX-License-Identifier: GPL-2.0

//! Networking: namespaces, packets, hooks, routes, netlink.

pub(crate) mod addrconf;
pub(crate) mod conntrack;
pub(crate) mod device;
pub(crate) mod dst;
pub(crate) mod filter;
pub(crate) mod genetlink;
pub(crate) mod ip;
pub(crate) mod namespace;
pub(crate) mod nat_helper;
pub(crate) mod netlink;
pub(crate) mod nf_proto;
pub(crate) mod notifier;
pub(crate) mod pernet;
pub(crate) mod skbuff;
pub(crate) mod socket;
pub(crate) mod sockopt;
pub(crate) mod tunnel;
pub(crate) mod x_tables;

/// Whether one more message about packets may be logged now (`net_ratelimit()`).
pub(crate) fn may_log() -> bool {
    // SAFETY: The function has no requirements.
    unsafe { crate::oot::bindings::net_ratelimit() != 0 }
}
