// SPDX-License-Identifier: GPL-2.0

//! Packets to services of protocols that are not balanced yet.

use super::HookCtx;
use crate::{
    oot::net::filter::{
        HookSkb,
        Verdict, //
    },
    packet::{
        Extent,
        Packet, //
    },
};

impl HookCtx<'_> {
    /// An SCTP packet: one to a service is dropped, and counted for the namespace.
    #[cold]
    pub(super) fn sctp<'h>(self, skb: HookSkb<'h>, packet: &mut Packet) -> Verdict<'h> {
        if !self.may_request(&skb) || packet.is_later_fragment {
            return skb.accept();
        }
        packet.read_ports(&skb);
        if packet.header == Extent::Nothing || self.service(&skb, packet).is_none() {
            return skb.accept();
        }
        kernel::pr_warn_once!("SCTP is not supported yet\n");
        self.netns.stats().count_in(skb.len().into());
        skb.drop_eperm()
    }
}
