// SPDX-License-Identifier: GPL-2.0

//! The life of a conn: its word, how long it may stay idle, and when its last packet came.
//!
//! Packets, the timer and the control plane change these at the same time, without a lock.
//!
//! # The word
//!
//! The word holds the state's number and the flags that change with it, so that the change of the
//! state also determines how the dest's counters change. The upper half counts the conns
//! that this one controls.
//!
//! # The timeout
//!
//! A timeout belongs to a state, but is a word of its own. Each CPU that writes it looks at the
//! state again behind a full barrier, and writes anew if another CPU has changed the state
//! meanwhile. The last write is thus that of the last state.
//!
//! # Expiry
//!
//! A packet stores the time, and reads the word after that. The timer marks the word as dying, and
//! reads the time after that; only if the time is the old one, the word becomes dead. A packet that
//! finds a dying conn takes the mark away, so that it does not die. Whichever of both comes first
//! wins, and each conn is taken out of the dest's counters exactly once, by the CPU that made it
//! dead. C decides the same by the conn's refcount.
//!
//! The packet's store and its read need a barrier between them, which is paid for only by a packet
//! that comes when the conn's time is nearly over.
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

/// The state's number.
const STATE: u64 = 0xff;
/// Not counted as active.
pub(super) const INACTIVE: u64 = 0x100;
/// No packet from the dest has been seen.
pub(super) const NO_OUTPUT: u64 = 0x200;
/// Out of the table.
const DEAD: u64 = 0x400;
/// A template that is not to be used for new conns any more.
const INVALID: u64 = 0x800;
/// The timer is about to make it dead.
const DYING: u64 = 0x1000;
/// One controlled conn, in the upper half of the word (C: `n_control`).
const CONTROLLED: u64 = 1 << 32;

/// Beside the timeout: the conn's template waits for a packet from the dest.
const UNANSWERED: u32 = 1 << 31;

/// The time, in jiffies, for which a conn whose time is over goes on while it controls others.
const CONTROL_PERIOD: u32 = 60 * HZ as u32;

/// A conn whose idle time comes as near as this to its timeout, in jiffies, may be expiring on
/// another CPU: a packet is not delayed for as long between reading the clock and the word.
const NEARLY_OVER: u32 = HZ as u32;

/// The word, the timeout and the time of the last packet. Times are in jiffies, of which 32 bits are
/// kept.
#[repr(C)]
pub(super) struct Life {
    word: Word,
    /// When the last packet came.
    last_seen: Word32,
    /// How long it may stay idle.
    timeout: Word32,
}

/// What a packet does to a conn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The conn is dead.
    Dead,
    /// The packet has no bearing on the state.
    Nothing,
    /// The word stays as it is, in this state.
    Same(u8),
    /// The word changes, to this state.
    Changed(Change),
}

/// A change of the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) old_state: u8,
    pub(super) new_state: u8,
    /// Whether the conn becomes active, or inactive, if it changes.
    pub(super) activity: Option<bool>,
}

/// What the timer does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nothing; the conn is dead already.
    Over,
    /// It fires again in so many jiffies.
    Again(u32),
    /// The conn is dead by it, and was or was not active.
    Died { was_inactive: bool },
}

/// What follows from a changed timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// The timer must fire in so many jiffies, sooner than it would.
    pub(super) sooner: Option<u32>,
    /// A packet from the dest came that the conn's template has waited for.
    pub(super) answered: bool,
}

impl Life {
    /// A life that begins now, with these flags of the word. If `is_unanswered`, its template waits
    /// for a packet from the dest.
    pub(super) fn new(flags: u64, now: u32, is_unanswered: bool) -> Self {
        Self {
            word: Word::new(flags),
            last_seen: Word32::new(now),
            timeout: Word32::new(if is_unanswered { UNANSWERED } else { 0 }),
        }
    }

    /// The first state, and its timeout, of a conn that is in no table yet.
    pub(super) fn begin(&self, state: u8, is_active: bool, timeout: u32) {
        let mut word = self.word.get() & !(STATE | INACTIVE) | u64::from(state);
        if !is_active {
            word |= INACTIVE;
        }
        self.word.set(word);
        self.timeout.set(timeout | self.timeout.get() & UNANSWERED);
    }

    /// The state's number.
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

    /// How long it may stay idle.
    pub(super) fn timeout(&self) -> u32 {
        self.timeout.get() & !UNANSWERED
    }

    /// How long a template may stay unused, which is kept in 32 bits.
    pub(super) fn lifetime(&self) -> u32 {
        self.timeout.get()
    }

    /// Sets the time that a template lives after its last use.
    pub(super) fn set_lifetime(&self, timeout: u32) {
        self.timeout.set(timeout);
    }

    /// What is left of `timeout`.
    pub(super) fn left(&self, now: u32, timeout: u32) -> u32 {
        expiry::left(now, self.last_seen.get(), timeout)
    }

    /// Stores that it was used.
    pub(super) fn renew(&self, now: u32) {
        self.last_seen.set(now);
    }

    /// Stores that a packet came; what reads the word next, reads it after that.
    #[inline(always)]
    pub(super) fn seen(&self, now: u32) {
        let last = self.last_seen.get();
        if last == now {
            // The word must not be read before the time that another CPU has just stored. On x86,
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

    /// The state, and whether there was no output, of a conn that neither is dead nor may be about
    /// to die.
    #[inline(always)]
    pub(super) fn settled_state(&self) -> Option<(u8, bool)> {
        let word = self.word.get();
        (word & (DEAD | DYING) == 0).then_some((state_in(word), word & NO_OUTPUT != 0))
    }

    /// Takes the state that `next` gives for a state, and for whether there was no output. Writes
    /// only if something changes.
    pub(super) fn step(
        &self,
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
                return match self.revive() {
                    true => Step::Nothing,
                    false => Step::Dead,
                };
            };
            let mut new = old & !DYING;
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
                Ok(()) => {
                    return Step::Changed(Change {
                        old_state: before,
                        new_state: next.state,
                        activity: ((old ^ new) & INACTIVE != 0).then_some(new & INACTIVE == 0),
                    })
                }
                Err(now) => old = now,
            }
        }
    }

    /// Keeps it from dying, if the timer has marked it. False if it is dead.
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

    /// Whether the timeout is this one, and a packet from the dest, if `is_output`, is not the one
    /// that the conn's template waits for.
    #[inline(always)]
    pub(super) fn has_timeout(&self, timeout: u32, is_output: bool) -> bool {
        let now = self.timeout.get();
        now == timeout || (!is_output && now == timeout | UNANSWERED)
    }

    /// Sets the timeout of `state`, or of the state that another CPU takes meanwhile, by
    /// `timeout_of`. `is_output` says that the packet is from the dest.
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
            // The timeout of a later state, set by another CPU, may have been overwritten.
            fence();
            let now = self.state();
            if now == state {
                return settled;
            }
            state = now;
        }
    }

    /// The timer has fired at the time `now`. `timeout` is how long it may stay idle.
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
            return Expiry::Again(CONTROL_PERIOD);
        }
        // If the word has changed, it was used just now: by a packet, or as a template.
        if !self.word.exchange(word, word | DYING) {
            return Expiry::Again(1);
        }
        match left() {
            0 if self.word.exchange(word | DYING, word & !DYING | DEAD) => Expiry::Died {
                was_inactive: word & INACTIVE != 0,
            },
            left => {
                self.revive();
                Expiry::Again(left.max(1))
            }
        }
    }

    /// Makes it dead, unless it is already, and returns whether it was inactive.
    pub(super) fn kill(&self) -> Option<bool> {
        let mut old = self.word.get();
        loop {
            if old & DEAD != 0 {
                return None;
            }
            match self.word.compare_exchange(old, old & !DYING | DEAD) {
                Ok(()) => return Some(old & INACTIVE != 0),
                Err(now) => old = now,
            }
        }
    }

    /// Counts a conn that this one is to control. False if this one is dead.
    pub(super) fn take_control(&self) -> bool {
        let mut old = self.word.get();
        loop {
            if old & DEAD != 0 {
                return false;
            }
            let new = (old & !DYING).wrapping_add(CONTROLLED);
            match self.word.compare_exchange(old, new) {
                Ok(()) => return true,
                Err(now) => old = now,
            }
        }
    }

    /// Counts one controlled conn less.
    pub(super) fn uncontrol(&self) {
        self.word.add(CONTROLLED.wrapping_neg());
    }

    /// Whether it controls a conn.
    pub(super) fn is_in_control(&self) -> bool {
        self.word.get() >= CONTROLLED
    }

    /// Marks a template as not to be used for new conns.
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

/// The state in a word.
#[inline(always)]
fn state_in(word: u64) -> u8 {
    (word & STATE) as u8
}

#[cfg(test)]
mod tests;
