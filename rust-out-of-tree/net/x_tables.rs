// SPDX-License-Identifier: GPL-2.0

//! Matches of iptables, also used by nftables through nft_compat.
//!
//! C header: [`include/linux/netfilter/x_tables.h`](srctree/include/linux/netfilter/x_tables.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    sync::rcu,
    types::Opaque, //
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

/// A match.
pub(crate) trait Match: 'static {
    /// The name of the match, at most 28 bytes, and its revision.
    const NAME: &'static CStr;
    const REVISION: u8;

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

/// A registered match, unregistered on drop. A rule with it holds a reference to the module.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its functions are module code: the module must not be unloaded then.
pub(crate) struct Registration<M: Match> {
    raw: Pin<KBox<Opaque<bindings::xt_match>>>,
    _of: PhantomData<fn(M)>,
}

// SAFETY: The match is only passed to C, for registering and unregistering.
unsafe impl<M: Match> Send for Registration<M> {}

// SAFETY: `&Registration` has no methods.
unsafe impl<M: Match> Sync for Registration<M> {}

/// The alignment of the options (C: `XT_ALIGN()`).
const ALIGN: usize = 8;

impl<M: Match> Registration<M> {
    /// Registers the match for IPv4 and IPv6.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `ENAMETOOLONG` if the name is too long; the error of `xt_register_match()`.
    pub(crate) fn new(module: &'static ThisModule) -> Result<Self> {
        const { assert!(align_of::<M::Options>() <= ALIGN) };
        let mut raw: bindings::xt_match = pin_init::zeroed();
        let name = M::NAME.to_bytes_with_nul();
        for (to, from) in raw
            .name
            .get_mut(..name.len())
            .ok_or(ENAMETOOLONG)?
            .iter_mut()
            .zip(name)
        {
            *to = *from as c_char;
        }
        raw.revision = M::REVISION;
        raw.family = bindings::NFPROTO_UNSPEC as u16;
        raw.match_ = Some(matches::<M>);
        raw.checkentry = Some(check);
        raw.matchsize = size_of::<M::Options>().next_multiple_of(ALIGN) as u32;
        raw.me = module.as_ptr();
        let raw = KBox::pin(Opaque::new(raw), GFP_KERNEL)?;
        // SAFETY: The match stays in place until it is unregistered on drop.
        to_result(unsafe { bindings::xt_register_match(raw.get()) })?;
        Ok(Self {
            raw,
            _of: PhantomData,
        })
    }
}

impl<M: Match> Drop for Registration<M> {
    fn drop(&mut self) {
        // SAFETY: The match was registered in `new`. No rule uses it: each has a reference to the
        // module, which drops this value when it is unloaded or has failed to load.
        unsafe { bindings::xt_unregister_match(self.raw.get()) };
    }
}

/// # Safety
///
/// To be called only by x_tables, with the parameters of a rule to be checked.
unsafe extern "C" fn check(par: *const bindings::xt_mtchk_param) -> c_int {
    // SAFETY: x_tables passes valid parameters.
    match NfProto::from_raw(unsafe { bindings::oot_xt_checked_family(par) }) {
        Some(_) => 0,
        None => EINVAL.to_errno(),
    }
}

/// # Safety
///
/// To be called only by x_tables, for a packet at a hook and a rule with the match of `M`.
unsafe extern "C" fn matches<M: Match>(
    skb: *const bindings::sk_buff,
    par: *mut bindings::xt_action_param,
) -> bool {
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
    // SAFETY: The rule has options of the registered size with the alignment `ALIGN`, which do not
    // change, and any bytes are valid.
    let options = unsafe { &*options.cast::<M::Options>() };
    // SAFETY: The pointer to the packet of a hook call is not null.
    let skb = unsafe { NonNull::new_unchecked(skb.cast_mut()) };
    // SAFETY: The packet is live, and only this call accesses it.
    let skb = unsafe { Skb::from_raw(skb) };
    M::matches(options, net, family, skb, rcu)
}
