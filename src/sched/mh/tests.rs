// SPDX-License-Identifier: GPL-2.0

//! Tests of Maglev hashing.

use super::super::{
    tests::*,
    Place, //
};
use super::*;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    shim::Share,
    uapi::*, //
};

/// A dest named by a number of any size.
struct Numbered {
    number: u32,
    dest: Dest,
}

impl Candidate for Numbered {
    fn weight(&self) -> i32 {
        self.dest.weight()
    }
    fn last_weight(&self) -> i32 {
        self.dest.last_weight()
    }
    fn is_overloaded(&self) -> bool {
        self.dest.is_overloaded()
    }
    fn active_conns(&self) -> i32 {
        0
    }
    fn total_conns(&self) -> i32 {
        0
    }
    fn addr(&self) -> Addr {
        let [_, b, c, d] = self.number.to_be_bytes();
        Addr::from_v4([10, b, c, d])
    }
    fn port(&self) -> Port {
        Port::new(80)
    }
    fn place(&self) -> &Place {
        self.dest.place()
    }
}

impl Share for Numbered {}

impl Member for Numbered {
    type Kept = Self;
    fn keep(&self) -> Self {
        unreachable!()
    }
}

fn numbered(count: usize, weight: impl Fn(u32) -> i32) -> Vec<Numbered> {
    let dest = |number| Numbered {
        number,
        dest: Dest::new(0, weight(number)),
    };
    (0..count as u32).map(dest).collect()
}

fn setup(size: u32, is_exact: bool) -> Setup {
    Setup {
        mh: Settings::new(size, is_exact).unwrap(),
        ..SETUP
    }
}

fn mh(size: u32, is_exact: bool, dests: &[Numbered]) -> Mh {
    Mh::new(&setup(size, is_exact), dests).unwrap()
}

/// The number of buckets that each dest owns.
fn shares(mh: &Mh, count: usize) -> Vec<u32> {
    let mut shares = vec![0; count];
    for owner in mh.owners.iter() {
        shares[*owner as usize] += 1;
    }
    shares
}

#[test]
fn sizes_and_bits_are_those_of_c() {
    assert_eq!(Settings::new(4093, false), Some(Settings::DEFAULT));
    let bits = |size| Settings::new(size, true).map(|settings| settings.weight_bits);
    assert_eq!((bits(251), bits(131071)), (Some(4), Some(8)));
    assert_eq!((bits(0), bits(4096), bits(65537)), (None, None, None));
}

/// Compares the table of two dests with one computed from their permutations.
#[test]
fn dests_take_turns_in_their_permutations() {
    let dests = numbered(2, |number| [2, 1][number as usize]);
    let mh = mh(251, false, &dests);
    let mut owners = vec![FREE; 251];
    let permutation = |number: u32| {
        let name = 0x0a00_0000 + number + 80;
        let first = hsiphash_1u32(name, KEY_1) % 251;
        let skip = hsiphash_1u32(name, KEY_2) % 250 + 1;
        (0..251).map(move |step| ((first + step * skip) % 251) as usize)
    };
    for owner in [0, 0, 1].into_iter().cycle().take(251) {
        let free = permutation(owner).find(|bucket| owners[*bucket] == FREE);
        owners[free.unwrap()] = owner;
    }
    assert_eq!(mh.owners[..], owners[..]);
}

#[test]
fn equal_weights_own_equal_parts() {
    for (size, count) in [
        (251, 7),
        (4093, 1),
        (4093, 100),
        (4093, 4093),
        (65521, 10_000),
    ] {
        let shares = shares(&mh(size, false, &numbered(count, |_| 3)), count);
        let part = size / count as u32;
        let is_part = |share: &u32| [part, part + 1].contains(share);
        assert!(shares.iter().all(is_part), "{size} {count}");
    }
}

#[test]
fn parts_are_by_weight() {
    let dests = numbered(3, |number| [1, 2, 5][number as usize]);
    assert_eq!(shares(&mh(4093, false, &dests), 3), [512, 1024, 2557]);
    // C rounds weights to 6 bits.
    let dests = numbered(2, |number| [1000, 1][number as usize]);
    assert_eq!(shares(&mh(4093, false, &dests), 2), [4029, 64]);
    // The exact share is 4 of 4093.
    let [_, light] = shares(&mh(4093, true, &dests), 2)[..] else {
        unreachable!()
    };
    assert!((4..=5).contains(&light), "{light}");
    // The extremes of weights.
    let weights = [i32::MAX, i32::MAX - 1, 1, 0];
    let dests = numbered(4, |number| weights[number as usize]);
    let shares = shares(&mh(131071, true, &dests), 4);
    assert!(shares[0].abs_diff(shares[1]) <= 2, "{shares:?}");
    assert_eq!(shares[2..], [1, 0]);
}

#[test]
fn exact_weights_change_nothing_where_c_is_exact() {
    let dests = numbered(50, |number| number as i32 + 1);
    let (c, exact) = (mh(4093, false, &dests), mh(4093, true, &dests));
    assert_eq!(c.owners[..], exact.owners[..]);
}

#[test]
fn a_quiesced_dest_keeps_its_buckets() {
    let dests = numbered(5, |_| 2);
    let before = mh(4093, false, &dests);
    dests[3].dest.weight.set(0);
    let after = before.rebuild(&dests, Change::Edited).unwrap();
    assert_eq!(before.owners[..], after.owners[..]);
    let never = numbered(3, |number| i32::from(number > 0));
    assert_eq!(shares(&mh(251, false, &never), 3), [0, 126, 125]);
    assert!(mh(251, false, &numbered(3, |_| 0)).owners.is_empty());
    assert!(mh(251, false, &[]).owners.is_empty());
}

#[test]
fn a_table_that_is_too_small_is_left_as_it_is() {
    let mut dests = numbered(252, |_| 1);
    let many = Mh::new(&setup(251, false), &dests);
    assert_eq!(many.err(), Some(InitError::TooManyDests));
    let newest = dests.remove(0);
    let full = mh(251, false, &dests);
    dests.insert(0, newest);
    let over = full.rebuild(&dests, Change::Added).unwrap();
    let moved = full.owners.iter().map(|owner| owner + 1);
    assert!(over.owners.iter().copied().eq(moved));
    dests.insert(0, numbered(1000, |_| 1).pop().unwrap());
    let over = over.rebuild(&dests, Change::Added).unwrap();
    // A dest with a bucket is removed. The bucket stays reserved.
    dests.remove(9);
    let over = over.rebuild(&dests, Change::Removed(9)).unwrap();
    let gone = over
        .owners
        .iter()
        .filter(|owner| **owner == RESERVED)
        .count();
    assert_eq!(gone, 1);
    let others = over
        .owners
        .iter()
        .all(|owner| *owner == RESERVED || (2..252).contains(owner));
    assert!(others);
    let choose = |client, flags| {
        let flow = Flow {
            cport: Port::new(client),
            flags,
            ..FLOW
        };
        over.schedule(&dests, &flow)
    };
    let flags = IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2;
    assert!((0..2000).any(|client| choose(client, IP_VS_SVC_F_SCHED2).is_none()));
    assert!((0..2000).all(|client| choose(client, flags).is_some()));
}

#[test]
fn a_dest_that_comes_back_to_a_table_too_small_gets_its_buckets() {
    let names = |mh: &Mh, dests: &[Numbered]| -> Vec<Option<Addr>> {
        let owner = |owner: &u32| dests.get(*owner as usize).map(|dest| dest.addr());
        mh.owners.iter().map(owner).collect()
    };
    let mut dests = numbered(251, |_| 1);
    let mut mh = mh(251, false, &dests);
    let mut random = Random(9);
    let mut others = numbered(300, |_| 1);
    others.drain(..251);
    for dest in others {
        dests.insert(0, dest);
        mh = mh.rebuild(&dests, Change::Added).unwrap();
    }
    let before = names(&mh, &dests);
    let mut away: Vec<Numbered> = Vec::new();
    for _ in 0..1000 {
        if away.len() < 40 && random.below(2) == 0 {
            let index = random.below(dests.len() as u64) as usize;
            away.push(dests.remove(index));
            mh = mh.rebuild(&dests, Change::Removed(index)).unwrap();
        } else if !away.is_empty() {
            let index = random.below(away.len() as u64) as usize;
            dests.insert(0, away.remove(index));
            mh = mh.rebuild(&dests, Change::Added).unwrap();
        }
        mh = mh.rebuild(&dests, Change::Edited).unwrap();
        let is_here = |addr: &Addr| away.iter().all(|dest| dest.addr() != *addr);
        let want = before.iter().map(|owner| owner.filter(is_here));
        assert!(names(&mh, &dests).into_iter().eq(want));
    }
    assert!(mh.gone().len() <= 251);
}

/// The share of the buckets that change their owner when dest `gone` is removed, without the
/// buckets of that dest.
fn disruption(before: &Mh, dests: &mut Vec<Numbered>, gone: usize) -> f64 {
    let dest = dests.remove(gone);
    let after = before.rebuild(dests, Change::Removed(gone)).unwrap();
    dests.insert(gone, dest);
    let moved = before.owners.iter().zip(after.owners.iter());
    let moved = moved.filter(|(before, after)| {
        let before = **before as usize;
        before != gone && before - usize::from(before > gone) != **after as usize
    });
    moved.count() as f64 / before.owners.len() as f64
}

/// Section 5.3 of the Maglev paper: the larger the table, the fewer clients move. doc/benchmarks.md
/// lists the means.
#[test]
fn few_clients_move_when_a_dest_goes() {
    // The mean and the maximum of the removals of every `step`th dest, in percent.
    for (size, count, step, mean, most) in [
        (4093, 10, 1, 1.22, 1.44),
        (4093, 100, 1, 3.03, 3.47),
        (4093, 1000, 1, 0.57, 1.03),
        (65521, 10, 1, 0.23, 0.31),
        (65521, 100, 1, 0.57, 0.66),
        (65521, 1000, 17, 0.55, 0.60),
    ] {
        let mut dests = numbered(count, |_| 1);
        let before = mh(size, false, &dests);
        let gone = (0..count).step_by(step);
        let moved = gone.map(|gone| 100.0 * disruption(&before, &mut dests, gone));
        let moved: Vec<f64> = moved.collect();
        let mean_moved = moved.iter().sum::<f64>() / moved.len() as f64;
        let most_moved = moved.into_iter().fold(0.0, f64::max);
        println!(
            "{size} buckets, {count} dests: {mean_moved:.2} % move, {most_moved:.2} % at most"
        );
        assert!((mean_moved - mean).abs() < 0.01, "{size} {count}");
        assert!((most_moved - most).abs() < 0.01, "{size} {count}");
    }
}

#[test]
fn a_client_stays_with_its_dest_unless_that_is_not_available() {
    let dests = numbered(7, |_| 1);
    let mh = mh(4093, false, &dests);
    let choose = |client: u32, flags| {
        let flow = Flow {
            caddr: &Addr::from_v4(client.to_be_bytes()),
            cport: Port::new(client as u16),
            flags,
            ..FLOW
        };
        mh.schedule(&dests, &flow)
    };
    let before: Vec<_> = (0..3000).map(|client| choose(client, 0)).collect();
    dests[2].dest.overloaded.set(true);
    let mut moved_to = [0; 7];
    for (client, before) in (0..3000).zip(before) {
        let (alone, fallback) = (choose(client, 0), choose(client, IP_VS_SVC_F_SCHED1));
        if before == Some(2) {
            assert_eq!(alone, None);
            moved_to[fallback.unwrap()] += 1;
        } else {
            assert_eq!((alone, fallback), (before, before));
        }
    }
    assert_eq!(moved_to[2], 0);
    assert_eq!(moved_to.iter().filter(|moved| **moved > 20).count(), 6);
    let by_port = |port| choose(port, IP_VS_SVC_F_SCHED2);
    assert!((0..100).any(|port| by_port(port) != choose(port, 0)));
}
