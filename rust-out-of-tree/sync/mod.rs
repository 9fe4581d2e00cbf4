// SPDX-License-Identifier: GPL-2.0

//! Sharing between CPUs: RCU-protected objects, cells and tables, timers, per-CPU counters.

pub(crate) mod bh;
pub(crate) mod head_list;
pub(crate) mod once;
pub(crate) mod percpu;
pub(crate) mod rcu_arc;
pub(crate) mod rcu_arc_cell;
pub(crate) mod rcu_cell;
pub(crate) mod rcu_hash;
pub(crate) mod timed;

pub(crate) use self::{
    head_list::HeadList,
    once::Once,
    percpu::PerCpuCounters,
    rcu_arc::{
        Object,
        RcuArc,
        RcuRef, //
    },
    rcu_arc_cell::RcuArcCell,
    rcu_cell::{RcuBox, RcuCell},
    rcu_hash::{
        Cursor,
        Linked,
        RcuHash, //
    },
    timed::{
        Expire,
        Timed, //
    }, //
};
