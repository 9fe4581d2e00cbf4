// SPDX-License-Identifier: GPL-2.0

//! Where dests go that are removed: a dest that comes back soon is the one it was.
//!
//! Its conns go on, its figures count for scheduling, and what it has counted is kept.
//!
//! C version: `ip_vs_trash_get_dest()`, `ip_vs_dest_trash_expire()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Differences from C
//!
//! When there is no memory for its place in the trash, a dest is forgotten at once.

use crate::{
    ctl::request::{
        DestId,
        ServiceId, //
    },
    oot::{
        hash::HashKey,
        sync::RcuArc,
        time::{
            jiffies,
            HZ, //
        },
        workqueue::{
            Delayed,
            Work, //
        },
    },
    stats::{
        Counts,
        Tally, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

use super::Dest;

/// How long a dest without conns is kept, in jiffies.
const PERIOD: usize = 120 * HZ;

/// A removed dest, with the tally of the service it was in.
pub(crate) struct Removed {
    pub(crate) dest: RcuArc<Dest>,
    pub(crate) tally: Arc<Tally>,
    /// When it was first seen without conns, never 0, which stands for not yet.
    idle_start: usize,
}

impl Removed {
    /// Whether it is to be forgotten at the time `now`.
    fn is_over(&mut self, now: usize) -> bool {
        // A scheduler may remember the dest.
        if self.dest.is_in_use() || self.dest.is_shared() {
            return false;
        }
        match self.idle_start {
            0 => {
                self.idle_start = now.max(1);
                false
            }
            start => now.wrapping_sub(start) >= PERIOD,
        }
    }

    fn forget(&self) {
        self.tally.forgot(self.dest.counted());
    }
}

/// A stack of removed dests, the last one first.
struct Stack(Option<KBox<Node>>);

struct Node {
    removed: Removed,
    below: Option<KBox<Node>>,
}

impl Stack {
    fn push(&mut self, mut node: KBox<Node>) {
        node.below = self.0.take();
        self.0 = Some(node);
    }

    fn iter(&self) -> impl Iterator<Item = &Removed> {
        fn below<'a>(node: &&'a Node) -> Option<&'a Node> {
            node.below.as_deref()
        }
        core::iter::successors(self.0.as_deref(), below).map(|node| &node.removed)
    }

    /// Takes out the first that `pred` holds for.
    fn take(&mut self, pred: impl Fn(&Removed) -> bool) -> Option<Removed> {
        let mut at = &mut self.0;
        while let Some(mut node) = at.take() {
            if pred(&node.removed) {
                *at = node.below.take();
                return Some(KBox::into_inner(node).removed);
            }
            at = &mut at.insert(node).below;
        }
        None
    }

    /// Takes out all that `pred` does not hold for.
    fn retain(&mut self, mut pred: impl FnMut(&mut Removed) -> bool) {
        let mut at = &mut self.0;
        while let Some(mut node) = at.take() {
            if pred(&mut node.removed) {
                at = &mut at.insert(node).below;
            } else {
                *at = node.below.take();
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // One by one: a stack of any height must not be dropped by recursion.
        self.retain(|_| false);
    }
}

/// Stacks, by a hash of what a dest is called: a service with many dests is often removed to be
/// added again.
struct Stacks {
    stacks: [Stack; 256],
    len: usize,
}

impl Stacks {
    fn new() -> Self {
        Self {
            stacks: [const { Stack(None) }; 256],
            len: 0,
        }
    }

    fn of(&mut self, hash: u32) -> Option<&mut Stack> {
        let [low, ..] = hash.to_le_bytes();
        self.stacks.get_mut(usize::from(low))
    }

    fn push(&mut self, hash: u32, node: KBox<Node>) {
        if let Some(stack) = self.of(hash) {
            stack.push(node);
            self.len = self.len.wrapping_add(1);
        }
    }

    fn take(&mut self, hash: u32, pred: impl Fn(&Removed) -> bool) -> Option<Removed> {
        let taken = self.of(hash)?.take(pred)?;
        self.len = self.len.wrapping_sub(1);
        Some(taken)
    }

    /// Forgets those whose time is over.
    fn expire(&mut self, now: usize) {
        let mut len: usize = 0;
        for stack in &mut self.stacks {
            stack.retain(|removed| {
                let over = removed.is_over(now);
                if over {
                    removed.forget();
                } else {
                    len = len.wrapping_add(1);
                }
                !over
            });
        }
        self.len = len;
    }
}

#[pin_data]
struct Heap {
    #[pin]
    removed: Mutex<Stacks>,
}

impl Work for Heap {
    fn run(&self) -> Option<usize> {
        let mut removed = self.removed.lock();
        removed.expire(jiffies());
        (removed.len != 0).then_some(PERIOD / 2)
    }
}

/// The removed dests of a namespace.
#[pin_data]
pub(crate) struct Trash {
    #[pin]
    heap: Delayed<Heap>,
    key: HashKey,
}

impl Trash {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            heap <- Delayed::new(pin_init::pin_init!(Heap {
                removed <- new_mutex!(Stacks::new()),
            })),
            key: HashKey::random(),
        })
    }

    /// Takes in a dest.
    pub(crate) fn put(&self, dest: RcuArc<Dest>, tally: Arc<Tally>) {
        let hash = self.hash_of(&dest.vip, &dest.id());
        let removed = Removed {
            dest,
            tally,
            idle_start: 0,
        };
        removed.tally.discarded();
        let Ok(node) = KBox::new_uninit(GFP_KERNEL) else {
            removed.forget();
            return;
        };
        let node = node.write(Node {
            removed,
            below: None,
        });
        let mut removed = self.heap.removed.lock();
        if removed.len == 0 {
            self.heap.schedule(PERIOD / 2);
        }
        removed.push(hash, node);
    }

    /// Gives back the dest called `id` of a service called `vip`.
    pub(crate) fn take(&self, vip: &ServiceId, id: &DestId) -> Option<Removed> {
        let is_wanted =
            |removed: &Removed| removed.dest.is(id) && removed.dest.vip.may_return_to(vip);
        let hash = self.hash_of(vip, id);
        self.heap.removed.lock().take(hash, is_wanted)
    }

    /// What the dests that have left the service with that tally have counted for it.
    pub(crate) fn counted(&self, tally: &Arc<Tally>) -> Counts {
        // A dest is forgotten under the lock: it counts once.
        let removed = self.heap.removed.lock();
        if !tally.has_discarded() {
            return tally.gone();
        }
        removed
            .stacks
            .iter()
            .flat_map(Stack::iter)
            .filter(|removed| Arc::ptr_eq(&removed.tally, tally))
            .fold(tally.gone(), |sum, removed| {
                sum.plus(removed.dest.counted())
            })
    }

    /// A hash that is the same for all dests called `id` that may come back to `vip`.
    fn hash_of(&self, vip: &ServiceId, id: &DestId) -> u32 {
        let word = |words: [u32; 4]| self.key.hash4(words);
        let service = match vip.fwmark {
            0 => word(vip.addr.words()) ^ u32::from(vip.port.be16()),
            fwmark => fwmark,
        };
        let dest = word(id.addr.words());
        word([service, dest, id.port.be16().into(), vip.protocol.into()])
    }
}
