// SPDX-License-Identifier: GPL-2.0

//! Matches of iptables, also used by nftables through nft_compat.
//!
//! C header: [`include/linux/netfilter/x_tables.h`](srctree/include/linux/netfilter/x_tables.h)

use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::rcu, //
};
use zerocopy::{
    FromBytes,
    Immutable, //
};

use crate::oot::{
    bindings,
    sync::rcu::assume_read_locked, //
};

use super::{
    namespace::Net,
    nf_proto::NfProto,
    skbuff::Skb, //
};

/// A match. [`export_match!`] gives it a C function, which a C module registers (`struct
/// xt_match`) for IPv4 and IPv6.
pub(crate) trait Match: 'static {
    /// The options of a rule, as user space passes them: any bytes.
    type Options: FromBytes + Immutable;

    /// Whether a packet of IPv4 or IPv6 matches. The packet's data begin with its IP header.
    fn matches(
        options: &Self::Options,
        net: &Net,
        family: NfProto,
        skb: &Skb,
        rcu: &rcu::Guard,
    ) -> bool;
}

/// The alignment of the options (C: `XT_ALIGN()`).
const ALIGN: usize = 8;

/// Defines the C function of a match, whose options have the given size in bytes (C: `.match`).
///
/// The C module that registers the function must do so with this size.
macro_rules! export_match {
    ($of:ty as $name:ident, $size:literal) => {
        /// The C function of a match.
        ///
        /// # Safety
        ///
        /// To be called only by x_tables, with options of the given size.
        #[allow(unsafe_code)]
        #[no_mangle]
        unsafe extern "C" fn $name(
            skb: *const $crate::oot::net::x_tables::CSkb,
            par: *mut $crate::oot::net::x_tables::CParameters,
        ) -> bool {
            const {
                assert!(size_of::<<$of as $crate::oot::net::x_tables::Match>::Options>() == $size)
            };
            // SAFETY: x_tables calls this function, for a packet at a hook and a rule with the
            // match and with options of this size.
            unsafe { $crate::oot::net::x_tables::matches::<$of>(skb, par) }
        }
    };
}
pub(crate) use export_match;

/// `struct sk_buff`, for [`export_match!`].
pub(crate) type CSkb = bindings::sk_buff;

/// `struct xt_action_param`, for [`export_match!`].
pub(crate) type CParameters = bindings::xt_action_param;

/// # Safety
///
/// To be called only by x_tables, for a packet at a hook and a rule with the match of `M`, with
/// options of the size of [`Match::Options`].
pub(crate) unsafe fn matches<M: Match>(
    skb: *const bindings::sk_buff,
    par: *mut bindings::xt_action_param,
) -> bool {
    const { assert!(align_of::<M::Options>() <= ALIGN) };
    // SAFETY: x_tables runs in a netfilter hook, so in an RCU read-side critical section.
    let rcu = unsafe { assume_read_locked() };
    // SAFETY: The parameters are valid.
    let net = unsafe { bindings::oot_xt_net(par) };
    // SAFETY: The namespace of a hook call is live.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: The parameters are valid.
    let Some(family) = NfProto::from_raw(unsafe { bindings::oot_xt_family(par) }) else {
        return false;
    };
    // SAFETY: The parameters are valid.
    let options = unsafe { bindings::oot_xt_matchinfo(par) };
    // SAFETY: The rule has options of this size with the alignment `ALIGN`, which do not change,
    // and any bytes are valid.
    let options = unsafe { &*options.cast::<M::Options>() };
    // SAFETY: The pointer to the packet of a hook call is not null.
    let skb = unsafe { NonNull::new_unchecked(skb.cast_mut()) };
    // SAFETY: The packet is live, and only this call accesses it.
    let skb = unsafe { Skb::from_raw(skb) };
    M::matches(options, net, family, skb, rcu)
}
