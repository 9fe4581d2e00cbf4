// SPDX-License-Identifier: GPL-2.0

//! The loops of C over the list, and random histories in which the schedulers with an order must
//! make the same choices.

use super::*;

/// `ip_vs_dest_conn_overhead()`.
fn overhead(dest: &Dest) -> i32 {
    (dest.active_conns() << 8) + dest.total_conns()
}

/// `ip_vs_sed_dest_overhead()` and `ip_vs_nq_dest_overhead()`.
fn expected(dest: &Dest) -> i32 {
    dest.active_conns() + 1
}

/// C's `(__s64)loh * dest->weight > (__s64)doh * least->weight`.
fn is_below(dest: &Dest, least: &Dest, cost: fn(&Dest) -> i32) -> bool {
    let times = |cost: i32, weight: i32| i64::from(cost) * i64::from(weight);
    times(cost(least), dest.weight()) > times(cost(dest), least.weight())
}

fn lc(dests: &[Dest]) -> Option<usize> {
    let mut least: Option<usize> = None;
    for (index, dest) in dests.iter().enumerate() {
        if dest.is_overloaded() || dest.weight() == 0 {
            continue;
        }
        if least.is_none_or(|least| overhead(dest) < overhead(&dests[least])) {
            least = Some(index);
        }
    }
    least
}

/// wlc and sed.
fn weighted(dests: &[Dest], cost: fn(&Dest) -> i32) -> Option<usize> {
    let is_first = |dest: &Dest| !dest.is_overloaded() && dest.weight() > 0;
    let mut least = dests.iter().position(is_first)?;
    for index in least + 1..dests.len() {
        let dest = &dests[index];
        // As in C, the comparison handles a weight of 0.
        if !dest.is_overloaded() && is_below(dest, &dests[least], cost) {
            least = index;
        }
    }
    Some(least)
}

fn nq(dests: &[Dest]) -> Option<usize> {
    let mut least: Option<usize> = None;
    for (index, dest) in dests.iter().enumerate() {
        if dest.is_overloaded() || dest.weight() == 0 {
            continue;
        }
        if dest.active_conns() == 0 {
            return Some(index);
        }
        if least.is_none_or(|least| is_below(dest, &dests[least], expected)) {
            least = Some(index);
        }
    }
    least
}

fn fo(dests: &[Dest]) -> Option<usize> {
    let mut highest = None;
    let mut weight = 0;
    for (index, dest) in dests.iter().enumerate() {
        if !dest.is_overloaded() && dest.weight() > weight {
            highest = Some(index);
            weight = dest.weight();
        }
    }
    highest
}

fn ovf(dests: &[Dest]) -> Option<usize> {
    let mut highest = None;
    let mut weight = 0;
    for (index, dest) in dests.iter().enumerate() {
        let w = dest.weight();
        if dest.is_overloaded() || dest.active_conns() > w || w == 0 {
            continue;
        }
        if highest.is_none() || w > weight {
            highest = Some(index);
            weight = w;
        }
    }
    highest
}

fn choice(kind: Kind, dests: &[Dest]) -> Option<usize> {
    match kind {
        Kind::Lc => lc(dests),
        Kind::Wlc => weighted(dests, overhead),
        Kind::Sed => weighted(dests, expected),
        Kind::Nq => nq(dests),
        Kind::Fo => fo(dests),
        Kind::Ovf => ovf(dests),
        _ => unreachable!("{kind:?} does not walk the list"),
    }
}

fn weight(random: &mut Random) -> i32 {
    match random.below(12) {
        0 => 0,
        1 => 65_535,
        2 => i32::MAX - random.below(2) as i32,
        3 => random.below(1 << 31) as i32,
        4..=7 => 1,
        _ => random.below(6) as i32,
    }
}

/// A random event in a service of about `size` dests.
fn step(service: &mut Service, size: usize, removed: &mut Vec<Dest>, random: &mut Random) {
    let len = service.dests.len();
    let index = random.below(len.max(1) as u64) as usize;
    let dest = service.dests.get(index);
    match (random.below(100), dest) {
        // The number of dests stays around `size`.
        (0..=3, Some(_)) if random.below(2 * size as u64) < len as u64 => {
            removed.push(service.remove(index));
        }
        (4..=7, _) | (_, None) if random.below(2 * size as u64) >= len as u64 => {
            // A dest that is added again still has its conns.
            let back = removed.pop().filter(|_| random.below(2) == 0);
            let dest = back.unwrap_or_else(|| Dest::new(0, 1));
            dest.set(&dest.weight, weight(random));
            service.add(dest);
        }
        (8..=11, Some(_)) => service.weigh(index, weight(random)),
        (12..=14, Some(dest)) => dest.set(&dest.overloaded, random.below(3) == 0),
        // Many conns at once.
        (15, Some(dest)) => dest.set(&dest.active, random.below(1 << 22) as i32),
        (16, Some(dest)) => dest.set(&dest.inactive, random.below(1 << 22) as i32),
        (17..=30, Some(dest)) if dest.active.get() > 0 => {
            dest.set(&dest.active, dest.active.get() - 1);
            dest.set(&dest.inactive, dest.inactive.get() + 1);
        }
        (31..=45, Some(dest)) if dest.inactive.get() > 0 => {
            dest.set(&dest.inactive, dest.inactive.get() - 1);
        }
        // The conns of a dest in the trash end.
        (46, _) => {
            if let Some(dest) = removed.last() {
                dest.set(&dest.active, 0);
            }
        }
        _ => drop(service.fill(1)),
    }
}

#[test]
fn choose_as_c() {
    let kinds = [
        Kind::Lc,
        Kind::Wlc,
        Kind::Sed,
        Kind::Nq,
        Kind::Fo,
        Kind::Ovf,
    ];
    for (kind, seed) in kinds.into_iter().zip(1..) {
        for (size, steps) in [
            (1, 2_000),
            (2, 4_000),
            (7, 10_000),
            (50, 10_000),
            (500, 5_000),
        ] {
            let mut random = Random(seed);
            let dests = (0..size).map(|_| Dest::new(0, weight(&mut random)));
            let mut service = Service::new(kind, dests.collect());
            let mut removed = Vec::new();
            for number in 0..steps {
                step(&mut service, size, &mut removed, &mut random);
                let want = choice(kind, &service.dests);
                assert_eq!(
                    service.schedule(),
                    want,
                    "{kind:?}, {size} dests, step {number}"
                );
            }
        }
    }
}

/// The choice comes from the order, not from the linear scan that replaces it if it is empty.
#[test]
fn the_order_is_used() {
    let service = Service::new(Kind::Wlc, dests(&[1; 100]));
    // The order is not notified.
    service.dests[0].active.set(5);
    assert_eq!(service.schedule(), Some(0));
    service.dests[0].weight.set(0);
    assert_eq!(service.schedule(), Some(1), "may not be taken");
}
