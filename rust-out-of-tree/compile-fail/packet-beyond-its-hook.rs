// SPDX-License-Identifier: GPL-2.0
// Error: E0521

// A stolen packet must not outlive the hook's call: its route may be valid only as long as the
// caller holds the RCU read lock.

use crate::oot::net::{
    filter::{
        HookSkb,
        Verdict, //
    },
    skbuff::SkBuff, //
};

struct Queue(Option<SkBuff<'static>>);

fn queue<'h>(queue: &mut Queue, skb: HookSkb<'h>) -> Verdict<'h> {
    let (skb, verdict) = skb.steal();
    #[cfg(misuse)]
    {
        queue.0 = Some(skb);
    }
    #[cfg(not(misuse))]
    {
        queue.0 = None;
        drop(skb);
    }
    verdict
}
