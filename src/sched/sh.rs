// SPDX-License-Identifier: GPL-2.0

//! Source hashing: the dest is determined by a hash of the client's address and, with the flag
//! sh-port, of its port.
//!
//! The hash selects one of 256 *buckets*. From the head of the list on, each dest owns as many
//! buckets in a row as its weight; this repeats until all buckets have an owner.
//!
//! If the owner of the bucket is not available, the conn is refused. With the flag sh-fallback it
//! goes to the first available owner among all buckets, from a start that the hash determines.
//!
//! C version: [net/netfilter/ipvs/ip_vs_sh.c].

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
    hash::hash_32,
    shim::{
        Array, //
        NoMemory,
    }, //
};

/// The base-2 logarithm of the number of buckets (C: `IP_VS_SH_TAB_BITS`).
const BUCKET_BITS: u32 = 8;
const BUCKETS: u32 = 1 << BUCKET_BITS;

/// The state of source hashing.
pub(crate) struct Sh {
    /// The index of each bucket's owner. A byte is enough, since at most 256 dests own buckets.
    /// Empty if there are no dests.
    owners: Array<u8>,
}

impl Scheduler for Sh {
    const NAME: &'static str = "sh";

    type State<D: Member> = Self;
}

impl<D: Member> State<D> for Sh {
    fn new(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self::of(dests)?)
    }

    fn rebuild(&self, dests: &[D], _change: Change) -> Result<Self, NoMemory> {
        Self::of(dests)
    }

    #[inline]
    fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
        let home = hash_32(flow.client(), BUCKET_BITS);
        // C adds the offset to the hash twice: the walk starts at twice the home bucket.
        let start = home.wrapping_add(home);
        let others = (0..BUCKETS).map(|offset| self.owner(start.wrapping_add(offset)));
        // Dests after these own no bucket.
        let owners = dests.get(..BUCKETS as usize).unwrap_or(dests);
        home_or_fallback(owners, flow, self.owner(home), others)
    }
}

impl Sh {
    /// Assigns the buckets by the weights of `dests` (C: `ip_vs_sh_reassign()`).
    fn of<D: Candidate>(dests: &[D]) -> Result<Self, NoMemory> {
        let buckets = if dests.is_empty() { 0 } else { BUCKETS };
        // As in C, a dest with weight 0 owns one bucket, though it is never available.
        let turn = |(index, dest): (u8, &D)| {
            let weight = dest.weight().max(1).unsigned_abs();
            core::iter::repeat_n(index, weight as usize)
        };
        let mut turns = (0..=u8::MAX).zip(dests).cycle().flat_map(turn);
        let owners = Array::new(buckets as usize, |_| turns.next().unwrap_or(0))?;
        Ok(Self { owners })
    }

    /// The index of the dest that owns a bucket. `bucket` is taken modulo [`BUCKETS`].
    #[inline]
    fn owner(&self, bucket: u32) -> Option<usize> {
        let owner = self.owners.get((bucket % BUCKETS) as usize)?;
        Some(usize::from(*owner))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::{
        addr::{Addr, Port},
        uapi::*, //
    };

    /// The runs of buckets with the same owner: (owner, number of buckets).
    fn runs(weights: &[i32]) -> Vec<(u8, usize)> {
        let sh = Sh::new(&SETUP, &dests(weights)).unwrap();
        let runs = sh.owners.chunk_by(|a, b| a == b);
        runs.map(|run| (run[0], run.len())).collect()
    }

    #[test]
    fn buckets_go_by_weight_from_the_head_of_the_list() {
        assert_eq!(runs(&[]), []);
        assert_eq!(runs(&[5]), [(0, 256)]);
        assert_eq!(runs(&[100, 100]), [(0, 100), (1, 100), (0, 56)]);
        assert_eq!(runs(&[1000, 1]), [(0, 256)]);
        let want = [(0, 3), (1, 1), (2, 1), (0, 3), (1, 1)];
        assert_eq!(runs(&[3, 0, 1])[..5], want);
        let many = runs(&[1; 300]);
        assert_eq!(many.len(), 256);
        assert_eq!(many.last(), Some(&(255, 1)));
    }

    /// The choice for a client 10.0.x.y, port z.
    fn choice(sh: &Sh, dests: &[Dest], flags: u32, client: u32) -> Option<usize> {
        let [_, c, d, port] = client.to_be_bytes();
        let flow = Flow {
            caddr: &Addr::from_v4([10, 0, c, d]),
            cport: Port::new(u16::from(port)),
            flags,
            ..FLOW
        };
        sh.schedule(dests, &flow)
    }

    #[test]
    fn a_client_stays_with_its_dest() {
        let dests = dests(&[1, 2, 3]);
        let sh = Sh::new(&SETUP, &dests).unwrap();
        for client in (0..100_000).step_by(256) {
            let one = choice(&sh, &dests, 0, client);
            let ports = |flags| (0..256).map(move |port| (flags, port));
            for (flags, port) in ports(0).chain(ports(IP_VS_SVC_F_SCHED1)) {
                assert_eq!(choice(&sh, &dests, flags, client | port), one);
            }
            let port = |port| choice(&sh, &dests, IP_VS_SVC_F_SCHED2, client | port);
            assert!((0..256).any(|p| port(p) != one));
        }
    }

    #[test]
    fn only_clients_of_a_dest_that_is_not_available_move() {
        let dests = dests(&[1; 5]);
        let sh = Sh::new(&SETUP, &dests).unwrap();
        let before: Vec<_> = (0..50_000)
            .map(|c| choice(&sh, &dests, 0, c << 8))
            .collect();
        dests[3].overloaded.set(true);
        let mut moved_to = [0; 5];
        for (client, before) in (0..50_000).map(|c| c << 8).zip(before) {
            let alone = choice(&sh, &dests, 0, client);
            let fallback = choice(&sh, &dests, IP_VS_SVC_F_SCHED1, client);
            if before == Some(3) {
                assert_eq!(alone, None);
                moved_to[fallback.unwrap()] += 1;
            } else {
                assert_eq!((alone, fallback), (before, before));
            }
        }
        // They move to more than one dest, though not evenly: most go to the next owner.
        assert_eq!(moved_to[3], 0);
        assert!(moved_to.iter().filter(|moved| **moved > 0).count() > 1);
    }

    #[test]
    fn the_last_dest_that_is_available_is_found() {
        let dests = dests(&[1; 256]);
        let sh = Sh::new(&SETUP, &dests).unwrap();
        dests.iter().for_each(|dest| dest.overloaded.set(true));
        assert_eq!(choice(&sh, &dests, IP_VS_SVC_F_SCHED1, 0), None);
        dests[77].overloaded.set(false);
        for client in 0..1000 {
            let found = choice(&sh, &dests, IP_VS_SVC_F_SCHED1, client << 8);
            assert_eq!(found, Some(77));
        }
    }
}
