// SPDX-License-Identifier: GPL-2.0
// Error: E0505

// A packet must not be sent by a route without reference whose owner is gone.

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
