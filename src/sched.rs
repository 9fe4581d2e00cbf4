// SPDX-License-Identifier: GPL-2.0

//! Schedulers: the choice of a dest for a new conn.
//!
//! C version: `struct ip_vs_scheduler` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_sched.c].
//!
//! To add a scheduler, add a file and a line in [`schedulers!`] below.
//!
//! # Vocabulary
//!
//! - A scheduler's *state* is its data for one service (C: `sched_data`). It is published together
//!   with the slice of dests that it was built for, and both are replaced by RCU.
//! - A dest is *available* if its weight is above 0 and it is not overloaded.
//!
//! # Concurrency
//!
//! Any number of CPUs schedule concurrently, on the same state and without a lock. A sequence of
//! choices on one CPU is exactly that of C. The result of concurrent choices is that of some
//! sequence of them, unless the scheduler's file states an exception. A successor that is being
//! built may miss concurrent choices.

pub(crate) mod locality;
mod tree;

use crate::addr::{Addr, Family, Port};
use crate::shim::{
    Jiffies,
    NoMemory,
    Share, //
};
use crate::uapi::{IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2};
use core::num::NonZeroU32;
use tree::Key;

pub(crate) use tree::Place;

/// The interface of a dest to schedulers.
///
/// Other CPUs may change the figures at any time.
pub(crate) trait Candidate {
    /// The weight, 0 or more.
    fn weight(&self) -> i32;

    /// The last weight above 0 in this service, or 0 if there was none (C: `last_weight`).
    fn last_weight(&self) -> i32;

    /// Whether the dest has reached its upper threshold and not yet fallen below the lower one
    /// (C: `IP_VS_DEST_F_OVERLOAD`).
    fn is_overloaded(&self) -> bool;

    /// The number of conns in an active state.
    fn active_conns(&self) -> i32;

    /// The number of all conns, active or not (C: `totalconns`).
    fn total_conns(&self) -> i32;

    /// The dest's address.
    fn addr(&self) -> Addr;

    /// The dest's port.
    fn port(&self) -> Port;

    /// The dest's place in the scheduler's tree, which is notified when the figures change.
    fn place(&self) -> &Place;

    /// The figures that most schedulers use. They are read one by one, not atomically.
    #[inline]
    fn figures(&self) -> Figures {
        Figures {
            weight: self.weight(),
            is_overloaded: self.is_overloaded(),
            active: self.active_conns(),
            total: self.total_conns(),
        }
    }

    /// Whether the dest may get a new conn, by the rule of most schedulers.
    #[inline]
    fn is_available(&self) -> bool {
        !self.is_overloaded() && self.weight() > 0
    }
}

/// A dest in a service's list.
pub(crate) trait Member: Candidate {
    /// A reference to the dest that stays valid once the dest has left the list.
    type Kept: Candidate + Share;

    /// Takes such a reference.
    fn keep(&self) -> Self::Kept;
}

/// A dest's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    weight: i32,
    is_overloaded: bool,
    active: i32,
    total: i32,
}

impl Figures {
    /// The figures of a slot without a dest.
    const NONE: Self = Self {
        weight: 0,
        is_overloaded: false,
        active: 0,
        total: 0,
    };

    /// The weight, or `None` if the dest is not available.
    #[inline]
    fn available_weight(&self) -> Option<NonZeroU32> {
        match self.is_overloaded {
            true => None,
            false => NonZeroU32::new(self.weight.max(0).unsigned_abs()),
        }
    }

    /// The number of active conns.
    #[inline]
    fn active_conns(&self) -> u64 {
        // A counter may be below 0 for a moment.
        self.active.max(0).unsigned_abs().into()
    }

    /// The load by conns. An active conn counts as 257 inactive ones.
    ///
    /// C: `ip_vs_dest_conn_overhead()`, which overflows from 2^23 active conns on.
    #[inline]
    fn conn_overhead(&self) -> u64 {
        let total = u64::from(self.total.max(0).unsigned_abs());
        (self.active_conns() << 8).wrapping_add(total)
    }
}

/// The packet that starts a conn: the input of a scheduler. It is never a fragment without ports.
pub(crate) struct Flow<'a> {
    /// The family of both addresses.
    pub(crate) family: Family,
    /// The client's address in the packet. The netmask of a persistent service is not applied.
    pub(crate) caddr: &'a Addr,
    /// The client's port, 0 unless the protocol is TCP, UDP or SCTP.
    pub(crate) cport: Port,
    /// The virtual address.
    pub(crate) vaddr: &'a Addr,
    /// Whether the packet goes from the virtual address to the client, since it is quoted in an
    /// ICMP error (C: `IP_VS_HDR_INVERSE`).
    pub(crate) is_inverse: bool,
    /// The service's flags, `IP_VS_SVC_F_*`. An edit of the service changes them without a new
    /// state.
    pub(crate) flags: u32,
}

impl Flow<'_> {
    /// The packet's destination address.
    #[inline]
    fn daddr(&self) -> &Addr {
        // As in C, this is the header's field, even if the header is quoted in an ICMP error.
        match self.is_inverse {
            true => self.caddr,
            false => self.vaddr,
        }
    }

    /// The value that sh and mh hash: the client's address, plus its port if the service has the
    /// flag sh-port or mh-port (C: `IP_VS_SVC_F_SCHED2`).
    #[inline]
    fn client(&self) -> u32 {
        let port = match self.flags & IP_VS_SVC_F_SCHED2 {
            0 => 0,
            _ => self.cport.host(),
        };
        self.caddr.fold(self.family).wrapping_add(u32::from(port))
    }
}

/// A change of a service's dests since its scheduler's state was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A dest was added at the head of the list, as in C.
    Added,
    /// The dest with this index was removed.
    Removed(usize),
    /// A dest was edited in place. Its weight may have changed.
    Edited,
}

/// The settings that are fixed while a service keeps its scheduler.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The family of the service. Its dests may be of another.
    pub(crate) family: Family,
    /// The sysctl lblc_expiration.
    pub(crate) lblc_expiration: Jiffies,
    /// The sysctl lblcr_expiration.
    pub(crate) lblcr_expiration: Jiffies,
    /// The module's parameters for mh.
    pub(crate) mh: mh::Settings,
}

/// The reason why a service cannot use a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitError {
    NoMemory,
    /// The service has more dests than the scheduler can choose from (C: `-EINVAL`).
    TooManyDests,
}

impl From<NoMemory> for InitError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// A scheduling algorithm.
///
/// The operations are in [`State`]. The functions here compute the key and the part of a dest from
/// its figures, for the schedulers that keep their dests in a [`tree`].
pub(crate) trait Scheduler {
    /// The name, as in `ipvsadm -s`.
    const NAME: &'static str;

    /// The scheduler's state for one service, whose dests are `D`.
    type State<D: Member>: State<D>;

    /// The sort key of a dest with these figures, if the scheduler uses a tree. The dest with the
    /// least key is chosen.
    #[inline]
    fn key(_figures: &Figures) -> Key {
        Key::NEVER
    }

    /// The addend of a dest with these figures to the sum in the tree. `None` if the scheduler does
    /// not use the sum.
    #[inline]
    fn part(_figures: &Figures) -> Option<u64> {
        None
    }

    /// Whether the scheduler samples dests by their parts, and so needs prefix sums in addition to
    /// the sum of all parts.
    const NEEDS_PREFIX_SUMS: bool = false;
}

/// The state of a scheduler for one service, whose dests are `D`.
///
/// `dests` is always the slice of the service's dests in the order of C's list, newest first.
pub(crate) trait State<D: Member>: Sized {
    /// The state for a service that starts to use the scheduler (C: `init_service`).
    ///
    /// # Errors
    ///
    /// [`InitError::NoMemory`], or [`InitError::TooManyDests`] if the scheduler has a limit.
    fn new(setup: &Setup, dests: &[D]) -> Result<Self, InitError>;

    /// The successor of this state after `change`, which resulted in `dests` (C: `add_dest`,
    /// `del_dest`, `upd_dest`).
    ///
    /// Takes constant time for an added dest, in schedulers where that is possible.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if memory is short.
    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory>;

    /// The index of the dest for a new conn, or `None` if no dest is available (C: `schedule`).
    fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize>;

    /// Called after this state and `dests` are published: registers the dests for load-change
    /// notifications, if the scheduler needs them.
    fn register(&self, dests: &[D]) {
        unregister(dests);
    }
}

/// Unregisters all dests from load-change notifications.
pub(crate) fn unregister<D: Candidate>(dests: &[D]) {
    for dest in dests {
        if !dest.place().leave(dest) {
            // Older dests are already unregistered.
            return;
        }
    }
}

/// Declares the schedulers' modules, and [`Kind`] and [`AnyScheduler`] with a variant for each.
macro_rules! schedulers {
    ($($file:ident::$name:ident,)+) => {
        $(pub(crate) mod $file;
        use $file::$name;)+

        /// One of the schedulers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($name,)+
        }

        impl Kind {
            /// The scheduler with this name, as in `ipvsadm -s`, without a terminating NUL.
            pub(crate) fn by_name(name: &[u8]) -> Option<Self> {
                $(if name == <$name as Scheduler>::NAME.as_bytes() {
                    return Some(Self::$name);
                })+
                None
            }

            /// The scheduler's name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => <$name as Scheduler>::NAME,)+
                }
            }

            /// See [`Scheduler::key`].
            #[inline]
            fn key(self, figures: &Figures) -> Key {
                match self {
                    $(Self::$name => <$name as Scheduler>::key(figures),)+
                }
            }

            /// See [`Scheduler::part`].
            #[inline]
            fn part(self, figures: &Figures) -> Option<u64> {
                match self {
                    $(Self::$name => <$name as Scheduler>::part(figures),)+
                }
            }

            /// See [`Scheduler::NEEDS_PREFIX_SUMS`].
            const fn needs_prefix_sums(self) -> bool {
                match self {
                    $(Self::$name => <$name as Scheduler>::NEEDS_PREFIX_SUMS,)+
                }
            }
        }

        /// The state of any of the schedulers for one service, whose dests are `D`. See [`State`].
        pub(crate) enum AnyScheduler<D: Member> {
            $($name(<$name as Scheduler>::State<D>),)+
        }

        impl<D: Member> AnyScheduler<D> {
            /// The state for a service that starts to use the scheduler `kind`.
            ///
            /// # Errors
            ///
            /// Those of [`State::new`].
            pub(crate) fn new(kind: Kind, setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
                match kind {
                    $(Kind::$name => State::new(setup, dests).map(Self::$name),)+
                }
            }

            /// The scheduler.
            pub(crate) const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                }
            }

            /// The successor of this state after `change`, which resulted in `dests`.
            ///
            /// # Errors
            ///
            /// [`NoMemory`] if memory is short.
            pub(crate) fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
                match self {
                    $(Self::$name(state) => state.rebuild(dests, change).map(Self::$name),)+
                }
            }

            /// See [`State::schedule`].
            #[inline]
            pub(crate) fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
                match self {
                    $(Self::$name(state) => state.schedule(dests, flow),)+
                }
            }

            /// See [`State::register`].
            pub(crate) fn register(&self, dests: &[D]) {
                match self {
                    $(Self::$name(state) => state.register(dests),)+
                }
            }
        }
    };
}

schedulers! {
    rr::Rr,
    wrr::Wrr,
    lc::Lc,
    wlc::Wlc,
    sed::Sed,
    nq::Nq,
    dh::Dh,
    sh::Sh,
    mh::Mh,
    lblc::Lblc,
    lblcr::Lblcr,
    fo::Fo,
    ovf::Ovf,
    twos::Twos,
}

impl Kind {
    /// Whether the flags specific to schedulers mean something to this one.
    pub(crate) const fn uses_flags(self) -> bool {
        matches!(self, Self::Sh | Self::Mh)
    }
}

/// The index of the first dest, from index `from` on, for which `may_take` holds.
#[inline]
fn find<D>(dests: &[D], from: usize, may_take: impl Fn(&D) -> bool) -> Option<usize> {
    let index = dests.get(from..)?.iter().position(may_take)?;
    Some(from.wrapping_add(index))
}

/// The choice of sh and mh: the dest at index `home`, which the client's hash selects, if it is
/// available. If it is not, and the service has the fallback flag, the first available dest at the
/// indices `others`. `dests` are those that may own a bucket. An index `None` stands for a bucket
/// without an owner and ends the search.
#[inline]
fn home_or_fallback<D: Candidate>(
    dests: &[D],
    flow: &Flow<'_>,
    home: Option<usize>,
    mut others: impl Iterator<Item = Option<usize>>,
) -> Option<usize> {
    let is_available = |index: usize| dests.get(index).is_some_and(D::is_available);
    let home = home?;
    if is_available(home) {
        return Some(home);
    }
    if flow.flags & IP_VS_SVC_F_SCHED1 == 0 {
        return None;
    }
    // C makes the whole search for each packet, even if no dest is available.
    if !dests.iter().any(D::is_available) {
        return None;
    }
    others
        .find(|index| index.is_none_or(is_available))
        .flatten()
}

#[cfg(test)]
mod tests;
