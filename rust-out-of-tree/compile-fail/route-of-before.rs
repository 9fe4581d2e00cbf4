// SPDX-License-Identifier: GPL-2.0
// Error: E0505

// A packet must not be sent by a noref route after the owner of the route was dropped.

use crate::oot::net::{
    dst::Dst,
    ip,
    namespace::Net,
    skbuff::{
        SkBuff,
        SkbRoute, //
    },
};

fn send(net: &Net, skb: SkBuff<'_>, dst: Dst) {
    let route = SkbRoute::NoRef(dst.as_ref());
    #[cfg(misuse)]
    drop(dst);
    ip::output(net, skb, route);
}
