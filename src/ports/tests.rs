// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::{
    cell::{
        Cell,
        RefCell, //
    },
    collections::HashMap,
};

fn all(range: RangeInclusive<u16>, without: RangeInclusive<u16>) -> Vec<u16> {
    let ports = Ports::new(range, without);
    let listed: Vec<_> = (0..ports.len).map(|index| ports.at(index)).collect();
    // The blocks have the same ports.
    let of_block = |block: u32| {
        let bits = ports.in_block(block);
        (0..64)
            .filter(move |bit| bits >> bit & 1 != 0)
            .map(move |bit| (block * 64 + bit) as u16)
    };
    assert_eq!(listed, (0..1024).flat_map(of_block).collect::<Vec<_>>());
    listed
}

#[test]
fn ranges() {
    assert_eq!(all(5..=9, 0..=0), [5, 6, 7, 8, 9]);
    assert_eq!(all(5..=9, 6..=7), [5, 8, 9]);
    assert_eq!(all(5..=9, 1..=6), [7, 8, 9]);
    assert_eq!(all(5..=9, 9..=20), [5, 6, 7, 8]);
    assert_eq!(all(5..=9, 1..=4), [5, 6, 7, 8, 9]);
    assert_eq!(all(5..=9, 10..=12), [5, 6, 7, 8, 9]);
    assert_eq!(all(5..=9, 0..=65535), []);
    assert_eq!(all(65534..=65535, 0..=0), [65534, 65535]);
    let (low, high) = (9, 5);
    assert_eq!(all(low..=high, 0..=0), []);
    assert_eq!(all(5..=7, low..=high), [5, 6, 7]);
    assert_eq!(all(1..=65535, 32768..=60999).len(), 65535 - 28232);
    assert_eq!(all(0..=65535, 0..=0).len(), 65535);
    assert_eq!(all(63..=64, 0..=0), [63, 64]);
}

/// The conns of some dests and local addresses.
#[derive(Default)]
struct Model {
    ends: RefCell<HashMap<(u32, u32, u16), Option<Bit>>>,
    lookups: Cell<u32>,
    hash: Cell<u32>,
}

impl Model {
    fn is_free(&self, dest: u32, addr: u32, port: u16) -> bool {
        self.lookups.set(self.lookups.get() + 1);
        !self.ends.borrow().contains_key(&(dest, addr, port))
    }

    /// Adds a conn to a dest. Returns its local end.
    fn add<R: Fn(u32) -> u64>(
        &self,
        ends: &Ends<'_, R>,
        used: Option<&Used>,
        dest: u32,
    ) -> Option<(u32, u16)> {
        self.hash.set(self.hash.get().wrapping_add(1));
        let hash = self.hash.get().wrapping_mul(0x9e37_79b1);
        let hash_of = |addr: u32| (dest * 31 + addr + 1).wrapping_mul(0x85eb_ca6b) >> 7;
        let choice = ends.choose(used, hash, hash_of, |addr, port| {
            self.is_free(dest, addr, port)
        })?;
        let key = (dest, choice.addr, choice.port);
        assert_eq!(self.ends.borrow_mut().insert(key, choice.bit), None);
        Some((choice.addr, choice.port))
    }

    fn remove(&self, used: &Used, key: (u32, u32, u16)) {
        if let Some(bit) = self.ends.borrow_mut().remove(&key).unwrap() {
            used.clear(bit);
        }
    }
}

fn nothing(_block: u32) -> u64 {
    0
}

#[test]
fn an_end_is_found_at_once_until_nearly_all_are_used() {
    let (used, model) = (Used::new().unwrap(), Model::default());
    let ports = Ports::new(1024..=9215, 4000..=5999);
    let ends = Ends {
        ports: &ports,
        addrs: 2,
        reserved: nothing,
    };
    let len = ends.len();
    for _ in 0..len / 10 * 9 {
        let (addr, port) = model.add(&ends, Some(&used), 1).unwrap();
        assert!(addr < 2 && (1024..9216).contains(&port) && !(4000..6000).contains(&port));
    }
    // Each was looked up once, but for the few without a bit.
    assert!(model.lookups.get() < len);
    let mut number = len / 10 * 9;
    while model.add(&ends, Some(&used), 1).is_some() {
        number += 1;
    }
    assert!(number > len / 1000 * 999, "{number} of {len}");
    // Other dests are not affected.
    assert!(model.add(&ends, Some(&used), 2).is_some());
}

#[test]
fn an_end_may_be_used_again() {
    let (used, model) = (Used::new().unwrap(), Model::default());
    let ports = Ports::all(2001..=2004);
    let ends = Ends {
        ports: &ports,
        addrs: 1,
        reserved: nothing,
    };
    for _ in 0..4 {
        assert!(model.add(&ends, Some(&used), 1).is_some());
    }
    for port in [2003, 2001, 2003] {
        assert_eq!(model.add(&ends, Some(&used), 1), None);
        model.remove(&used, (1, 0, port));
        assert_eq!(model.add(&ends, Some(&used), 1), Some((0, port)));
    }
    for port in 2001..=2004 {
        model.remove(&used, (1, 0, port));
    }
    assert!(used.0.iter().all(|word| word.get() == 0));
}

#[test]
fn words_that_dests_share_do_not_limit_them() {
    let (used, model) = (Used::new().unwrap(), Model::default());
    let ports = Ports::all(2000..=2099);
    let ends = Ends {
        ports: &ports,
        addrs: 1,
        reserved: nothing,
    };
    for word in used.0.iter() {
        word.set(0x5555_5555_5555_5555);
    }
    for dest in [1, 2] {
        for _ in 0..100 {
            assert!(model.add(&ends, Some(&used), dest).is_some());
        }
        assert_eq!(model.add(&ends, Some(&used), dest), None);
    }
    // A conn without a bit leaves the other's bit alone.
    for (dest, port) in [(1, 2000), (1, 2001), (2, 2000), (2, 2001)] {
        model.remove(&used, (dest, 0, port));
    }
    assert!(used
        .0
        .iter()
        .all(|word| word.get() & 0x5555_5555_5555_5555 == 0x5555_5555_5555_5555));
}

#[test]
fn reserved_ports_are_not_used() {
    let model = Model::default();
    let used = Used::new().unwrap();
    let ports = Ports::all(6400..=6463);
    let ends = Ends {
        ports: &ports,
        addrs: 1,
        reserved: |block| match block {
            100 => !0b101,
            _ => u64::MAX,
        },
    };
    for used in [Some(&used), None] {
        let mut found: Vec<_> = (0..3).filter_map(|_| model.add(&ends, used, 1)).collect();
        found.sort_unstable();
        assert_eq!(found, [(0, 6400), (0, 6402)]);
        model.ends.borrow_mut().clear();
    }
}

#[test]
fn conns_without_bits_do_not_prolong_a_search() {
    let (used, model) = (Used::new().unwrap(), Model::default());
    let ports = Ports::all(1024..=65535);
    let ends = Ends {
        ports: &ports,
        addrs: 1,
        reserved: nothing,
    };
    for port in 1024..=65535 {
        model.ends.borrow_mut().insert((1, 0, port), None);
    }
    for _ in 0..100 {
        model.lookups.set(0);
        assert_eq!(model.add(&ends, Some(&used), 1), None);
        assert!(model.lookups.get() <= MAX_LOOKUPS + 1 + MAX_ENDS);
    }
    assert!(used.0.iter().all(|word| word.get() == 0));
}

#[test]
fn without_words() {
    let model = Model::default();
    let ports = Ports::all(1..=60);
    let ends = Ends {
        ports: &ports,
        addrs: 2,
        reserved: nothing,
    };
    for _ in 0..120 {
        assert!(model.add(&ends, None, 1).is_some());
    }
    assert_eq!(model.add(&ends, None, 1), None);
    assert!(model.lookups.get() < 120 * 120);
}

#[test]
fn without_ports() {
    let (used, model) = (Used::new().unwrap(), Model::default());
    let (none, some) = (Ports::new(5..=9, 0..=65535), Ports::all(5..=9));
    for (ports, addrs) in [(&none, 1), (&some, 0)] {
        let ends = Ends {
            ports,
            addrs,
            reserved: nothing,
        };
        assert_eq!(model.add(&ends, Some(&used), 1), None);
    }
}

#[test]
fn orders() {
    let few = Ports::new(10..=19, 12..=14);
    let ends = |ports, addrs| Ends {
        ports,
        addrs,
        reserved: nothing,
    };
    let mut tried: Vec<_> = ends(&few, 1).order(0xdead_beef).collect();
    tried.sort_unstable();
    assert_eq!(tried, [10, 11, 15, 16, 17, 18, 19].map(|port| (0, port)));
    assert_eq!(ends(&few, 3).order(5).count(), 21);
    let many = Ports::new(1024..=65535, 32768..=60999);
    for hash in [0, 1, 0xffff_ffff, 0x1234_5678] {
        let mut tried: Vec<_> = ends(&many, 4096).order(hash).collect();
        assert_eq!(tried.len(), MAX_ENDS as usize);
        tried.sort_unstable();
        tried.dedup();
        // A step may divide the number of ends, but not often.
        assert!(tried.len() > 64, "{hash:x}");
        assert!(tried
            .iter()
            .all(|(addr, port)| *addr < 4096 && !(32768..=60999).contains(port)));
    }
}
