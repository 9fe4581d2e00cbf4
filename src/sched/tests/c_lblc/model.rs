// SPDX-License-Identifier: GPL-2.0

//! A model of the C version of lblc and lblcr.

use crate::{
    hash::hash_32,
    sched::{
        tests::*,
        Candidate,
        Kind, //
    },
    shim::{
        jiffies,
        HZ, //
    },
};
use std::rc::Rc;

pub(super) const MINUTE: usize = 60 * HZ;
pub(super) const MAX_SIZE: usize = 16 * 1024;

/// `struct ip_vs_lblcr_entry`, and `struct ip_vs_lblc_entry` with a set of one dest.
struct Entry {
    addr: u32,
    last_use: usize,
    /// Newest first.
    set: Vec<Dest>,
    last_mod: usize,
}

/// `struct ip_vs_lblc_table` and `struct ip_vs_lblcr_table`.
pub(super) struct Table {
    pub(super) kind: Kind,
    buckets: Vec<Vec<Entry>>,
    rover: usize,
    counter: usize,
}

fn is_same(one: &Dest, other: &Dest) -> bool {
    Rc::ptr_eq(&one.place, &other.place)
}

fn time_after(one: usize, other: usize) -> bool {
    (other.wrapping_sub(one) as isize) < 0
}

fn overhead(dest: &Dest) -> i64 {
    i64::from((dest.active_conns() << 8) + dest.total_conns())
}

/// C's `(__s64)loh * dest->weight > (__s64)doh * least->weight`.
fn is_below(dest: &Dest, least: &Dest) -> bool {
    overhead(least) * i64::from(dest.weight()) > overhead(dest) * i64::from(least.weight())
}

/// `__ip_vs_lblc_schedule()`.
fn least(dests: &[Dest]) -> Option<usize> {
    let is_first = |dest: &Dest| !dest.is_overloaded() && dest.weight() > 0;
    let mut least = dests.iter().position(is_first)?;
    for index in least + 1..dests.len() {
        if !dests[index].is_overloaded() && is_below(&dests[index], &dests[least]) {
            least = index;
        }
    }
    Some(least)
}

/// `is_overloaded()`.
fn is_overloaded(dest: &Dest, dests: &[Dest]) -> bool {
    dest.active_conns() > dest.weight()
        && dests
            .iter()
            .any(|d| i64::from(d.active_conns()) * 2 < i64::from(d.weight()))
}

/// `ip_vs_dest_set_min()`.
fn set_min(set: &[Dest], dests: &[Dest]) -> Option<Dest> {
    let is_available = |dest: &Dest| dests.iter().any(|other| is_same(dest, other));
    let mut least: Option<&Dest> = None;
    for dest in set {
        let is_less = match least {
            None => dest.weight() > 0,
            Some(least) => is_below(dest, least),
        };
        if !dest.is_overloaded() && is_less && is_available(dest) {
            least = Some(dest);
        }
    }
    least.cloned()
}

/// `ip_vs_dest_set_max()`.
fn set_max(set: &[Dest]) -> Option<usize> {
    let mut most = set.iter().position(|dest| dest.weight() > 0)?;
    for index in most + 1..set.len() {
        if is_below(&set[most], &set[index]) && set[index].weight() > 0 {
            most = index;
        }
    }
    Some(most)
}

impl Table {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            buckets: (0..1024).map(|_| Vec::new()).collect(),
            rover: 0,
            counter: 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.buckets.iter().map(Vec::len).sum()
    }

    fn bucket(&mut self, addr: u32) -> &mut Vec<Entry> {
        &mut self.buckets[hash_32(addr, 10) as usize]
    }

    fn get(&mut self, addr: u32) -> Option<&mut Entry> {
        self.bucket(addr)
            .iter_mut()
            .find(|entry| entry.addr == addr)
    }

    /// `ip_vs_lblc_new()` and `ip_vs_lblcr_new()`, for an address without an entry.
    fn add(&mut self, addr: u32, dest: &Dest, has_memory: bool) {
        if self.len() >= MAX_SIZE * 3 / 2 || !has_memory {
            return;
        }
        self.bucket(addr).push(Entry {
            addr,
            last_use: jiffies(),
            set: vec![dest.clone()],
            last_mod: jiffies(),
        });
    }

    /// `ip_vs_lblc_schedule()`.
    fn lblc(&mut self, addr: u32, dests: &[Dest], has_memory: bool) -> Option<usize> {
        if let Some(entry) = self.get(addr) {
            entry.last_use = jiffies();
            let dest = entry.set[0].clone();
            let index = dests.iter().position(|other| is_same(&dest, other));
            if index.is_some() && dest.weight() > 0 && !is_overloaded(&dest, dests) {
                return index;
            }
        }
        let index = least(dests)?;
        match self.get(addr) {
            Some(entry) if is_same(&entry.set[0], &dests[index]) => (),
            _ => {
                self.bucket(addr).retain(|entry| entry.addr != addr);
                self.add(addr, &dests[index], has_memory);
            }
        }
        Some(index)
    }

    /// `ip_vs_lblcr_schedule()`.
    fn lblcr(
        &mut self,
        addr: u32,
        dests: &[Dest],
        expiration: i32,
        has_memory: bool,
    ) -> Option<usize> {
        let Some(entry) = self.get(addr) else {
            let index = least(dests)?;
            self.add(addr, &dests[index], has_memory);
            return Some(index);
        };
        entry.last_use = jiffies();
        let dest = set_min(&entry.set, dests);
        let end = entry.last_mod.wrapping_add(expiration as usize);
        if entry.set.len() > 1 && time_after(jiffies(), end) {
            if let Some(most) = set_max(&entry.set) {
                entry.set.remove(most);
                entry.last_mod = jiffies();
            }
        }
        if let Some(dest) = dest.filter(|dest| !is_overloaded(dest, dests)) {
            return dests.iter().position(|other| is_same(&dest, other));
        }
        let index = least(dests)?;
        if has_memory && !entry.set.iter().any(|dest| is_same(dest, &dests[index])) {
            entry.set.insert(0, dests[index].clone());
            entry.last_mod = jiffies();
        }
        Some(index)
    }

    pub(super) fn schedule(
        &mut self,
        addr: u32,
        dests: &[Dest],
        time: i32,
        memory: bool,
    ) -> Option<usize> {
        match self.kind {
            Kind::Lblc => self.lblc(addr, dests, memory),
            _ => self.lblcr(addr, dests, time, memory),
        }
    }

    /// `ip_vs_lblc_check_expire()`.
    pub(super) fn check_expire(&mut self, expiration: i32) {
        let (time, mut goal) = if self.counter % 30 == 0 {
            self.counter = 1;
            (expiration as usize, usize::MAX)
        } else if self.len() <= MAX_SIZE {
            self.counter += 1;
            return;
        } else {
            let goal = (self.len() - MAX_SIZE) * 4 / 3;
            (6 * MINUTE, goal.min(MAX_SIZE / 2))
        };
        for _ in 0..1024 {
            self.rover = (self.rover + 1) % 1024;
            let bucket = &mut self.buckets[self.rover];
            let before = bucket.len();
            bucket.retain(|entry| time_after(entry.last_use.wrapping_add(time), jiffies()));
            goal = goal.saturating_sub(before - bucket.len());
            if goal == 0 {
                break;
            }
        }
    }
}
