// SPDX-License-Identifier: GPL-2.0

//! State transitions of a conn: the new state, its timeout, and the dest's counters.
//!
//! C version: `ip_vs_set_state()` [net/netfilter/ipvs/ip_vs_core.c], `set_tcp_state()`
//! [net/netfilter/ipvs/ip_vs_proto_tcp.c].

use super::{
    life::{
        Change,
        Step, //
    },
    now,
    Conn,
    ConnRef, //
};
use crate::{
    oot::{
        sync::Timer,
        time::HZ, //
    },
    proto::{
        direction::Direction,
        dispatch,
        Proto,
        ProtoData,
        Protocol,
        Signal,
        LISTEN, //
    },
};
use kernel::sync::rcu;

/// The timeout in jiffies of a conn until a packet sets its state (C: in `ip_vs_conn_new()`).
const FIRST_TIMEOUT: u32 = 3 * HZ as u32;

impl Conn {
    /// Updates the time of the last packet, the state and the timeout for a packet
    /// (C: `set_tcp_state()` and its counterparts). Writes only what changes. Returns false if the
    /// conn is dead. `proto` is the protocol of the conn, which is that of the packet.
    #[inline(always)]
    pub(crate) fn touch(
        this: ConnRef<'_>,
        proto: Proto,
        guard: &rcu::Guard,
        data: &ProtoData,
        direction: Direction,
        signal: Signal,
    ) -> bool {
        dispatch!(proto, P => Self::touch_by::<P>(this, guard, data, direction, signal))
    }

    #[inline(always)]
    fn touch_by<P: Protocol>(
        this: ConnRef<'_>,
        guard: &rcu::Guard,
        data: &ProtoData,
        direction: Direction,
        signal: Signal,
    ) -> bool {
        let is_output = direction == Direction::Output;
        this.life.seen(now());
        if let Some((state, no_output)) = this.life.settled_state(!is_output) {
            let (next, timeout) = P::quick(data, state, no_output, direction, signal);
            if matches!(next, Some(next) if next.is_same(state, no_output))
                && this.life.has_timeout(timeout, is_output)
            {
                return true;
            }
        }
        Self::step::<P>(this, guard, data, direction, signal)
    }

    /// As [`touch`](Self::touch), for a packet that has no effect on the state. The timeout stays.
    pub(crate) fn keep(this: ConnRef<'_>) -> bool {
        this.seen();
        let life = &this.life;
        life.settled_state(true).is_some() || life.step(true, |_, _| None, |_| false) != Step::Dead
    }

    /// The slow path of [`touch`](Self::touch), for a packet that may change the state or timeout.
    #[cold]
    fn step<P: Protocol>(
        this: ConnRef<'_>,
        guard: &rcu::Guard,
        data: &ProtoData,
        direction: Direction,
        signal: Signal,
    ) -> bool {
        let is_output = direction == Direction::Output;
        let step = this.life.step(
            !is_output,
            |state, no_output| P::next(data, state, no_output, direction, signal),
            P::is_active,
        );
        match step {
            Step::Dead => return false,
            Step::Nothing => (),
            Step::Same(state) if this.life.has_timeout(P::timeout(data, state), is_output) => (),
            Step::Same(state) => Self::settle(this, data, state, direction),
            Step::Changed(change) => Self::changed(this, guard, data, change, direction),
        }
        true
    }

    /// Updates the dest's counters and the timer after a change of the state.
    #[cold]
    fn changed(
        this: ConnRef<'_>,
        guard: &rcu::Guard,
        data: &ProtoData,
        change: Change,
        direction: Direction,
    ) {
        this.count_activity(change, guard);
        Self::settle(this, data, change.new_state, direction);
        if change.new_state != change.old_state {
            this.assure_by(change.new_state);
        }
    }

    /// Lets the dest count the conn as active or inactive from now on, if that has changed.
    pub(super) fn count_activity(&self, change: Change, guard: &rcu::Guard) {
        if let Some(dest) = self.dest.get(guard) {
            match change.activity {
                Some(true) => dest.conn_activated(guard),
                Some(false) => dest.conn_deactivated(guard),
                None => (),
            }
        }
    }

    /// Sets the timeout to that of `state`. Restarts the timer if the timeout gets shorter.
    #[cold]
    fn settle(this: ConnRef<'_>, data: &ProtoData, state: u8, direction: Direction) {
        let proto = this.proto;
        let is_output = direction == Direction::Output;
        let settled = this
            .life
            .settle(state, is_output, |state| proto.timeout(data, state));
        if settled.answered {
            this.assure();
        }
        if let Some(timeout) = settled.sooner {
            Timer::start(this, timeout as usize);
        }
    }

    /// Sets the state of a new conn for its first packet, which is from the client.
    pub(super) fn begin(&self, data: &ProtoData, signal: Signal) {
        let (proto, life) = (self.proto, &self.life);
        let input = Direction::Input;
        if let Some(next) = proto.next(data, life.state(), life.has_no_output(), input, signal) {
            let is_active = proto.is_active(next.state);
            life.begin(next.state, is_active, proto.timeout(data, next.state));
            self.assure_by(next.state);
        }
    }

    /// Sets the timeout of a new conn whose state is not known yet.
    pub(super) fn begin_without_state(&self) {
        let life = &self.life;
        life.begin(life.state(), !life.is_inactive(), FIRST_TIMEOUT);
    }

    /// Sets the state of a new conn for a connection that is announced, as
    /// [`listen`](Self::listen).
    pub(super) fn begin_listening(&self, data: &ProtoData) {
        self.resume(data, LISTEN, self.life.is_inactive());
    }

    /// Sets the state of a new conn to that of another one.
    pub(super) fn resume(&self, data: &ProtoData, state: u8, is_inactive: bool) {
        let timeout = self.proto.timeout(data, state);
        self.life.begin(state, !is_inactive, timeout);
    }

    /// Sets the state of a TCP conn when its connection is announced again
    /// (C: `ip_vs_tcp_conn_listen()`).
    pub(crate) fn listen(this: ConnRef<'_>, data: &ProtoData) {
        if this.life.set_state(LISTEN) {
            this.life.seen(now());
            Self::settle(this, data, LISTEN, Direction::Input);
        }
    }

    /// Assures the template, if a conn in `state` assures it.
    fn assure_by(&self, state: u8) {
        if self.proto.assures(state) {
            self.assure();
        }
    }
}
