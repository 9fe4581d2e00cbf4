// SPDX-License-Identifier: GPL-2.0

//! Direct routing: the packet goes to the dest as it is.
//!
//! C version: `ip_vs_dr_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    accept_local,
    route::{
        self,
        Mode,
        Reach, //
    },
    send,
    Context, //
};
use crate::oot::net::filter::{
    HookSkb,
    Verdict, //
};

#[inline(always)]
pub(super) fn transmit<'h>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    match route::to_dest(context, &mut skb, Mode::DIRECT) {
        Some(Reach::Remote(_)) => send(context, skb),
        Some(Reach::Local) => accept_local(skb),
        None => skb.free(),
    }
}
