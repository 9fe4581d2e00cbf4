// SPDX-License-Identifier: GPL-2.0

//! Conns: which dest a client's packets go to, and how far the two have come.
//!
//! C version: [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! # Vocabulary
//!
//! - A conn's *word* is its state's number, and flags that change with it: one atomic word, so
//!   that whoever changes the state also knows what to change in the dest's counts.
//! - A conn is *dead* once its word says so. It leaves the table then and no packet finds it.
//! - A conn may *control* others, which it outlives: the word counts them.
//! - A [*template*](template) is a conn that no packet belongs to, but which controls those of a
//!   client.
//!
//! # Expiry
//!
//! A packet stores the time and nothing else. The timer, when it fires, looks at what was stored
//! and fires again if the conn was used meanwhile. Otherwise it sets the word to dead, which fails
//! if a packet changed the state at that moment; a packet that comes later finds the word dead and
//! is treated as if no conn had been found. So each conn's part in the dest's counts is taken back
//! exactly once, by whoever made it dead.

mod control;
mod expiry;
pub(crate) mod table;
pub(crate) mod template;

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    dest::Dest,
    netns::Timeouts,
    oot::{
        sync::{
            impl_has_hash_links,
            impl_has_timer,
            HashLinks,
            Once,
            RcuArc,
            RcuHash,
            RcuRef,
            Timer,
            TimerCallback, //
        },
        time::{
            jiffies,
            HZ, //
        }, //
    },
    packet::{
        Packet,
        Ports, //
    },
    proto::{
        direction::Direction,
        tcp::states::{
            Event,
            Rules,
            State, //
        },
        Proto, //
    },
    uapi::*,
    xmit::Forward, //
};
use kernel::sync::{
    atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    barrier::smp_mb,
    rcu, //
};

/// A conn in the table, during an RCU read-side section.
pub(crate) type ConnRef<'g> = RcuRef<'g, Conn>;

/// The state's number.
const STATE: u64 = 0xff;
/// Not counted as active.
const INACTIVE: u64 = 0x100;
/// No packet from the dest has been seen.
const NO_OUTPUT: u64 = 0x200;
/// Gone.
const DEAD: u64 = 0x400;
/// A template that no client is to use any more.
const INVALID: u64 = 0x800;
/// One controlled conn, in the upper half of the word, which counts them (C: `n_control`).
const CONTROLLED: u64 = 1 << 32;

/// Beside the timeout of a UDP conn: no reply has been seen that its template waits for.
const UNANSWERED: u32 = 1 << 31;

/// Beside `IP_VS_CONN_F_*`: a template of a service by fwmark, which stands for its address.
const BY_FWMARK: u32 = 1 << 31;

/// How long a conn goes on whose time is over while it controls others.
const CONTROL_PERIOD: u32 = 60 * HZ as u32;

/// What a conn is made of.
pub(crate) struct Params<'a> {
    pub(crate) family: Family,
    pub(crate) proto: Proto,
    pub(crate) caddr: &'a Addr,
    pub(crate) cport: Port,
    pub(crate) vaddr: &'a Addr,
    pub(crate) vport: Port,
    /// The port of the dest, which may leave it to the client.
    pub(crate) dport: Port,
    pub(crate) fwmark: u32,
    /// `IP_VS_CONN_F_*`, beside those that the dest gives.
    pub(crate) flags: u32,
}

/// A conn. Times are in jiffies, of which 32 bits are kept.
#[repr(C)]
pub(crate) struct Conn {
    links: HashLinks<Self>,
    timer: Timer<Self>,
    pub(crate) caddr: Addr,
    pub(crate) vaddr: Addr,
    pub(crate) daddr: Addr,
    pub(crate) cport: Port,
    pub(crate) vport: Port,
    pub(crate) dport: Port,
    pub(crate) proto: Proto,
    pub(crate) family: Family,
    word: Atomic<u64>,
    /// When the last packet came.
    last_seen: Atomic<u32>,
    /// How long it may stay idle.
    timeout: Atomic<u32>,
    /// `IP_VS_CONN_F_*`, but for those in the word.
    flags: u32,
    pub(crate) fwmark: u32,
    pub(crate) dest: RcuArc<Dest>,
    /// The conn that controls it and counts it.
    control: Option<RcuArc<Conn>>,
}

impl Conn {
    /// A conn to `dest`, which does not count it yet.
    fn new(params: &Params<'_>, dest: RcuArc<Dest>, flags: u32) -> Self {
        let mut word = State::None as u64;
        if flags & IP_VS_CONN_F_INACTIVE != 0 {
            word |= INACTIVE;
        }
        if flags & IP_VS_CONN_F_NOOUTPUT != 0 {
            word |= NO_OUTPUT;
        }
        Self {
            links: HashLinks::new(),
            timer: Timer::new(),
            caddr: *params.caddr,
            vaddr: *params.vaddr,
            daddr: dest.addr,
            cport: params.cport,
            vport: params.vport,
            dport: params.dport,
            proto: params.proto,
            family: params.family,
            word: Atomic::new(word),
            last_seen: Atomic::new(now()),
            timeout: Atomic::new(0),
            flags,
            fwmark: params.fwmark,
            dest,
            control: None,
        }
    }

    /// A conn for one packet, which is in no table (C: `IP_VS_CONN_F_ONE_PACKET`).
    pub(crate) fn one_packet(params: &Params<'_>, dest: RcuArc<Dest>) -> Self {
        let flags = dest.conn_flags() | IP_VS_CONN_F_ONE_PACKET;
        Self::new(params, dest, flags)
    }

    /// The same under the control of `control`, which counts it already.
    fn controlled(self, control: RcuArc<Conn>) -> Self {
        let timeout = match self.proto {
            Proto::Udp => UNANSWERED,
            Proto::Tcp => 0,
        };
        Self {
            timeout: Atomic::new(timeout),
            control: Some(control),
            ..self
        }
    }

    /// How its packets reach the dest.
    #[inline(always)]
    pub(crate) fn forward(&self) -> Forward {
        Forward::of(self.flags)
    }

    /// Whether `packet` goes from its client to its service.
    #[inline(always)]
    fn is_in(&self, packet: &Packet, ports: &Ports) -> bool {
        self.cport == ports.source
            && self.vport == ports.dest
            && self.caddr == packet.saddr
            && self.vaddr == packet.daddr
            && self.proto as u8 == packet.protocol
            && self.family == packet.family
    }

    /// Whether `packet` goes from its dest, or from its service if the dest answers as that, to
    /// its client.
    #[inline(always)]
    fn is_out(&self, packet: &Packet, ports: &Ports) -> bool {
        let (saddr, sport) = match self.forward() {
            Forward::Masq => (&self.daddr, self.dport),
            _ => (&self.vaddr, self.vport),
        };
        self.cport == ports.dest
            && sport == ports.source
            && self.caddr == packet.daddr
            && *saddr == packet.saddr
            && self.proto as u8 == packet.protocol
            && self.family == packet.family
    }

    /// The state's number.
    pub(crate) fn state(&self) -> u8 {
        (self.word.read_once() & STATE) as u8
    }

    /// The name of the state (C: `ip_vs_state_name()`).
    pub(crate) fn state_name(&self) -> &'static str {
        if self.is_template() {
            template::state_name(self.state())
        } else {
            self.proto.state_name(self.state())
        }
    }

    /// The name of the protocol.
    pub(crate) fn proto_name(&self) -> &'static str {
        if self.flags & BY_FWMARK != 0 {
            "IP"
        } else {
            self.proto.name()
        }
    }

    /// The port of the dest as files show it.
    pub(crate) fn shown_dport(&self) -> Port {
        if self.word.read_once() & INVALID != 0 {
            template::NO_PORT
        } else {
            self.dport
        }
    }

    /// The time until it expires if no packet comes, in jiffies.
    pub(crate) fn expires_in(&self) -> u32 {
        expiry::left(now(), self.last_seen.read_once(), self.timeout())
    }

    /// How long it may stay idle, in jiffies.
    fn timeout(&self) -> u32 {
        let timeout = self.timeout.read_once();
        if self.is_template() {
            timeout
        } else {
            timeout & !UNANSWERED
        }
    }

    /// Whether a SYN on it means that the client has started anew (C: `is_new_conn_expected()`).
    pub(crate) fn is_reusable(&self, conn_reuse_mode: i32) -> bool {
        if self.control.is_some() || self.proto != Proto::Tcp || conn_reuse_mode == 0 {
            return false;
        }
        let word = self.word.read_once();
        match State::from_number((word & STATE) as u16) {
            Some(State::TimeWait | State::Close) => true,
            Some(State::FinWait) => conn_reuse_mode & 2 != 0 && word & NO_OUTPUT != 0,
            _ => false,
        }
    }

    /// Takes note of a packet. False if the conn is dead.
    #[inline(always)]
    pub(crate) fn touch(
        this: ConnRef<'_>,
        guard: &rcu::Guard,
        timeouts: &Timeouts,
        direction: Direction,
        ports: &Ports,
    ) -> bool {
        let now = now();
        if this.last_seen.read_once() != now {
            this.last_seen.write_once(now);
        }
        match (this.proto, ports.flags) {
            (Proto::Tcp, Some(flags)) => {
                Self::step(this, guard, timeouts, direction, Event::of(flags))
            }
            (Proto::Udp, _) => {
                Self::set_timeout(this, timeouts.udp(), direction);
                this.word.read_once() & DEAD == 0
            }
            // A TCP segment without its header changes nothing.
            (Proto::Tcp, None) => this.word.read_once() & DEAD == 0,
        }
    }

    /// The TCP state machine (C: `set_tcp_state()`). Writes only what changes.
    #[inline(always)]
    fn step(
        this: ConnRef<'_>,
        guard: &rcu::Guard,
        timeouts: &Timeouts,
        direction: Direction,
        event: Event,
    ) -> bool {
        let mut old = this.word.read_once();
        loop {
            if old & DEAD != 0 {
                return false;
            }
            let (new, state) = next_word(old, direction, event);
            if new == old {
                Self::set_timeout(this, timeouts.tcp(state), direction);
                return true;
            }
            match this.word.cmpxchg(old, new, Full) {
                Ok(_) => {
                    Self::stepped(this, guard, timeouts, old, new);
                    return true;
                }
                Err(now) => old = now,
            }
        }
    }

    /// The word has changed from `old` to `new`: so do the dest's counts and the timer.
    #[cold]
    fn stepped(this: ConnRef<'_>, guard: &rcu::Guard, timeouts: &Timeouts, old: u64, new: u64) {
        match (old & INACTIVE, new & INACTIVE) {
            (0, INACTIVE) => this.dest.conn_deactivated(guard),
            (INACTIVE, 0) => this.dest.conn_activated(guard),
            _ => (),
        }
        let mut word = new;
        loop {
            Self::set_timeout(this, timeouts.tcp(state_in(word)), Direction::Input);
            // The timeout of a later step, taken by another CPU, may have been overwritten.
            smp_mb(Full);
            let now = this.word.read_once();
            if (now ^ word) & STATE == 0 {
                break;
            }
            word = now;
        }
        if new & STATE == State::Established as u64 {
            this.assure();
        }
    }

    /// A packet has come: sets how long the conn may stay idle.
    #[inline(always)]
    fn set_timeout(this: ConnRef<'_>, timeout: u32, direction: Direction) {
        if this.timeout.read_once() != timeout {
            Self::change_timeout(this, timeout, direction);
        }
    }

    #[cold]
    fn change_timeout(this: ConnRef<'_>, timeout: u32, direction: Direction) {
        let old = this.timeout.read_once();
        let mut unanswered = old & UNANSWERED;
        if unanswered != 0 && direction == Direction::Output {
            this.assure();
            unanswered = 0;
        }
        let new = timeout | unanswered;
        if new == old {
            return;
        }
        // A shorter timeout must not wait for the timer of the longer one.
        let sooner = timeout < old & !UNANSWERED;
        this.timeout.write_once(new);
        if sooner {
            Timer::start(this, timeout as usize);
        }
    }

    /// Starts the timer of a new conn, and its dest's schedulers hear of it unless they have, when
    /// it became active.
    fn start(this: ConnRef<'_>, guard: &rcu::Guard) {
        if this.word.read_once() & INACTIVE != 0 {
            this.dest.conn_started(guard);
        }
        Timer::start(this, this.timeout() as usize);
    }

    /// Makes it dead and takes it out of the table. False if it was dead already.
    pub(crate) fn kill(this: ConnRef<'_>, guard: &rcu::Guard) -> bool {
        let mut old = this.word.read_once();
        loop {
            if old & DEAD != 0 {
                return false;
            }
            match this.word.cmpxchg(old, old | DEAD, Relaxed) {
                Ok(_) => break,
                Err(now) => old = now,
            }
        }
        Self::bury(this, guard, old);
        true
    }

    /// Takes a dead conn, whose word was `word`, out of the table and of the dest's counts.
    fn bury(this: ConnRef<'_>, guard: &rcu::Guard, word: u64) {
        let mut flags = this.flags & !IP_VS_CONN_F_INACTIVE;
        if word & INACTIVE != 0 {
            flags |= IP_VS_CONN_F_INACTIVE;
        }
        this.dest.conn_unbound(guard, flags);
        if let Some(control) = &this.control {
            control.uncontrol();
        }
        drop(RcuHash::unlink(this, guard));
    }
}

/// The state in a word.
#[inline(always)]
fn state_in(word: u64) -> State {
    State::from_number((word & STATE) as u16).unwrap_or(State::None)
}

/// The word, and the state in it, after `event`.
#[inline(always)]
fn next_word(old: u64, direction: Direction, event: Event) -> (u64, State) {
    let state = state_in(old);
    let next = Rules::Normal.next(direction.on_conn(old & NO_OUTPUT != 0), event, state);
    let mut new = old;
    if direction == Direction::Output {
        new &= !NO_OUTPUT;
    }
    if next != state {
        new = new & !(STATE | INACTIVE) | next as u64;
        if !next.is_active() {
            new |= INACTIVE;
        }
    }
    (new, next)
}

/// The 32 bits of the time that conns keep.
#[inline(always)]
fn now() -> u32 {
    jiffies() as u32
}

impl_has_hash_links! {
    impl HasHashLinks for Conn { self.links }
}

impl_has_timer! {
    impl HasTimer for Conn { self.timer }
}

impl TimerCallback for Conn {
    fn run(this: ConnRef<'_>, guard: &rcu::Guard) -> Option<usize> {
        let word = this.word.read_once();
        if word & DEAD != 0 {
            return None;
        }
        let left = expiry::left_to_timer(now(), this.last_seen.read_once(), this.timeout());
        if left != 0 {
            return Some(left as usize);
        }
        if this.is_in_control() {
            this.last_seen.write_once(now());
            this.timeout.write_once(CONTROL_PERIOD);
            return Some(CONTROL_PERIOD as usize);
        }
        if this.word.cmpxchg(word, word | DEAD, Relaxed).is_err() {
            // A packet changed the state, or a conn its number: it was used just now.
            return Some(1);
        }
        Self::bury(this, guard, word);
        None
    }
}
