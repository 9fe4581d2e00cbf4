// SPDX-License-Identifier: GPL-2.0
// Error: E0308

// C uses the type of an ICMP error as an unchecked index, so it must not be an arbitrary number.

use crate::oot::net::{
    ip,
    ip::IcmpError,
    skbuff::Skb, //
};

fn send(skb: &mut Skb) {
    #[cfg(not(misuse))]
    let error = IcmpError::TimeExceeded;
    #[cfg(misuse)]
    let error = 255;
    ip::icmp_send(skb, error, 0, 0);
}
