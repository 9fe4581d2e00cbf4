// SPDX-License-Identifier: GPL-2.0

//! Maglev hashing: the dest that belongs to the client's address, and perhaps port; when dests come
//! and go, few clients move that need not.
//!
//! The dests share the *buckets* of a table, whose number is a prime. Each has an order of its own
//! in which it likes them, from a hash of its address and port, and all claim the next that they
//! like and is free, by turns and from the head of the list on, until none is free. In each turn a
//! dest claims as many as its last weight above 0 says: one that is quiesced keeps its buckets. A
//! client's bucket is a hash of its address; with the flag mh-port, of its port as well.
//!
//! If the bucket's dest is not available the client gets none; with the flag mh-fallback it gets
//! the owner of the first bucket, of a sequence that its hash determines, who is available.
//!
//! A table that cannot hold a bucket for each dest is not built: the service cannot take up the
//! scheduler, or goes on with the table it has. In that, those that were removed have no successor:
//! their buckets wait for them to come back.
//!
//! C version: [net/netfilter/ipvs/ip_vs_mh.c].
//!
//! # Costs
//!
//! A choice takes one hash and reads one word of the table. It writes nothing. A change takes two
//! hashes for each dest and about n ln n looks at a table of n buckets, which is a new one: readers
//! see the old table or the new one. C changes the one that they read.
//!
//! # Differences from C
//!
//! C divides the weights by the power of 2 which brings the greatest to 6 bits (at 4,093 buckets):
//! 100 and 1 become 50 and 1. By default this does, too. If the module is told to be exact the
//! dests own, where C would divide so, as many buckets as their part of all weights says, and one
//! at least.
//!
//! In a table that is too small C may go on to choose a dest that was removed.

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
        NoMemory,
        Table, //
    },
};

/// The sizes that a table can have (C: `primes`).
const SIZES: [u32; 10] = [
    251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071,
];

/// What the place in the order of preference, and a client's bucket, are hashed with.
const KEY_1: [u64; 2] = [2654435761; 2];
/// What the step from one preferred bucket to the next is hashed with.
const KEY_2: [u64; 2] = [2654446892; 2];

/// A bucket without an owner.
const NOBODY: u32 = u32::MAX;
/// A bucket whose owner was removed; that less k if it is number k of those.
const GONE: u32 = u32::MAX - 1;

/// No dest has this index or a higher one; there are less buckets than numbers from here on.
const NOT_HERE: u32 = u32::MAX - (1 << 20);

/// The turns in which a dest claims its part of the table, if that is to be exact.
const TURNS: u64 = 64;

/// What the module's parameters say about tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The number of buckets, one of [`SIZES`].
    size: u32,
    /// How many bits of a weight count.
    weight_bits: u32,
    is_exact: bool,
}

impl Settings {
    /// C's, which are set when a kernel is built (`CONFIG_IP_VS_MH_TAB_INDEX`).
    pub(crate) const DEFAULT: Self = Self {
        size: 4093,
        weight_bits: 6,
        is_exact: false,
    };

    /// Tables of `size` buckets, unless there are none of that size.
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
    owners: Table<u32>,
    /// If there are more dests than buckets.
    crowd: Option<Crowd>,
}

/// Who is who where there are more dests than buckets, and the table is one of before.
struct Crowd {
    /// The names of the dests.
    names: Table<Name>,
    /// Those of removed dests that own buckets; so there are no more than these.
    gone: Table<Name>,
}

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
    /// The index of the dest that owns a bucket, or an index that no dest has.
    #[inline]
    fn owner(&self, bucket: u32) -> Option<usize> {
        let owner = *self.owners.get(bucket as usize)?;
        (owner != NOBODY).then_some(owner as usize)
    }

    /// The same owners after a change among dests that are too many for another table.
    fn crowded<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        let names = Table::new(dests.len(), |index| {
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
        let gone = Table::new(len.saturating_add(usize::from(new.is_some())), |index| {
            let old = self.gone().get(index).copied();
            old.or(new).unwrap_or(Name::NONE)
        })?;
        let its_gone = GONE.wrapping_sub(known.unwrap_or(len) as u32);
        let owners = Table::new(self.owners.len(), |bucket| {
            let owner = self.owners.get(bucket).copied().unwrap_or(NOBODY);
            match change {
                Change::Added if owner == its_gone => 0,
                Change::Removed(index) if owner as usize == index => its_gone,
                // Nobody's, or of another that is gone.
                _ if owner >= NOT_HERE => owner,
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

    /// The name of the dest with that index, if it owns a bucket and the table is too small.
    fn owning_name(&self, index: usize) -> Option<Name> {
        let name = *self.crowd.as_ref()?.names.get(index)?;
        self.owners
            .iter()
            .any(|owner| *owner as usize == index)
            .then_some(name)
    }
}

/// A dest's claims to buckets.
struct Claim {
    /// The bucket it likes best of those that it has not looked at.
    next: u32,
    /// The way from there to the one it likes next.
    skip: u32,
    /// How many it claims in each turn, or in [`TURNS`] turns.
    claims: u32,
}

impl Claim {
    /// How many buckets it claims in that turn, if it is to have its part after [`TURNS`] turns;
    /// the odd ones in the first.
    fn spread(&self, turn: u32) -> u32 {
        let until = |turn: u64| u64::from(self.claims).wrapping_mul(turn).div_ceil(TURNS);
        let turn = u64::from(turn);
        until(turn.wrapping_add(1)).wrapping_sub(until(turn)) as u32
    }

    /// The free bucket that it likes best; there is one.
    #[inline]
    fn best(&mut self, owners: &[u32]) -> usize {
        let size = owners.len() as u32;
        while owners
            .get(self.next as usize)
            .is_some_and(|owner| *owner != NOBODY)
        {
            self.next = self.next.wrapping_add(self.skip);
            if self.next >= size {
                self.next = self.next.wrapping_sub(size);
            }
        }
        self.next as usize
    }
}

/// A table, with the dests' claims satisfied (C: `ip_vs_mh_populate()`).
fn populate<D: Candidate>(setup: &Setup, dests: &[D]) -> Result<Table<u32>, NoMemory> {
    let divisor = dests.iter().map(last_weight).fold(0, gcd);
    if divisor == 0 {
        return Table::new(0, |_| NOBODY);
    }
    let part = |weight: u32| weight.checked_div(divisor).unwrap_or(0);
    let highest = part(dests.iter().map(last_weight).max().unwrap_or(0));
    let bits = u32::BITS.wrapping_sub(highest.leading_zeros());
    let shift = bits.saturating_sub(setup.mh.weight_bits);
    let is_exact = setup.mh.is_exact && shift > 0;

    let mut claims = Table::new(dests.len(), |index| {
        let claim = |dest: &D| {
            let claims = match last_weight(dest) {
                0 => 0,
                weight => part(weight).wrapping_shr(shift).max(1),
            };
            claim(setup, dest, claims)
        };
        dests.get(index).map(claim)
    })?;
    if is_exact {
        share_exactly(setup.mh.size, dests, &mut claims);
    }

    let mut owners = Table::new(setup.mh.size as usize, |_| NOBODY)?;
    let mut free = setup.mh.size;
    for turn in 0..setup.mh.size {
        let everyone = (0..NOBODY).zip(claims.iter_mut().flatten());
        for (index, claim) in everyone {
            let count = match is_exact {
                true => claim.spread(turn),
                false => claim.claims,
            };
            for _ in 0..count {
                let bucket = claim.best(&owners);
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

fn claim<D: Candidate>(setup: &Setup, dest: &D, claims: u32) -> Claim {
    let name = dest.addr().fold(setup.family);
    let name = name.wrapping_add(dest.port().host().into());
    let size = setup.mh.size;
    let below = |limit: u32, key| hsiphash_1u32(name, key).checked_rem(limit).unwrap_or(0);
    Claim {
        next: below(size, KEY_1),
        skip: below(size.wrapping_sub(1), KEY_2).wrapping_add(1),
        claims,
    }
}

/// Gives each dest claims to its part of all weights, and one at least if it ever had a weight.
fn share_exactly<D: Candidate>(size: u32, dests: &[D], claims: &mut [Option<Claim>]) {
    let weights = || dests.iter().map(|dest| u64::from(last_weight(dest)));
    let sum = weights().fold(0, u64::wrapping_add);
    // What the product of a part and the size still fits in.
    let shift = u64::BITS
        .wrapping_sub(sum.leading_zeros())
        .saturating_sub(46);
    let buckets = |part: u64| {
        let product = part.wrapping_shr(shift).wrapping_mul(size.into());
        product.checked_div(sum.wrapping_shr(shift)).unwrap_or(0)
    };
    let mut before = 0_u64;
    for (claim, weight) in claims.iter_mut().flatten().zip(weights()) {
        let after = before.wrapping_add(weight);
        let part = buckets(after).wrapping_sub(buckets(before)) as u32;
        claim.claims = part.max(u32::from(weight > 0));
        before = after;
    }
}

/// The last weight above 0, or 0.
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
