// SPDX-License-Identifier: GPL-2.0

//! The ports of the local ends of conns, in host byte order, and how one is chosen.
//!
//! # Choice
//!
//! The ends of a conn to a dest are all ports of all local addresses. The search starts at an end
//! that a hash of the client determines (RFC 6056, section 3.3.3).
//!
//! Ports are in *blocks* of 64, with a bit for each port in a word of [`Used`]. A search first
//! reads the words of up to [`MAX_BLOCKS`] successive blocks. If 90 % of the ports are used, 999 of
//! 1000 blocks have a free one. A conn owns the bit that it has set, and clears it when it ends.
//!
//! Blocks of other addresses and dests may share a word. Then a bit that is set may be another
//! block's, and the port is skipped. If no port is found, up to [`MAX_ENDS`] single ends are tried
//! without their bits. The conn of such an end owns no bit. So a port whose bit is not set may be
//! used, and each port is looked up in the table of conns before it is chosen.

use crate::shim::{
    Array,
    NoMemory,
    Word, //
};
use core::ops::RangeInclusive;

/// The maximum number of blocks with usable ports whose words are read for a conn.
const MAX_BLOCKS: u32 = 64;

/// The maximum number of ports of these blocks that are looked up: conns may use them without their
/// bits.
const MAX_LOOKUPS: u32 = 128;

/// The maximum number of blocks that are passed in search of these.
const MAX_STEPS: u32 = 1024;

/// The maximum number of ends that are tried without their bits.
const MAX_ENDS: u32 = 128;

/// The number of ports of a block.
const BLOCK: u32 = u64::BITS;

/// A range of ports, of which another range may be excluded.
pub(crate) struct Ports {
    first: u32,
    /// The number of ports below the excluded ones.
    below: u32,
    /// The first port above the excluded ones.
    above: u32,
    /// The number of ports.
    len: u32,
}

impl Ports {
    /// The ports of `range`.
    pub(crate) fn all(range: RangeInclusive<u16>) -> Self {
        Self::new(range, 0..=0)
    }

    /// The ports of `range`, except those of `without`.
    pub(crate) fn new(range: RangeInclusive<u16>, without: RangeInclusive<u16>) -> Self {
        let [first, last] = [*range.start(), *range.end()].map(u32::from);
        let [low, high] = [*without.start(), *without.end()].map(u32::from);
        let end = last.wrapping_add(1).max(first);
        let (low, high) = (
            low.clamp(first, end),
            high.wrapping_add(1).clamp(first, end),
        );
        let below = low.wrapping_sub(first);
        let above = high.max(low);
        Self {
            first,
            below,
            above,
            len: below.wrapping_add(end.wrapping_sub(above)),
        }
    }

    /// The port with this index.
    fn at(&self, index: u32) -> u16 {
        let port = match index.checked_sub(self.below) {
            None => self.first.wrapping_add(index),
            Some(index) => self.above.wrapping_add(index),
        };
        port as u16
    }

    /// The port above all of these.
    fn end(&self) -> u32 {
        self.above.wrapping_add(self.len.wrapping_sub(self.below))
    }

    /// The ports of a block, as bits.
    fn in_block(&self, block: u32) -> u64 {
        bits(block, self.first, self.first.wrapping_add(self.below))
            | bits(block, self.above, self.end())
    }
}

/// The ports of a block from `first` to the one before `end`, as bits.
fn bits(block: u32, first: u32, end: u32) -> u64 {
    let start = block.wrapping_mul(BLOCK);
    let below = |port: u32| {
        let number = port.saturating_sub(start).min(BLOCK);
        1u64.checked_shl(number)
            .map_or(u64::MAX, |bit| bit.wrapping_sub(1))
    };
    below(end) & !below(first)
}

/// The place of a bit in [`Used`], which the conn of the port owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bit(u32);

/// A bit for each port of each block, shared by all conns of a network namespace.
pub(crate) struct Used(Array<Word>);

impl Used {
    /// The number of words, a power of two. They take 256 KiB.
    const WORDS: u32 = 1 << 15;

    /// Allocates the words. May sleep.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails.
    pub(crate) fn new() -> Result<Self, NoMemory> {
        Array::new(Self::WORDS as usize, |_| Word::new(0)).map(Self)
    }

    fn word(&self, index: u32) -> Option<&Word> {
        self.0.get(index as usize)
    }

    /// Sets a bit of a word that is among `ports` and not set, the first from `start` on. `None` if
    /// all are set.
    fn take(&self, index: u32, ports: u64, start: u32) -> Option<Bit> {
        let word = self.word(index)?;
        let mut old = word.get();
        loop {
            let free = ports & !old;
            if free == 0 {
                return None;
            }
            let after = free.rotate_right(start).trailing_zeros();
            let number = after.wrapping_add(start) % BLOCK;
            match word.compare_exchange(old, old | 1u64.wrapping_shl(number)) {
                Ok(()) => return Some(Bit(index.wrapping_mul(BLOCK).wrapping_add(number))),
                Err(now) => old = now,
            }
        }
    }

    /// Clears a bit that was set by a search, which the caller owns.
    pub(crate) fn clear(&self, Bit(place): Bit) {
        if let Some(word) = self.word(place / BLOCK) {
            // The bit is set, so nothing is borrowed from other bits.
            word.add(1u64.wrapping_shl(place % BLOCK).wrapping_neg());
        }
    }
}

/// A chosen end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The index of the address.
    pub(crate) addr: u32,
    pub(crate) port: u16,
    pub(crate) bit: Option<Bit>,
}

/// The ends from which one is chosen.
pub(crate) struct Ends<'a, R: Fn(u32) -> u64> {
    pub(crate) ports: &'a Ports,
    /// The number of addresses, up to 4096.
    pub(crate) addrs: u32,
    /// Returns those ports of a block that must not be used, as bits.
    pub(crate) reserved: R,
}

impl<R: Fn(u32) -> u64> Ends<'_, R> {
    /// The number of ends.
    fn len(&self) -> u32 {
        self.addrs.wrapping_mul(self.ports.len)
    }

    /// The end with this index: the index of the address, and the port.
    fn at(&self, index: u32) -> (u32, u16) {
        let len = self.ports.len;
        let addr = index.checked_div(len).unwrap_or(0);
        (addr, self.ports.at(index.checked_rem(len).unwrap_or(0)))
    }

    /// The ports of a block that may be used, as bits.
    fn in_block(&self, block: u32) -> u64 {
        match self.ports.in_block(block) {
            0 => 0,
            ports => ports & !(self.reserved)(block),
        }
    }

    /// Chooses an end by `hash`. `hash_of` returns a hash of the dest and the address with an
    /// index; `is_free`, whether no conn to the dest has the end. `None` if the ends that were tried
    /// are in use.
    pub(crate) fn choose(
        &self,
        used: Option<&Used>,
        hash: u32,
        hash_of: impl Fn(u32) -> u32,
        is_free: impl Fn(u32, u16) -> bool,
    ) -> Option<Choice> {
        used.and_then(|used| self.by_block(used, hash, hash_of, &is_free))
            .or_else(|| self.one_by_one(hash, is_free))
    }

    fn by_block(
        &self,
        used: &Used,
        hash: u32,
        hash_of: impl Fn(u32) -> u32,
        is_free: impl Fn(u32, u16) -> bool,
    ) -> Option<Choice> {
        let (mut addr, port) = self.at(hash.checked_rem(self.len())?);
        let [first, last, mut block] = [
            self.ports.first,
            self.ports.end().wrapping_sub(1),
            port.into(),
        ]
        .map(|port| port / BLOCK);
        let mut base = hash_of(addr);
        let (mut blocks, mut lookups) = (MAX_BLOCKS, MAX_LOOKUPS);
        for _ in 0..MAX_STEPS {
            let mut ports = self.in_block(block);
            if ports != 0 {
                blocks = blocks.checked_sub(1)?;
            }
            let index = base.wrapping_add(block) % Used::WORDS;
            while let Some(bit) = used.take(index, ports, u32::from(port) % BLOCK) {
                let number = bit.0 % BLOCK;
                let port = block.wrapping_mul(BLOCK).wrapping_add(number) as u16;
                if is_free(addr, port) {
                    let bit = Some(bit);
                    return Some(Choice { addr, port, bit });
                }
                used.clear(bit);
                lookups = lookups.checked_sub(1)?;
                ports &= !1u64.wrapping_shl(number);
            }
            if block == last {
                addr = addr.wrapping_add(1).checked_rem(self.addrs)?;
                base = hash_of(addr);
                block = first;
            } else {
                block = block.wrapping_add(1);
            }
        }
        None
    }

    fn one_by_one(&self, hash: u32, is_free: impl Fn(u32, u16) -> bool) -> Option<Choice> {
        let is_usable = |port: u16| {
            let (block, number) = (u32::from(port) / BLOCK, u32::from(port) % BLOCK);
            (self.reserved)(block) & 1u64.wrapping_shl(number) == 0
        };
        self.order(hash)
            .find(|(addr, port)| is_usable(*port) && is_free(*addr, *port))
            .map(|(addr, port)| Choice {
                addr,
                port,
                bit: None,
            })
    }

    /// Ends in the order in which they are tried for a conn with this hash: different ones, up to
    /// [`MAX_ENDS`].
    fn order(&self, hash: u32) -> impl Iterator<Item = (u32, u16)> + '_ {
        let len = self.len();
        let start = hash.checked_rem(len).unwrap_or(0);
        // If all ends are tried, in sequence. Otherwise, with steps that differ by conn, so that
        // conns do not compete for the ends behind a row of used ones.
        let step = match len.checked_sub(1) {
            Some(rest) if len > MAX_ENDS => {
                let step = (hash.rotate_left(16)).checked_rem(rest).unwrap_or(0);
                step.wrapping_add(1)
            }
            _ => 1,
        };
        (0..len.min(MAX_ENDS)).map(move |i| {
            let index = u64::from(i)
                .wrapping_mul(step.into())
                .wrapping_add(start.into());
            self.at(index.checked_rem(len.into()).unwrap_or(0) as u32)
        })
    }
}

#[cfg(test)]
mod tests;
