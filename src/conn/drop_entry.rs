// SPDX-License-Identifier: GPL-2.0

//! The defense `drop_entry`: drops conns of floods before memory runs out.
//!
//! C version: `ip_vs_random_dropentry()` [net/netfilter/ipvs/ip_vs_conn.c].

use super::{
    now,
    table::ConnTable,
    todrop::IdleDrops,
    Conn,
    ConnRef, //
};
use crate::{
    dest::Dest,
    proto::Dropped,
    shim::{
        random_u64,
        HZ, //
    }, //
};
use core::cell::Cell;
use kernel::sync::rcu;

/// The binary logarithm of the number of calls after which each conn was checked about once. With
/// one call per second, this takes 32 seconds.
const PARTS_BITS: u32 = 5;

/// The binary logarithm of the number of steps of a call.
const STEPS_BITS: u32 = 6;

/// After a step, a call waits for a grace period if it has dropped this number of conns since the
/// last one. RCU frees small numbers of objects a few at a time, but thousands for three
/// milliseconds without interruption.
const BATCH: usize = 2048;

/// A conn with a packet within this time is not idle.
const IDLE: u32 = 60 * HZ as u32;

impl ConnTable {
    /// Drops some of the conns and templates in a random 32nd of the hashes. `is_one_packet`
    /// returns whether the service of a dest schedules each packet separately. Sleeps.
    pub(crate) fn drop_entries(&self, is_one_packet: impl Fn(&Dest, &rcu::Guard) -> bool) {
        let part = u32::MAX.wrapping_shr(PARTS_BITS);
        let step = part.wrapping_shr(STEPS_BITS);
        let begin = random_u64() as u32 & !part;
        let dropped = Cell::new(0_usize);
        for number in 0..1_u32 << STEPS_BITS {
            let first = begin | number.wrapping_mul(step.wrapping_add(1));
            self.for_each_between(first, first | step, |conn, guard| {
                if conn.is_to_drop(&self.idle_drops, guard, &is_one_packet) {
                    Conn::drop_entry(conn, guard);
                    dropped.set(dropped.get().wrapping_add(1));
                }
            });
            if dropped.get() >= BATCH {
                rcu::synchronize_rcu();
                dropped.set(0);
            }
        }
    }
}

impl Conn {
    /// Counts a packet from the client that does not affect the state: an ICMP error or, in a
    /// template, a packet of a one-packet service.
    pub(crate) fn count_packet(&self) {
        self.life.count();
    }

    fn is_to_drop(
        &self,
        idle: &IdleDrops,
        guard: &rcu::Guard,
        is_one_packet: impl Fn(&Dest, &rcu::Guard) -> bool,
    ) -> bool {
        if self.life.is_in_control() {
            return false;
        }
        let dropped = match self.dest(guard) {
            _ if !self.is_template() => self.proto.dropped(self.life.state()),
            Some(dest) if is_one_packet(dest, guard) => Dropped::IfIdle,
            _ if self.is_assured() => Dropped::Never,
            _ => Dropped::Always,
        };
        match dropped {
            Dropped::Never => false,
            Dropped::IfIdle => self.life.is_idle_for(now(), IDLE) && idle.take(self.life.packets()),
            Dropped::Always => true,
        }
    }

    /// Kills a conn, and the one that controlled it and no other, unless that is an assured
    /// template (C: in `ip_vs_conn_expire()`).
    fn drop_entry(this: ConnRef<'_>, guard: &rcu::Guard) {
        if !Self::kill(this, guard) {
            return;
        }
        let Some(control) = this.get().control.as_ref() else {
            return;
        };
        if !control.is_assured() && !control.life.is_in_control() {
            Self::kill(control.as_rcu(), guard);
        }
    }
}
