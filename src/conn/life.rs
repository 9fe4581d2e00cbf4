// SPDX-License-Identifier: GPL-2.0

//! The life of a conn: the state word, the timeout, and the time of the last packet.
//!
//! Packets, the timer and the control plane change these concurrently, without a lock.
//!
//! # The word
//!
//! The word holds the number of the state and the flags that change with the state. So one atomic
//! operation changes the state and determines the change of the dest's counters. The upper half
//! counts the conns that this one controls.
//!
//! The word also counts the first packets from the client, for `drop_entry`. Once there were
//! [`COUNTED`], the word does not change any more, so that a packet need not write it.
//!
//! # The timeout
//!
//! The timeout depends on the state, but is a separate word. A CPU that writes the timeout reads
//! the state again after a full barrier. If another CPU has changed the state, it writes the
//! timeout of the new state. So the last timeout that is written is that of the last state.
//!
//! # Expiry
//!
//! A packet stores the time and then reads the word. The timer sets the flag [`DYING`] in the word
//! and then reads the time. It sets [`DEAD`] only if the time has not changed. A packet that finds
//! [`DYING`] clears it, so that the conn does not expire. The first of the two succeeds. Each conn
//! is removed from the dest's counters exactly once, by the CPU that set [`DEAD`]. C uses the
//! conn's refcount for this decision.
//!
//! The packet needs a barrier between its store and its read. Only a packet that arrives when the
//! timeout is nearly over executes the barrier.
//!
//! C version: `ip_vs_conn_expire()` [net/netfilter/ipvs/ip_vs_conn.c].

use super::expiry;
use crate::{
    proto::Next,
    shim::{
        fence,
        Word,
        Word32,
        HZ, //
    },
};

/// The number of the state.
const STATE: u64 = 0xff;
/// The conn is not counted as active (C: `IP_VS_CONN_F_INACTIVE`).
pub(super) const INACTIVE: u64 = 0x100;
/// No packet from the dest has arrived yet (C: `IP_VS_CONN_F_NOOUTPUT`).
pub(super) const NO_OUTPUT: u64 = 0x200;
/// The conn is dead: it is removed from the table, or about to be.
const DEAD: u64 = 0x400;
/// The template must not be used for new conns.
const INVALID: u64 = 0x800;
/// The timer is about to set [`DEAD`].
const DYING: u64 = 0x1000;
/// How many packets from the client are still to be counted, in units of [`ONE`].
const COUNTING: u64 = 0xf << 16;
/// One packet that is still to be counted.
const ONE: u64 = 1 << 16;
/// No dest counts the conn.
pub(super) const UNBOUND: u64 = 0x2000;
/// One controlled conn, in the upper half of the word (C: `n_control`).
const CONTROLLED: u64 = 1 << 32;

/// The maximum of the count of packets from the client (C: `in_pkts`). It stands for any higher
/// number.
pub(super) const COUNTED: u8 = 9;

/// A flag in the word of the timeout: the first packet from the dest will assure the template.
const UNANSWERED: u32 = 1 << 31;

/// The new timeout, in jiffies, of a conn that would expire but still controls others.
const CONTROL_PERIOD: u32 = 60 * HZ as u32;

/// If the idle time of a conn is within this many jiffies of its timeout, the conn may be expiring
/// on another CPU. A packet is never delayed for so long between its reads of the clock and of the
/// word.
const NEARLY_OVER: u32 = HZ as u32;

/// The word, the timeout and the time of the last packet. Times are the low 32 bits of jiffies.
#[repr(C)]
pub(super) struct Life {
    word: Word,
    /// The time of the last packet.
    last_seen: Word32,
    /// The idle timeout, with the flag [`UNANSWERED`] except for templates.
    timeout: Word32,
}

/// The effect of a packet on a conn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The conn is dead.
    Dead,
    /// The packet does not affect the state.
    Nothing,
    /// The word does not change, except for the number of packets. This is the state.
    Same(u8),
    /// The word has changed.
    Changed(Change),
}

/// A change of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) old_state: u8,
    pub(super) new_state: u8,
    /// Whether the dest must count the conn as active (true) or inactive (false) from now on;
    /// `None` if neither.
    pub(super) activity: Option<bool>,
}

/// The end of a conn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Death {
    pub(super) was_inactive: bool,
    /// Whether the dest counts the conn.
    pub(super) was_bound: bool,
}

impl Death {
    /// The end of a conn with this word.
    fn of(word: u64) -> Self {
        Self {
            was_inactive: word & INACTIVE != 0,
            was_bound: word & UNBOUND == 0,
        }
    }
}

/// The result of the timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// The conn was dead already.
    Over,
    /// The timer must fire again after this many jiffies.
    Again(u32),
    /// The same, for a conn that is kept only because it controls others.
    Controls(u32),
    /// The timer has made the conn dead.
    Died(Death),
}

/// The result of [`Life::settle`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// The timer must be restarted, to fire after this many jiffies.
    pub(super) sooner: Option<u32>,
    /// The packet is the first one from the dest and must assure the template.
    pub(super) answered: bool,
}

impl Life {
    /// A life that starts at `now`, with these flags in the word. If `is_unanswered`, the first
    /// packet from the dest will assure the template.
    pub(super) fn new(flags: u64, now: u32, is_unanswered: bool) -> Self {
        Self {
            word: Word::new(flags),
            last_seen: Word32::new(now),
            timeout: Word32::new(if is_unanswered { UNANSWERED } else { 0 }),
        }
    }

    /// Sets the first state and its timeout, while the conn is not in the table yet, and counts the
    /// first packet.
    pub(super) fn begin(&self, state: u8, is_active: bool, timeout: u32) {
        let mut word = self.word.get() & !(STATE | INACTIVE) | u64::from(state);
        word |= to_count(1);
        if !is_active {
            word |= INACTIVE;
        }
        self.word.set(word);
        self.timeout.set(timeout | self.timeout.get() & UNANSWERED);
    }

    /// The number of the state.
    pub(super) fn state(&self) -> u8 {
        state_in(self.word.get())
    }

    pub(super) fn has_no_output(&self) -> bool {
        self.word.get() & NO_OUTPUT != 0
    }

    pub(super) fn is_inactive(&self) -> bool {
        self.word.get() & INACTIVE != 0
    }

    pub(super) fn is_invalid(&self) -> bool {
        self.word.get() & INVALID != 0
    }

    pub(super) fn is_usable(&self) -> bool {
        self.word.get() & (INVALID | DEAD) == 0
    }

    pub(super) fn is_dead(&self) -> bool {
        self.word.get() & DEAD != 0
    }

    /// The idle timeout in jiffies, for a conn that is not a template.
    pub(super) fn timeout(&self) -> u32 {
        self.timeout.get() & !UNANSWERED
    }

    /// The timeout of a template in jiffies, which uses all 32 bits.
    pub(super) fn lifetime(&self) -> u32 {
        self.timeout.get()
    }

    /// Sets the timeout of a template, in jiffies.
    pub(super) fn set_lifetime(&self, timeout: u32) {
        self.timeout.set(timeout);
    }

    /// Sets the timeout of a template, in jiffies, while it is not in the table yet. There was no
    /// packet.
    pub(super) fn begin_template(&self, timeout: u32) {
        self.word.set(self.word.get() | to_count(0));
        self.set_lifetime(timeout);
    }

    /// The number of packets from the client, up to [`COUNTED`].
    pub(super) fn packets(&self) -> u8 {
        COUNTED.saturating_sub((self.word.get() & COUNTING).wrapping_div(ONE) as u8)
    }

    /// Counts a packet that does not affect the state.
    #[cold]
    pub(super) fn count(&self) {
        let mut old = self.word.get();
        while old & COUNTING != 0 {
            match self.word.compare_exchange(old, counted(old)) {
                Ok(()) => return,
                Err(now) => old = now,
            }
        }
    }

    /// Whether no packet has arrived for at least this time, in jiffies.
    pub(super) fn is_idle_for(&self, now: u32, time: u32) -> bool {
        expiry::left(now, self.last_seen.get(), time) == 0
    }

    /// The time since the last packet, in jiffies.
    pub(super) fn idle(&self, now: u32) -> u32 {
        // A packet may have arrived after `now`.
        (now.wrapping_sub(self.last_seen.get()) as i32).max(0) as u32
    }

    /// The rest of `timeout` at the time `now`, in jiffies.
    pub(super) fn left(&self, now: u32, timeout: u32) -> u32 {
        expiry::left(now, self.last_seen.get(), timeout)
    }

    /// Stores the time of the last use of a template or of the last sync message.
    pub(super) fn renew(&self, now: u32) {
        self.last_seen.set(now);
    }

    /// Stores the time of a packet. A later read of the word is ordered after the store.
    #[inline(always)]
    pub(super) fn seen(&self, now: u32) {
        let last = self.last_seen.get();
        if last == now {
            // Another CPU has just stored the time, and the word must be read after it. On x86,
            // loads are not reordered.
            #[cfg(not(CONFIG_X86))]
            fence();
            return;
        }
        self.last_seen.set(now);
        let idle = now.wrapping_sub(last).wrapping_add(NEARLY_OVER);
        if idle >= self.timeout.get() & !UNANSWERED {
            fence();
        }
    }

    /// The state, and whether [`NO_OUTPUT`] is set. `None` if the conn is dead or dying, or if the
    /// packet is to be counted. `is_input`: the packet is from the client.
    #[inline(always)]
    pub(super) fn settled_state(&self, is_input: bool) -> Option<(u8, bool)> {
        let word = self.word.get();
        let unsettled = match is_input {
            true => DEAD | DYING | COUNTING,
            false => DEAD | DYING,
        };
        (word & unsettled == 0).then_some((state_in(word), word & NO_OUTPUT != 0))
    }

    /// Changes the state to the one that `next` returns for the current state and [`NO_OUTPUT`].
    /// Counts the packet if it is from the client (`is_input`). Writes only if something changes.
    pub(super) fn step(
        &self,
        is_input: bool,
        next: impl Fn(u8, bool) -> Option<Next>,
        is_active: impl Fn(u8) -> bool,
    ) -> Step {
        let mut old = self.word.get();
        loop {
            if old & DEAD != 0 {
                return Step::Dead;
            }
            let before = state_in(old);
            let Some(next) = next(before, old & NO_OUTPUT != 0) else {
                if is_input {
                    self.count();
                }
                return match self.revive() {
                    true => Step::Nothing,
                    false => Step::Dead,
                };
            };
            let mut new = old & !DYING;
            if is_input {
                new = counted(new);
            }
            if next.has_output {
                new &= !NO_OUTPUT;
            }
            if next.state != before {
                new = new & !(STATE | INACTIVE) | u64::from(next.state);
                if !is_active(next.state) {
                    new |= INACTIVE;
                }
            }
            if new == old {
                return Step::Same(next.state);
            }
            match self.word.compare_exchange(old, new) {
                Ok(()) if (old ^ new) & !COUNTING == 0 => return Step::Same(next.state),
                Ok(()) => {
                    return Step::Changed(Change {
                        old_state: before,
                        new_state: next.state,
                        activity: activity(old, new),
                    })
                }
                Err(now) => old = now,
            }
        }
    }

    /// Clears [`DYING`]. Returns false if the conn is dead.
    #[cold]
    fn revive(&self) -> bool {
        let mut old = self.word.get();
        while old & (DEAD | DYING) == DYING {
            match self.word.compare_exchange(old, old & !DYING) {
                Ok(()) => return true,
                Err(now) => old = now,
            }
        }
        old & DEAD == 0
    }

    /// Whether [`settle`](Self::settle) would change nothing: the timeout is this one, and the
    /// packet is not the first one from the dest. `is_output`: the packet is from the dest.
    #[inline(always)]
    pub(super) fn has_timeout(&self, timeout: u32, is_output: bool) -> bool {
        let now = self.timeout.get();
        now == timeout || (!is_output && now == timeout | UNANSWERED)
    }

    /// Sets the timeout to that of `state` or, if another CPU changes the state meanwhile, of the
    /// new state. `is_output`: the packet is from the dest.
    #[cold]
    pub(super) fn settle(
        &self,
        mut state: u8,
        is_output: bool,
        timeout_of: impl Fn(u8) -> u32,
    ) -> Settled {
        let mut settled = Settled::default();
        loop {
            let old = self.timeout.get();
            let timeout = timeout_of(state);
            let mut unanswered = old & UNANSWERED;
            if unanswered != 0 && is_output {
                settled.answered = true;
                unanswered = 0;
            }
            if timeout | unanswered != old {
                self.timeout.set(timeout | unanswered);
                if timeout < old & !UNANSWERED {
                    settled.sooner = Some(timeout);
                }
            }
            // This may have overwritten the timeout that another CPU set for a later state.
            fence();
            let now = self.state();
            if now == state {
                return settled;
            }
            state = now;
        }
    }

    /// Handles the timer, which has fired at the time `now`. `timeout` is the idle timeout.
    pub(super) fn fired(&self, now: u32, timeout: u32) -> Expiry {
        let word = self.word.get();
        if word & DEAD != 0 {
            return Expiry::Over;
        }
        let left = || expiry::left_to_timer(now, self.last_seen.get(), timeout);
        match left() {
            0 => (),
            left => return Expiry::Again(left),
        }
        if word >= CONTROLLED {
            self.last_seen.set(now);
            self.timeout.set(CONTROL_PERIOD);
            return Expiry::Controls(CONTROL_PERIOD);
        }
        // If the word has changed, the conn was just used: by a packet, or as a template.
        if !self.word.exchange(word, word | DYING) {
            return Expiry::Again(1);
        }
        match left() {
            0 if self.word.exchange(word | DYING, word & !DYING | DEAD) => {
                Expiry::Died(Death::of(word))
            }
            left => {
                self.revive();
                Expiry::Again(left.max(1))
            }
        }
    }

    /// Sets [`DEAD`]. `None` if the conn was dead already.
    pub(super) fn kill(&self) -> Option<Death> {
        let (old, _) = self.change(|old| old | DEAD)?;
        Some(Death::of(old))
    }

    /// Sets the state and whether the conn is inactive, as received. `None` if the conn is dead.
    pub(super) fn receive(&self, state: u8, is_inactive: bool) -> Option<Change> {
        let (old, new) = self.change(|old| {
            let new = old & !(STATE | INACTIVE) | u64::from(state);
            new | if is_inactive { INACTIVE } else { 0 }
        })?;
        Some(Change {
            old_state: state_in(old),
            new_state: state,
            activity: activity(old, new),
        })
    }

    /// Clears [`UNBOUND`] and sets [`NO_OUTPUT`] if `no_output`, when the conn gets a dest. Returns
    /// whether the conn is inactive; `None` if it is dead.
    pub(super) fn bind(&self, no_output: bool) -> Option<bool> {
        let (old, _) = self.change(|old| {
            let new = old & !(UNBOUND | NO_OUTPUT);
            new | if no_output { NO_OUTPUT } else { 0 }
        })?;
        Some(old & INACTIVE != 0)
    }

    /// Changes the word of a conn that is used: clears [`DYING`]. Returns the old word and the new
    /// one; `None` if the conn is dead.
    fn change(&self, new_of: impl Fn(u64) -> u64) -> Option<(u64, u64)> {
        let mut old = self.word.get();
        while old & DEAD == 0 {
            let new = new_of(old & !DYING);
            match self.word.compare_exchange(old, new) {
                Ok(()) => return Some((old, new)),
                Err(now) => old = now,
            }
        }
        None
    }

    /// Sets the timeout of a received conn that is not a template, in jiffies.
    pub(super) fn set_timeout(&self, timeout: u32) {
        self.timeout
            .set(timeout.min(!UNANSWERED) | self.timeout.get() & UNANSWERED);
    }

    /// Whether no dest counts the conn.
    pub(super) fn is_unbound(&self) -> bool {
        self.word.get() & UNBOUND != 0
    }

    /// Counts a conn that this one is to control. Returns false if this one is dead.
    pub(super) fn take_control(&self) -> bool {
        self.change(|old| old.wrapping_add(CONTROLLED)).is_some()
    }

    /// Subtracts a controlled conn from the count.
    pub(super) fn uncontrol(&self) {
        self.word.add(CONTROLLED.wrapping_neg());
    }

    /// Whether this conn controls others.
    pub(super) fn is_in_control(&self) -> bool {
        self.word.get() >= CONTROLLED
    }

    /// Sets the state, without a change of the activity. Returns false if the conn is dead.
    pub(super) fn set_state(&self, state: u8) -> bool {
        self.change(|old| old & !STATE | u64::from(state)).is_some()
    }

    /// Makes a template unusable for new conns.
    pub(super) fn invalidate(&self) {
        self.set_bits(INVALID);
    }

    /// Sets bits of the state of a template.
    pub(super) fn set_state_bits(&self, bits: u8) {
        self.set_bits(bits.into());
    }

    fn set_bits(&self, bits: u64) {
        let mut old = self.word.get();
        while old & bits != bits {
            match self.word.compare_exchange(old, old | bits) {
                Ok(()) => return,
                Err(now) => old = now,
            }
        }
    }
}

/// Whether a dest must count the conn as active or inactive after a change of the word.
fn activity(old: u64, new: u64) -> Option<bool> {
    ((old ^ new) & INACTIVE != 0 && new & UNBOUND == 0).then_some(new & INACTIVE == 0)
}

/// The state in a word.
#[inline(always)]
fn state_in(word: u64) -> u8 {
    (word & STATE) as u8
}

/// The bits of a word in which this number of packets is counted.
fn to_count(packets: u8) -> u64 {
    u64::from(COUNTED.saturating_sub(packets)).wrapping_mul(ONE)
}

/// The word after one more packet from the client.
#[inline(always)]
fn counted(word: u64) -> u64 {
    match word & COUNTING {
        0 => word,
        _ => word.wrapping_sub(ONE),
    }
}

#[cfg(test)]
mod tests;
