// SPDX-License-Identifier: GPL-2.0

//! Packets to services of protocols that are not balanced yet.

use super::Call;
use crate::{
    oot::net::filter::{
        HookSkb,
        Verdict, //
    },
    packet::Packet,
};

impl Call<'_> {
    /// An SCTP packet: one to a service is dropped, and counted for the namespace.
    #[cold]
    pub(super) fn sctp<'h>(self, skb: HookSkb<'h>, packet: &Packet) -> Verdict<'h> {
        let ports = packet.leading_ports(&skb);
        let service = ports.filter(|_| self.may_request(&skb) && !packet.is_later_fragment);
        if service
            .and_then(|ports| self.service(&skb, packet, &ports))
            .is_none()
        {
            return skb.accept();
        }
        kernel::pr_warn_once!("SCTP is not supported yet\n");
        self.netns.stats().count_in(skb.len().into());
        skb.drop()
    }
}
