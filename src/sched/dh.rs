// SPDX-License-Identifier: GPL-2.0

//! Destination hashing: the dest is determined by a hash of the packet's destination address.
//!
//! It is for fwmark services with many addresses, such as a transparent proxy for a cache cluster.
//! If the dest is not available, the conn is refused.
//!
//! C version: [net/netfilter/ipvs/ip_vs_dh.c].
//!
//! # Differences from C
//!
//! C has a table of 256 buckets, to which the dests are assigned in turn. Here the dest is computed
//! from the number of the bucket.

use super::{
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
    shim::NoMemory, //
};

/// The base-2 logarithm of the number of buckets (C: `IP_VS_DH_TAB_BITS`). If there are more dests
/// than buckets, the last dests have none.
const BUCKET_BITS: u32 = 8;

/// Destination hashing. It has no state, since the dest of a bucket follows from the number of
/// dests.
pub(crate) struct Dh;

impl Scheduler for Dh {
    const NAME: &'static str = "dh";

    type State<D: Member> = Self;
}

impl<D: Member> State<D> for Dh {
    fn new(_setup: &Setup, _dests: &[D]) -> Result<Self, InitError> {
        Ok(Self)
    }

    fn rebuild(&self, _dests: &[D], _change: Change) -> Result<Self, NoMemory> {
        Ok(Self)
    }

    #[inline]
    fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
        let bucket = hash_32(flow.daddr().fold(flow.family), BUCKET_BITS);
        let index = bucket.checked_rem(dests.len() as u32)? as usize;
        dests.get(index)?.is_available().then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;
    use crate::addr::{Addr, Family};

    /// The dest for packets to 10.0.`host`.
    fn to(dests: &[Dest], host: [u8; 2]) -> Option<usize> {
        let [c, d] = host;
        let flow = Flow {
            vaddr: &Addr::from_v4([10, 0, c, d]),
            ..FLOW
        };
        Dh.schedule(dests, &flow)
    }

    fn hosts() -> impl Iterator<Item = [u8; 2]> {
        (0..=u16::MAX).map(u16::to_be_bytes)
    }

    #[test]
    fn an_address_belongs_to_one_dest_whatever_the_client() {
        let dests = dests(&[1; 7]);
        for (host, client) in hosts().zip((0..=255).cycle()).take(1000) {
            let flow = Flow {
                caddr: &Addr::from_v4([client, 1, 2, 3]),
                vaddr: &Addr::from_v4([10, 0, host[0], host[1]]),
                ..FLOW
            };
            assert_eq!(Dh.schedule(&dests, &flow), to(&dests, host));
        }
    }

    #[test]
    fn weights_do_not_matter_above_0() {
        let (even, uneven) = (dests(&[1; 4]), dests(&[1, 2, 100, i32::MAX]));
        for host in hosts() {
            assert_eq!(to(&even, host), to(&uneven, host));
        }
    }

    #[test]
    fn a_dest_that_is_not_available_is_not_replaced() {
        let changed = dests(&[1; 4]);
        changed[1].weight.set(0);
        changed[2].overloaded.set(true);
        for host in hosts() {
            let want = to(&dests(&[1; 4]), host).filter(|i| ![1, 2].contains(i));
            assert_eq!(to(&changed, host), want);
        }
    }

    #[test]
    fn shares_are_even_to_one_bucket() {
        for count in [1, 2, 3, 7, 255, 256] {
            let dests = dests(&vec![1; count]);
            let mut taken = vec![0; count];
            for host in hosts() {
                taken[to(&dests, host).unwrap()] += 1;
            }
            // Consecutive addresses spread over the buckets almost evenly.
            let (bucket, buckets) = (65536.0 / 256.0, 256 / count);
            for taken in taken {
                let taken = f64::from(taken) / bucket;
                assert!(taken > buckets as f64 * 0.9 && taken < (buckets + 1) as f64 * 1.1);
            }
        }
    }

    #[test]
    fn none_and_too_many() {
        assert_eq!(to(&[], [0, 1]), None);
        let dests = dests(&[1; 300]);
        let last = hosts().filter_map(|host| to(&dests, host)).max();
        assert_eq!(last, Some(255));
    }

    #[test]
    fn inside_an_icmp_error_it_is_the_clients_address() {
        let dests = dests(&[1; 256]);
        let (there, here) = (Addr::from_v4([192, 0, 2, 1]), Addr::from_v4([10, 0, 0, 1]));
        let flow = |caddr, vaddr, is_inverse| Flow {
            caddr,
            vaddr,
            is_inverse,
            ..FLOW
        };
        let request = Dh.schedule(&dests, &flow(&there, &here, false));
        let error = Dh.schedule(&dests, &flow(&there, &here, true));
        assert_ne!(request, error);
        assert_eq!(error, Dh.schedule(&dests, &flow(&here, &there, false)));
    }

    #[test]
    fn words_of_an_ipv6_address_cancel_out() {
        let dests = dests(&[1; 256]);
        let to = |bytes| {
            let flow = Flow {
                family: Family::Inet6,
                vaddr: &Addr::from_v6(bytes),
                ..FLOW
            };
            Dh.schedule(&dests, &flow)
        };
        let (mut one, mut other) = ([7; 16], [7; 16]);
        assert_eq!(to(one), Some(0));
        one[3] = 9;
        other[15] = 9;
        assert_eq!(to(one), to(other));
        assert_ne!(to(one), Some(0));
    }
}
