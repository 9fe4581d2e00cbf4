// SPDX-License-Identifier: GPL-2.0

//! C's lblc and lblcr in small, and random histories in which ours must choose as these do.

use super::{
    cache::DEFAULT_EXPIRATION,
    tests::*,
    AnyScheduler,
    Candidate,
    Flow,
    Kind, //
};
use crate::{
    addr::Addr,
    hash::hash_32,
    shim::{
        jiffies,
        lack_memory,
        read_lock,
        set_jiffies,
        set_setting,
        Tick,
        HZ, //
    },
};
use std::rc::Rc;

const MINUTE: usize = 60 * HZ;
const MAX_SIZE: usize = 16 * 1024;

/// `struct ip_vs_lblcr_entry`, and lblc's, whose set is of one.
struct Entry {
    addr: u32,
    last_use: usize,
    /// Newest first.
    set: Vec<Dest>,
    last_mod: usize,
}

/// `struct ip_vs_lblc_table`, and lblcr's.
struct Table {
    kind: Kind,
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
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            buckets: (0..1024).map(|_| Vec::new()).collect(),
            rover: 0,
            counter: 1,
        }
    }

    fn len(&self) -> usize {
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

    /// `ip_vs_lblc_new()`, `ip_vs_lblcr_new()` where nothing is known of the address.
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

    fn schedule(&mut self, addr: u32, dests: &[Dest], time: i32, memory: bool) -> Option<usize> {
        match self.kind {
            Kind::Lblc => self.lblc(addr, dests, memory),
            _ => self.lblcr(addr, dests, time, memory),
        }
    }

    /// `ip_vs_lblc_check_expire()`.
    fn check_expire(&mut self, expiration: i32) {
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

/// A service and C's, whose dests are the same.
struct Pair {
    service: Service,
    model: Table,
    expiration: i32,
    has_memory: bool,
}

impl Pair {
    fn new(kind: Kind, dests: Vec<Dest>) -> Self {
        set_jiffies(usize::MAX - 1000);
        set_setting(DEFAULT_EXPIRATION);
        lack_memory(false);
        Self {
            service: Service::new(kind, dests),
            model: Table::new(kind),
            expiration: DEFAULT_EXPIRATION,
            has_memory: true,
        }
    }

    /// The sysctl is set.
    fn expire_after(&mut self, time: i32) {
        self.expiration = time;
        set_setting(time);
    }

    fn have_memory(&mut self, has_memory: bool) {
        self.has_memory = has_memory;
        lack_memory(!has_memory);
    }

    /// The dest that a conn to the address goes to, in agreement.
    fn choose(&mut self, addr: u32) -> Option<usize> {
        let daddr = Addr::from_v4(addr.to_be_bytes());
        let flow = Flow {
            vaddr: &daddr,
            ..FLOW
        };
        let dests = &self.service.dests;
        let ours = self.service.state.schedule(dests, &flow);
        let model = &mut self.model;
        let want = model.schedule(addr, dests, self.expiration, self.has_memory);
        assert_eq!(ours, want, "{:?}, to {addr:x}", self.model.kind);
        ours
    }

    /// A conn to the address, which stays active.
    fn conn(&mut self, addr: u32) -> Option<usize> {
        let index = self.choose(addr)?;
        let dest = &self.service.dests[index];
        dest.set(&dest.active, dest.active.get() + 1);
        Some(index)
    }

    /// Minutes go by, and the timers fire.
    fn minutes(&mut self, minutes: usize) {
        for _ in 0..minutes {
            set_jiffies(jiffies().wrapping_add(MINUTE));
            self.model.check_expire(self.expiration);
            match &self.service.state {
                AnyScheduler::Lblc(state) => state.cache().tick(&read_lock()),
                AnyScheduler::Lblcr(state) => state.cache().tick(&read_lock()),
                _ => unreachable!(),
            }
            assert_eq!(self.len(), self.model.len());
        }
    }

    fn len(&self) -> usize {
        match &self.service.state {
            AnyScheduler::Lblc(state) => state.cache().len(),
            AnyScheduler::Lblcr(state) => state.cache().len(),
            _ => unreachable!(),
        }
    }
}

fn weight(random: &mut Random) -> i32 {
    match random.below(12) {
        0 => 0,
        1 => i32::MAX - random.below(2) as i32,
        2 => random.below(1 << 31) as i32,
        3..=6 => 1,
        _ => random.below(12) as i32,
    }
}

/// One thing that happens to a service of about `size` dests.
fn step(pair: &mut Pair, size: usize, removed: &mut Vec<Dest>, random: &mut Random) {
    let len = pair.service.dests.len();
    let index = random.below(len.max(1) as u64) as usize;
    let dest = pair.service.dests.get(index).cloned();
    match (random.below(100), dest) {
        (0..=2, Some(_)) if random.below(2 * size as u64) < len as u64 => {
            removed.push(pair.service.remove(index));
        }
        (3..=5, _) | (_, None) if random.below(2 * size as u64) >= len as u64 => {
            // One that comes back is known to the entries of before.
            let any = random.below(removed.len().max(1) as u64) as usize;
            let is_back = !removed.is_empty() && random.below(2) == 0;
            let dest = match is_back {
                true => removed.swap_remove(any),
                false => Dest::new(0, 1),
            };
            dest.set(&dest.weight, weight(random));
            pair.service.add(dest);
        }
        (6..=9, Some(_)) => pair.service.weigh(index, weight(random)),
        (10..=13, Some(dest)) => dest.set(&dest.overloaded, random.below(3) == 0),
        (14..=30, Some(dest)) => {
            let ended = random.below(dest.active.get() as u64 + 1) as i32;
            dest.set(&dest.active, dest.active.get() - ended);
            dest.set(&dest.inactive, dest.inactive.get() + ended);
        }
        (31..=36, Some(dest)) => dest.set(&dest.inactive, 0),
        // Conns of a dest in the trash end, too.
        (37, _) => {
            if let Some(dest) = removed.last() {
                dest.set(&dest.active, 0);
            }
        }
        (38..=39, _) => pair.minutes(random.below(20) as usize),
        (40, _) => pair.expire_after(match random.below(4) {
            0 => -1,
            1 => 0,
            _ => random.below(40 * MINUTE as u64) as i32,
        }),
        (41, _) => pair.have_memory(random.below(3) > 0),
        (42..=45, _) => set_jiffies(jiffies().wrapping_add(random.below(1000) as usize)),
        _ => {
            let addr = match random.below(8) {
                0 => random.below(1 << 31),
                _ => random.below(3 * size as u64 + 2),
            };
            pair.conn(addr as u32);
        }
    }
}

#[test]
fn choose_as_c() {
    for (kind, seed) in [(Kind::Lblc, 1), (Kind::Lblcr, 2)] {
        for (size, steps) in [
            (1, 5_000),
            (2, 20_000),
            (7, 40_000),
            (50, 40_000),
            (500, 10_000),
        ] {
            let mut random = Random(seed);
            let dests = (0..size).map(|_| Dest::new(0, weight(&mut random)));
            let mut pair = Pair::new(kind, dests.collect());
            let mut removed = Vec::new();
            for _ in 0..steps {
                step(&mut pair, size, &mut removed, &mut random);
            }
            assert_eq!(pair.len(), pair.model.len());
        }
    }
}

/// An address stays with its dest, whatever happens to others.
#[test]
fn an_address_stays() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let mut pair = Pair::new(kind, dests(&[100, 100, 100]));
        assert_eq!(pair.conn(1), Some(0));
        assert_eq!(pair.conn(2), Some(1));
        assert_eq!(
            [pair.conn(1), pair.conn(1), pair.conn(2)],
            [Some(0), Some(0), Some(1)]
        );
        pair.service.add(Dest::new(9, 100));
        pair.service.weigh(3, 7);
        assert_eq!([pair.conn(1), pair.conn(2)], [Some(1), Some(2)]);
        pair.service.remove(3);
        assert_eq!([pair.conn(1), pair.conn(2)], [Some(1), Some(2)]);
    }
}

/// It goes to another one if its own is without weight or gone, and comes back to one that is back
/// unless it went elsewhere meanwhile.
#[test]
fn an_address_moves() {
    let mut pair = Pair::new(Kind::Lblc, dests(&[100, 100]));
    assert_eq!([pair.choose(1), pair.choose(2)], [Some(0), Some(0)]);
    pair.service.weigh(0, 0);
    assert_eq!(pair.choose(1), Some(1));
    pair.service.weigh(0, 100);
    assert_eq!([pair.choose(1), pair.choose(2)], [Some(1), Some(0)]);
    let gone = pair.service.remove(0);
    pair.service.add(Dest::new(7, 100));
    pair.service.add(gone);
    assert_eq!([pair.choose(1), pair.choose(2)], [Some(2), Some(0)]);
}

/// A dest with more active conns than its weight keeps its address until any has less than half.
#[test]
fn too_busy() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let mut pair = Pair::new(kind, dests(&[4, 4]));
        let second = pair.service.dests[1].clone();
        second.set(&second.active, 2);
        for _ in 0..9 {
            assert_eq!(pair.conn(1), Some(0));
        }
        second.set(&second.active, 1);
        assert_eq!(pair.conn(1), Some(1));
        // lblcr's set has both now, and takes the one with less.
        second.set(&second.active, 3);
        let first = pair.service.dests[0].clone();
        first.set(&first.active, 2);
        let want = if kind == Kind::Lblc { 1 } else { 0 };
        assert_eq!(pair.conn(1), Some(want));
    }
}

/// A set that does not change for the time of the sysctl loses its most loaded dest.
#[test]
fn sets_shrink() {
    let mut pair = Pair::new(Kind::Lblcr, dests(&[4, 4]));
    let [first, second] = &pair.service.dests.clone()[..] else {
        unreachable!()
    };
    pair.expire_after(10 * HZ as i32);
    pair.choose(1);
    first.set(&first.active, 5);
    assert_eq!(pair.choose(1), Some(1));
    second.set(&second.active, 4);
    first.set(&first.active, 3);
    assert_eq!(pair.choose(1), Some(0));
    set_jiffies(jiffies().wrapping_add(10 * HZ + 1));
    // The second dest goes.
    assert_eq!(pair.choose(1), Some(0));
    second.set(&second.active, 2);
    assert_eq!(pair.choose(1), Some(0));
}

/// There are never more entries than C has; those go early that nobody used for 6 minutes.
#[test]
fn the_cache_is_bounded() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let mut pair = Pair::new(kind, dests(&[i32::MAX, i32::MAX]));
        for addr in 0..30_000 {
            pair.choose(addr);
        }
        assert_eq!(pair.len(), MAX_SIZE * 3 / 2);
        // What was forgotten at once is chosen for anew; what is known may still move.
        pair.conn(29_999);
        pair.choose(29_999);
        pair.service.weigh(0, 0);
        pair.choose(1);
        assert_eq!(pair.len(), MAX_SIZE * 3 / 2);
        pair.minutes(5);
        assert_eq!(pair.len(), MAX_SIZE * 3 / 2);
        pair.minutes(2);
        assert!(pair.len() <= MAX_SIZE);
        for addr in (0..30_000).step_by(7) {
            pair.choose(addr);
        }
        pair.expire_after(10 * MINUTE as i32);
        pair.minutes(60);
        assert_eq!(pair.len(), 0);
    }
}

/// Without memory the choice is the same, and is forgotten.
#[test]
fn without_memory() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let mut pair = Pair::new(kind, dests(&[1, 1]));
        pair.have_memory(false);
        assert_eq!(
            [pair.conn(1), pair.conn(1), pair.conn(1)],
            [Some(0), Some(1), Some(0)]
        );
        assert_eq!(pair.len(), 0);
        pair.have_memory(true);
        assert_eq!([pair.conn(1), pair.conn(1)], [Some(1), Some(1)]);
    }
}
