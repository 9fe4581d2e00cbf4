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
        if self.dest.is_in_use() {
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
        self.tally.add_gone(self.dest.counted());
    }
}

/// A stack of removed dests, the last one first.
struct Stack(Option<KBox<Node>>);

struct Node {
    removed: Removed,
    below: Option<KBox<Node>>,
}

impl Stack {
    fn is_empty(&self) -> bool {
        self.0.is_none()
    }

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

#[pin_data]
struct Heap {
    #[pin]
    removed: Mutex<Stack>,
}

impl Work for Heap {
    fn run(&self) -> Option<usize> {
        let now = jiffies();
        let mut removed = self.removed.lock();
        removed.retain(|removed| {
            let over = removed.is_over(now);
            if over {
                removed.forget();
            }
            !over
        });
        (!removed.is_empty()).then_some(PERIOD / 2)
    }
}

/// The removed dests of a namespace.
#[pin_data]
pub(crate) struct Trash {
    #[pin]
    heap: Delayed<Heap>,
}

impl Trash {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            heap <- Delayed::new(pin_init::pin_init!(Heap {
                removed <- new_mutex!(Stack(None)),
            })),
        })
    }

    /// Takes in a dest.
    pub(crate) fn put(&self, dest: RcuArc<Dest>, tally: Arc<Tally>) {
        let counted = dest.counted();
        let node = KBox::new(
            Node {
                removed: Removed {
                    dest,
                    tally: tally.clone(),
                    idle_start: 0,
                },
                below: None,
            },
            GFP_KERNEL,
        );
        let Ok(node) = node else {
            tally.add_gone(counted);
            return;
        };
        let mut removed = self.heap.removed.lock();
        if removed.is_empty() {
            self.heap.schedule(PERIOD / 2);
        }
        removed.push(node);
    }

    /// Gives back the dest called `id` of a service called `vip`.
    pub(crate) fn take(&self, vip: &ServiceId, id: &DestId) -> Option<Removed> {
        let is_wanted =
            |removed: &Removed| removed.dest.is(id) && removed.dest.vip.may_return_to(vip);
        self.heap.removed.lock().take(is_wanted)
    }

    /// What the dests that have left the service with that tally have counted for it.
    pub(crate) fn counted(&self, tally: &Arc<Tally>) -> Counts {
        let removed = self.heap.removed.lock();
        let of_service = removed
            .iter()
            .filter(|removed| Arc::ptr_eq(&removed.tally, tally));
        of_service.fold(Counts::default(), |sum, removed| {
            sum.plus(removed.dest.counted())
        })
    }
}
