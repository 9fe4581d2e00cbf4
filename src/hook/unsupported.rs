// SPDX-License-Identifier: GPL-2.0

//! Packets to services whose protocol is not supported yet.

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
    /// Handles an SCTP packet. A packet to a service is counted for the network namespace and
    /// dropped.
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
