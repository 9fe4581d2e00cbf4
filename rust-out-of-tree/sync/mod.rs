// SPDX-License-Identifier: GPL-2.0

//! Synchronisation: RCU-protected objects, cells, lists and hash tables, timers, per-CPU counters.

pub(crate) mod bh;
pub(crate) mod head_list;
pub(crate) mod once;
pub(crate) mod percpu;
pub(crate) mod periodic;
pub(crate) mod rcu;
pub(crate) mod rcu_arc;
pub(crate) mod rcu_arc_cell;
pub(crate) mod rcu_cell;
mod rcu_dereference;
pub(crate) mod rcu_hash;
mod rcu_head;
pub(crate) mod rcu_list;
pub(crate) mod timer;

pub(in crate::oot) use rcu_dereference::rcu_dereference;
pub(in crate::oot) use rcu_head::wait_for_callbacks;

pub(crate) use self::{
    head_list::{Draft, HeadList},
    once::Once,
    percpu::PerCpuCounters,
    periodic::{Periodic, Tick},
    rcu_arc::{
        Object,
        RcuArc,
        RcuArcCache,
        RcuRef, //
    },
    rcu_arc_cell::RcuArcCell,
    rcu_cell::{RcuBox, RcuCell},
    rcu_hash::{
        impl_has_hash_links,
        ChainLengths,
        HashCursor,
        HashLinks,
        RcuHash, //
    },
    rcu_list::{
        RcuList,
        RcuListItem, //
    },
    timer::{
        impl_has_timer,
        Timer,
        TimerCallback, //
    }, //
};
