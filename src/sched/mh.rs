// SPDX-License-Identifier: GPL-2.0

//! Maglev hashing: the dest is determined by a hash of the client's address and, with the flag
//! mh-port, of its port. When dests are added or removed, few of the other dests' clients move.
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer" (2016). The hash
//! selects a *bucket* of a table, whose size is a prime. Each dest has a permutation of the
//! buckets, from a hash of its address and port. The dests take turns, from the head of the list
//! on: each takes the next free buckets of its permutation, until none is free. In each turn a dest
//! takes as many buckets as its last weight above 0, so a dest that is quiesced keeps its buckets.
//!
//! If the owner of the bucket is not available, the conn is refused. With the flag mh-fallback it
//! goes to the first available owner in a sequence of buckets that the hash determines.
//!
//! A service with more dests than buckets cannot start to use the scheduler. A service that uses it
//! already keeps its table. Then the buckets of a removed dest stay reserved for it.
//!
//! C version: [net/netfilter/ipvs/ip_vs_mh.c].
//!
//! # Costs
//!
//! A choice takes one hash and reads one word of the table. It writes nothing. A change builds a
//! new table, by two hashes for each dest and about n ln n reads for n buckets. Readers use either
//! the old or the new table, where C changes the table in place.
//!
//! # Differences from C
//!
//! C divides the weights by a power of 2, so that the greatest has 6 bits (at 4,093 buckets): 100
//! and 1 become 50 and 1. This is the default here, too. With `mh_exact`, the weights are not
//! divided: buckets are shared in exact proportion to the weights, at least one each.
//!
//! If the table is too small, C may go on to choose a dest that was removed.

use super::{
    home_or_fallback,
    Candidate,
    Change,
    Flow,
    InitError,
    Member,
    Scheduler,
    Setup,
    State, //
};
use crate::{
    addr::{
        Addr,
        Port, //
    },
    hash::hsiphash_1u32,
    shim::{
        Array, //
        NoMemory,
    },
};

/// The possible sizes of a table (C: `primes`).
const SIZES: [u32; 10] = [
    251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071,
];

/// The hash key for a client's bucket and the start of a dest's permutation.
const KEY_1: [u64; 2] = [2654435761; 2];
/// The hash key for the step of a dest's permutation.
const KEY_2: [u64; 2] = [2654446892; 2];

/// The owner of a free bucket.
const FREE: u32 = u32::MAX;
/// A bucket that is reserved for the removed dest k has the owner `RESERVED - k`.
const RESERVED: u32 = u32::MAX - 1;

/// Owners from this number on are not dests. There are more such numbers than buckets.
const NO_DEST: u32 = u32::MAX - (1 << 20);

/// The number of turns in which a dest gets its share of the table, with `mh_exact`.
const TURNS: u64 = 64;

/// The module's parameters for tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The number of buckets, one of [`SIZES`].
    size: u32,
    /// The number of significant bits of a weight.
    weight_bits: u32,
    /// The parameter `mh_exact`.
    is_exact: bool,
}

impl Settings {
    /// C's settings with the default `CONFIG_IP_VS_MH_TAB_INDEX`.
    pub(crate) const DEFAULT: Self = Self {
        size: 4093,
        weight_bits: 6,
        is_exact: false,
    };

    /// Settings for tables of `size` buckets, or `None` if that is not one of [`SIZES`].
    pub(crate) fn new(size: u32, is_exact: bool) -> Option<Self> {
        let index = (8..).zip(SIZES).find(|(_, other)| *other == size)?.0;
        Some(Self {
            size,
            weight_bits: index / 2,
            is_exact,
        })
    }
}

/// The state of Maglev hashing.
pub(crate) struct Mh {
    setup: Setup,
    /// The index of each bucket's owner. Empty if there are no dests, or none ever had a weight.
    owners: Array<u32>,
    /// Only if there are more dests than buckets.
    crowd: Option<Crowd>,
}

/// The names of the dests if there are more of them than buckets, so that the table cannot be
/// rebuilt.
struct Crowd {
    /// The names of the dests.
    names: Array<Name>,
    /// The names of the removed dests that own buckets, at most one per bucket.
    gone: Array<Name>,
}

/// The address and port of a dest.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Name(Addr, Port);

impl Name {
    const NONE: Self = Self(Addr::ANY, Port::ZERO);

    fn of<D: Candidate>(dest: &D) -> Self {
        Self(dest.addr(), dest.port())
    }
}

impl Scheduler for Mh {
    const NAME: &'static str = "mh";

    type State<D: Member> = Self;
}

impl<D: Member> State<D> for Mh {
    fn new(setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        if dests.len() > setup.mh.size as usize {
            return Err(InitError::TooManyDests);
        }
        Ok(Self {
            setup: setup.clone(),
            owners: populate(setup, dests)?,
            crowd: None,
        })
    }

    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        if dests.len() > self.setup.mh.size as usize {
            return self.crowded(dests, change);
        }
        Ok(Self {
            setup: self.setup.clone(),
            owners: populate(&self.setup, dests)?,
            crowd: None,
        })
    }

    #[inline]
    fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
        let client = flow.client();
        let size = self.setup.mh.size;
        let home = hsiphash_1u32(client, KEY_1).checked_rem(size)?;
        let others = (home..size).chain(0..home).map(|offset| {
            let bucket = hsiphash_1u32(client.wrapping_add(offset), KEY_1);
            self.owner(bucket.checked_rem(size)?)
        });
        home_or_fallback(dests, flow, self.owner(home), others)
    }
}

impl Mh {
    /// The index of the dest that owns a bucket, or an index that no dest has if the bucket is
    /// reserved.
    #[inline]
    fn owner(&self, bucket: u32) -> Option<usize> {
        let owner = *self.owners.get(bucket as usize)?;
        (owner != FREE).then_some(owner as usize)
    }

    /// The successor of a table that cannot be rebuilt: the owners stay the same.
    fn crowded<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        let names = Array::new(dests.len(), |index| {
            dests.get(index).map_or(Name::NONE, Name::of)
        })?;
        let mover = match change {
            Change::Added => names.first().copied(),
            Change::Removed(index) => self.owning_name(index),
            Change::Edited => None,
        };
        let known = mover.and_then(|name| self.gone().iter().position(|gone| *gone == name));
        let is_new = known.is_none() && matches!(change, Change::Removed(_));
        let new = mover.filter(|_| is_new);
        let len = self.gone().len();
        let gone = Array::new(len.saturating_add(usize::from(new.is_some())), |index| {
            let old = self.gone().get(index).copied();
            old.or(new).unwrap_or(Name::NONE)
        })?;
        let reserved = RESERVED.wrapping_sub(known.unwrap_or(len) as u32);
        let owners = Array::new(self.owners.len(), |bucket| {
            let owner = self.owners.get(bucket).copied().unwrap_or(FREE);
            match change {
                Change::Added if owner == reserved => 0,
                Change::Removed(index) if owner as usize == index => reserved,
                // The bucket is free, or reserved for another dest.
                _ if owner >= NO_DEST => owner,
                Change::Added => owner.wrapping_add(1),
                Change::Removed(index) if owner as usize > index => owner.wrapping_sub(1),
                Change::Removed(_) | Change::Edited => owner,
            }
        })?;
        Ok(Self {
            setup: self.setup.clone(),
            owners,
            crowd: Some(Crowd { names, gone }),
        })
    }

    /// The names of removed dests that own buckets.
    fn gone(&self) -> &[Name] {
        self.crowd.as_ref().map_or(&[], |crowd| &crowd.gone)
    }

    /// The name of the dest with this index, if it owns a bucket of a table that is too small.
    fn owning_name(&self, index: usize) -> Option<Name> {
        let name = *self.crowd.as_ref()?.names.get(index)?;
        self.owners
            .iter()
            .any(|owner| *owner as usize == index)
            .then_some(name)
    }
}

/// A dest's permutation of the buckets.
struct Permutation {
    /// The next bucket of the permutation.
    next: u32,
    /// The step from one bucket of the permutation to the next.
    skip: u32,
    /// The number of buckets that the dest gets in each turn; with `mh_exact`, in [`TURNS`] turns.
    quota: u32,
}

impl Permutation {
    /// The number of buckets that the dest gets in this turn, if the quota is for [`TURNS`] turns.
    /// The remainder is distributed over the turns from the first on.
    fn spread(&self, turn: u32) -> u32 {
        let until = |turn: u64| u64::from(self.quota).wrapping_mul(turn).div_ceil(TURNS);
        let turn = u64::from(turn);
        until(turn.wrapping_add(1)).wrapping_sub(until(turn)) as u32
    }

    /// The next free bucket of the permutation. At least one bucket must be free.
    #[inline]
    fn next_free(&mut self, owners: &[u32]) -> usize {
        let size = owners.len() as u32;
        while owners
            .get(self.next as usize)
            .is_some_and(|owner| *owner != FREE)
        {
            self.next = self.next.wrapping_add(self.skip);
            if self.next >= size {
                self.next = self.next.wrapping_sub(size);
            }
        }
        self.next as usize
    }
}

/// Builds the table (C: `ip_vs_mh_populate()`).
fn populate<D: Candidate>(setup: &Setup, dests: &[D]) -> Result<Array<u32>, NoMemory> {
    let divisor = dests.iter().map(last_weight).fold(0, gcd);
    if divisor == 0 {
        return Array::new(0, |_| FREE);
    }
    let part = |weight: u32| weight.checked_div(divisor).unwrap_or(0);
    let highest = part(dests.iter().map(last_weight).max().unwrap_or(0));
    let bits = u32::BITS.wrapping_sub(highest.leading_zeros());
    let shift = bits.saturating_sub(setup.mh.weight_bits);
    let is_exact = setup.mh.is_exact && shift > 0;

    let mut permutations = Array::new(dests.len(), |index| {
        let permutation = |dest: &D| {
            let quota = match last_weight(dest) {
                0 => 0,
                weight => part(weight).wrapping_shr(shift).max(1),
            };
            permutation(setup, dest, quota)
        };
        dests.get(index).map(permutation)
    })?;
    if is_exact {
        set_exact_quotas(setup.mh.size, dests, &mut permutations);
    }

    let mut owners = Array::new(setup.mh.size as usize, |_| FREE)?;
    let mut free = setup.mh.size;
    for turn in 0..setup.mh.size {
        for (index, permutation) in (0..FREE).zip(permutations.iter_mut().flatten()) {
            let count = match is_exact {
                true => permutation.spread(turn),
                false => permutation.quota,
            };
            for _ in 0..count {
                let bucket = permutation.next_free(&owners);
                if let Some(owner) = owners.get_mut(bucket) {
                    *owner = index;
                }
                free = free.saturating_sub(1);
                if free == 0 {
                    return Ok(owners);
                }
            }
        }
    }
    Ok(owners)
}

/// A dest's permutation, from a hash of its address and port.
fn permutation<D: Candidate>(setup: &Setup, dest: &D, quota: u32) -> Permutation {
    let name = dest.addr().fold(setup.family);
    let name = name.wrapping_add(dest.port().host().into());
    let size = setup.mh.size;
    let below = |limit: u32, key| hsiphash_1u32(name, key).checked_rem(limit).unwrap_or(0);
    Permutation {
        next: below(size, KEY_1),
        skip: below(size.wrapping_sub(1), KEY_2).wrapping_add(1),
        quota,
    }
}

/// Sets each dest's quota in proportion to its weight, at least 1 if it ever had a weight.
fn set_exact_quotas<D: Candidate>(
    size: u32,
    dests: &[D],
    permutations: &mut [Option<Permutation>],
) {
    let weights = || dests.iter().map(|dest| u64::from(last_weight(dest)));
    let sum = weights().fold(0, u64::wrapping_add);
    // The product of the shifted sum and the size, which is below 2^18, fits in 64 bits.
    let shift = u64::BITS
        .wrapping_sub(sum.leading_zeros())
        .saturating_sub(46);
    let buckets = |part: u64| {
        let product = part.wrapping_shr(shift).wrapping_mul(size.into());
        product.checked_div(sum.wrapping_shr(shift)).unwrap_or(0)
    };
    let mut before = 0_u64;
    for (permutation, weight) in permutations.iter_mut().flatten().zip(weights()) {
        let after = before.wrapping_add(weight);
        let part = buckets(after).wrapping_sub(buckets(before)) as u32;
        permutation.quota = part.max(u32::from(weight > 0));
        before = after;
    }
}

/// The last weight above 0, or 0 if there was none.
fn last_weight<D: Candidate>(dest: &D) -> u32 {
    dest.last_weight().max(0).unsigned_abs()
}

/// The greatest common divisor.
fn gcd(mut a: u32, mut b: u32) -> u32 {
    while let Some(rest) = a.checked_rem(b) {
        (a, b) = (b, rest);
    }
    a
}

#[cfg(test)]
mod tests;
