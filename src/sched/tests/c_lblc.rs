// SPDX-License-Identifier: GPL-2.0

//! Random histories in which lblc and lblcr must make the same choices as a model of the C version.

mod model;

use super::*;
use crate::{
    addr::Addr,
    sched::locality::cache::DEFAULT_EXPIRATION,
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
use model::{
    Table,
    MAX_SIZE,
    MINUTE, //
};

/// A service and a model of the C version with the same dests.
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

    /// Sets the sysctl.
    fn expire_after(&mut self, time: i32) {
        self.expiration = time;
        set_setting(time);
    }

    fn have_memory(&mut self, has_memory: bool) {
        self.has_memory = has_memory;
        lack_memory(!has_memory);
    }

    /// The dest of a conn to the address, which must be that of the model.
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

    /// Opens a conn to the address, which stays active.
    fn conn(&mut self, addr: u32) -> Option<usize> {
        let index = self.choose(addr)?;
        let dest = &self.service.dests[index];
        dest.set(&dest.active, dest.active.get() + 1);
        Some(index)
    }

    /// Advances the time by minutes and runs the timers.
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

/// A random event in a service of about `size` dests.
fn step(pair: &mut Pair, size: usize, removed: &mut Vec<Dest>, random: &mut Random) {
    let len = pair.service.dests.len();
    let index = random.below(len.max(1) as u64) as usize;
    let dest = pair.service.dests.get(index).cloned();
    match (random.below(100), dest) {
        (0..=2, Some(_)) if random.below(2 * size as u64) < len as u64 => {
            removed.push(pair.service.remove(index));
        }
        (3..=5, _) | (_, None) if random.below(2 * size as u64) >= len as u64 => {
            // Old entries may refer to a dest that is added again.
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
        // The conns of a dest in the trash end.
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

/// An address keeps its dest, whatever changes for other dests.
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

/// An address moves to another dest if its dest has weight 0 or is removed. It moves back to a dest
/// that is added again, unless it has moved meanwhile.
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

/// A dest with more active conns than its weight keeps its address until another dest has active
/// conns for less than half its weight.
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
        // The set of lblcr has both dests now. The one with fewer conns is chosen.
        second.set(&second.active, 3);
        let first = pair.service.dests[0].clone();
        first.set(&first.active, 2);
        let want = if kind == Kind::Lblc { 1 } else { 0 };
        assert_eq!(pair.conn(1), Some(want));
    }
}

/// If a set does not change for the time of the sysctl, its most loaded dest is removed.
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
    // The second dest is removed.
    assert_eq!(pair.choose(1), Some(0));
    second.set(&second.active, 2);
    assert_eq!(pair.choose(1), Some(0));
}

/// The number of entries has C's limit. Entries unused for 6 minutes are removed early.
#[test]
fn the_cache_is_bounded() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let mut pair = Pair::new(kind, dests(&[i32::MAX, i32::MAX]));
        for addr in 0..30_000 {
            pair.choose(addr);
        }
        assert_eq!(pair.len(), MAX_SIZE * 3 / 2);
        // For an address without an entry each choice is new. An address with an entry may move.
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

/// Without memory the choice is the same, but no entry is added.
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

/// Two CPUs choose two dests for an address without an entry. The second one finds the first one's
/// entry.
#[test]
fn two_cpus_remember_an_address() {
    for kind in [Kind::Lblc, Kind::Lblcr] {
        let pair = Pair::new(kind, dests(&[1, 1]));
        for dest in &pair.service.dests {
            let (now, guard) = (jiffies(), read_lock());
            match &pair.service.state {
                AnyScheduler::Lblc(state) => state.cache().update(&FLOW, now, dest, &guard),
                AnyScheduler::Lblcr(state) => state.cache().update(&FLOW, now, dest, &guard),
                _ => unreachable!(),
            }
        }
        assert_eq!(pair.len(), 1);
    }
}
