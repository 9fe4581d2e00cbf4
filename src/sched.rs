// SPDX-License-Identifier: GPL-2.0

//! Schedulers: which dest of a service a new conn goes to.
//!
//! C version: `struct ip_vs_scheduler` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_sched.c].
//!
//! To add a scheduler: its file, and a line in [`schedulers!`] below.
//!
//! # Vocabulary
//!
//! - A scheduler's *state* is what it remembers between two choices; it lies beside the slice of
//!   dests it was built for, and both are replaced as one by RCU.
//! - A dest is *available* if its weight is above 0 and it is not overloaded.
//!
//! # Concurrency
//!
//! Any number of CPUs schedule at once, on the same state and without a lock. A sequence of choices
//! made by one CPU is C's, exactly. When several choose at once, the outcome is that of some order
//! of their choices, except where a scheduler's file says otherwise; and choices made while a
//! successor is being built may be forgotten by it.

pub(crate) mod locality;
mod tree;

use crate::addr::{Addr, Family, Port};
use crate::shim::{
    DestRef,
    Jiffies,
    NoMemory, //
};
use crate::uapi::{IP_VS_SVC_F_SCHED1, IP_VS_SVC_F_SCHED2};
use core::num::NonZeroU32;
use tree::Key;

pub(crate) use tree::Place;

/// What a scheduler sees of a dest.
///
/// Other CPUs change the figures at any time.
pub(crate) trait Candidate {
    /// The weight, 0 or more.
    fn weight(&self) -> i32;

    /// The weight it had when it was last above 0 in this service, or 0 if it never was (C:
    /// `last_weight`).
    fn last_weight(&self) -> i32;

    /// Whether the dest has reached its upper threshold and not yet fallen below the lower one
    /// (C: `IP_VS_DEST_F_OVERLOAD`).
    fn is_overloaded(&self) -> bool;

    /// The number of conns in an active state.
    fn active_conns(&self) -> i32;

    /// The number of all conns, active or not (C: `totalconns`).
    fn total_conns(&self) -> i32;

    fn addr(&self) -> Addr;

    fn port(&self) -> Port;

    /// Where it reports that its figures have changed.
    fn place(&self) -> &Place;

    /// What most schedulers go by, read one by one.
    #[inline]
    fn figures(&self) -> Figures {
        Figures {
            weight: self.weight(),
            is_overloaded: self.is_overloaded(),
            active: self.active_conns(),
            total: self.total_conns(),
        }
    }

    /// Whether a new conn may go there, as far as most schedulers are concerned.
    #[inline]
    fn is_available(&self) -> bool {
        !self.is_overloaded() && self.weight() > 0
    }
}

/// What a service has a list of.
pub(crate) trait Member: Candidate {
    /// A reference that outlasts the dest's place in the list.
    fn keep(&self) -> DestRef;
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
    /// Those of a dest that is not there.
    const NONE: Self = Self {
        weight: 0,
        is_overloaded: false,
        active: 0,
        total: 0,
    };

    /// The weight, if a new conn may go there.
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
        // A count read while it falls may be below 0 for a moment.
        self.active.max(0).unsigned_abs().into()
    }

    /// How much of the dest its conns take: an active one 257 times as much as an inactive one.
    ///
    /// C: `ip_vs_dest_conn_overhead()`; there more than 2^23 active conns overflow.
    #[inline]
    fn conn_overhead(&self) -> u64 {
        let total = u64::from(self.total.max(0).unsigned_abs());
        (self.active_conns() << 8).wrapping_add(total)
    }
}

/// What a scheduler may know of the packet that starts a conn.
///
/// A fragment without ports starts none.
pub(crate) struct Flow<'a> {
    /// The family of both addresses.
    pub(crate) family: Family,
    /// The client's address as the packet has it, not masked as a template's.
    pub(crate) caddr: &'a Addr,
    /// The client's port, 0 unless the protocol is TCP, UDP or SCTP.
    pub(crate) cport: Port,
    pub(crate) vaddr: &'a Addr,
    /// The virtual port, 0 unless the protocol is TCP, UDP or SCTP.
    pub(crate) vport: Port,
    /// Whether the packet goes from the virtual address to the client: it is one inside an ICMP
    /// error (C: `IP_VS_HDR_INVERSE`).
    pub(crate) is_inverse: bool,
    /// The service's flags, `IP_VS_SVC_F_*`. They come with each packet, since an edit changes them
    /// without a word to the scheduler.
    pub(crate) flags: u32,
}

impl Flow<'_> {
    /// The packet's destination address.
    #[inline]
    fn daddr(&self) -> &Addr {
        // C takes the header's word for it, even of the header inside an ICMP error.
        match self.is_inverse {
            true => self.caddr,
            false => self.vaddr,
        }
    }

    /// What sh and mh hash: the client's address and, if the service's flags say so, its port.
    #[inline]
    fn client(&self) -> u32 {
        let port = match self.flags & IP_VS_SVC_F_SCHED2 {
            0 => 0,
            _ => self.cport.host(),
        };
        self.caddr.fold(self.family).wrapping_add(u32::from(port))
    }
}

/// What has happened to a service's dests since its scheduler's state was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A dest was added, at the head of the list, where C adds it.
    Added,
    /// The dest that had this index was removed.
    Removed(usize),
    /// A dest was edited in place, its weight perhaps.
    Edited,
}

/// What a service fixes for its scheduler as long as it has it.
#[derive(Clone)]
pub(crate) struct Setup {
    /// The service's family; its dests may be of another.
    pub(crate) family: Family,
    /// The sysctls of these names.
    pub(crate) lblc_expiration: Jiffies,
    pub(crate) lblcr_expiration: Jiffies,
    /// What the module's parameters say.
    pub(crate) mh: mh::Settings,
}

/// Why a service cannot take up a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InitError {
    NoMemory,
    /// It has more dests than the scheduler can choose from (C: `-EINVAL`).
    TooManyDests,
}

impl From<NoMemory> for InitError {
    fn from(_: NoMemory) -> Self {
        Self::NoMemory
    }
}

/// A way to choose a dest; the type's values are its state for one service.
///
/// `dests` is always the slice of the service's dests in the order of C's list, newest first.
pub(crate) trait Scheduler: Sized {
    /// The name, as in `ipvsadm -s`.
    const NAME: &'static str;

    /// The state of a service which takes up this scheduler (C: `init_service`).
    fn new<D: Candidate>(setup: &Setup, dests: &[D]) -> Result<Self, InitError>;

    /// The state that succeeds this one after one `change` led to `dests` (C: `add_dest`,
    /// `del_dest`, `upd_dest`).
    ///
    /// The schedulers that can do so make it in constant time when a dest was added.
    fn rebuild<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory>;

    /// The index of the dest to take, or `None` if none can be.
    fn schedule<D: Member>(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize>;

    /// This state and `dests` have been published: tells the dests where to report changes of
    /// their figures, if the scheduler wants to know of them.
    fn settle<D: Candidate>(&self, dests: &[D]) {
        unsettle(dests);
    }

    /// How soon a dest with such figures is taken, if the scheduler keeps an [`tree::Order`].
    #[inline]
    fn key(_figures: &Figures) -> Key {
        Key::NEVER
    }

    /// Whether it looks for points in the sums of its order, beside the sum of all.
    const DRAWS: bool = false;

    /// What a dest with such figures adds to the sums of the scheduler's order, if it
    /// asks for them.
    #[inline]
    fn part(_figures: &Figures) -> Option<u64> {
        None
    }
}

/// Nobody wants to know of changes of the dests' figures any more.
pub(crate) fn unsettle<D: Candidate>(dests: &[D]) {
    for dest in dests {
        // All that are older are as this one is.
        if !dest.place().leave(dest) {
            return;
        }
    }
}

/// Takes in the schedulers' files and defines [`Kind`] and [`AnyScheduler`], with one variant for
/// each.
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
            /// The scheduler called `name`, as in `ipvsadm -s`, without a terminating NUL.
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

            /// How soon this scheduler takes a dest with such figures, if it keeps an order.
            #[inline]
            fn key(self, figures: &Figures) -> Key {
                match self {
                    $(Self::$name => <$name as Scheduler>::key(figures),)+
                }
            }

            /// Whether this scheduler looks for points in its sums.
            const fn draws(self) -> bool {
                match self {
                    $(Self::$name => <$name as Scheduler>::DRAWS,)+
                }
            }

            /// What a dest with such figures adds to this scheduler's sums, if it asks for them.
            #[inline]
            fn part(self, figures: &Figures) -> Option<u64> {
                match self {
                    $(Self::$name => <$name as Scheduler>::part(figures),)+
                }
            }
        }

        /// The state of a service's scheduler, whichever it is. See [`Scheduler`].
        pub(crate) enum AnyScheduler {
            $($name($name),)+
        }

        impl AnyScheduler {
            /// The state of a service which takes up the scheduler `kind`.
            pub(crate) fn new<D: Candidate>(
                kind: Kind,
                setup: &Setup,
                dests: &[D],
            ) -> Result<Self, InitError> {
                match kind {
                    $(Kind::$name => <$name as Scheduler>::new(setup, dests).map(Self::$name),)+
                }
            }

            /// Which scheduler it is.
            pub(crate) const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                }
            }

            /// The state that succeeds this one after one `change` led to `dests`.
            pub(crate) fn rebuild<D: Candidate>(
                &self,
                dests: &[D],
                change: Change,
            ) -> Result<Self, NoMemory> {
                match self {
                    $(Self::$name(state) => {
                        Scheduler::rebuild(state, dests, change).map(Self::$name)
                    })+
                }
            }

            /// The index of the dest to take, or `None` if none can be.
            #[inline]
            pub(crate) fn schedule<D: Member>(
                &self,
                dests: &[D],
                flow: &Flow<'_>,
            ) -> Option<usize> {
                match self {
                    $(Self::$name(state) => Scheduler::schedule(state, dests, flow),)+
                }
            }

            /// This state and `dests` have been published.
            pub(crate) fn settle<D: Candidate>(&self, dests: &[D]) {
                match self {
                    $(Self::$name(state) => Scheduler::settle(state, dests),)+
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

/// The index of the first dest from index `from` on which `may_take` accepts.
#[inline]
fn find<D>(dests: &[D], from: usize, may_take: impl Fn(&D) -> bool) -> Option<usize> {
    let index = dests.get(from..)?.iter().position(may_take)?;
    Some(from.wrapping_add(index))
}

/// The dest a client's hash leads to, at index `home`, if it is available. If not, and the service's
/// flags say so, the first available one at the indices `others`. `None` ends the search: a slot
/// of the table that no dest owns. `dests` are those that may own one.
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
    // A long search for what there is not can be spared; C makes it for each packet.
    if !dests.iter().any(D::is_available) {
        return None;
    }
    others
        .find(|index| index.is_none_or(is_available))
        .flatten()
}

#[cfg(test)]
mod tests;
