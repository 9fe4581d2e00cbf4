// SPDX-License-Identifier: GPL-2.0

//! Conns in sync messages: sent by a master daemon, received by a backup daemon.
//!
//! C version: `ip_vs_sync_conn()`, `ip_vs_proc_conn()` [net/netfilter/ipvs/ip_vs_sync.c],
//! `ip_vs_bind_dest()`, `ip_vs_try_bind_dest()` [net/netfilter/ipvs/ip_vs_conn.c].

use super::{
    ext::Ext,
    forward,
    now,
    table::Received,
    Conn,
    ConnRef,
    Params,
    BY_FWMARK, //
};
use crate::{
    addr::Family,
    dest::Dest,
    oot::{
        sync::{
            Once,
            RcuRef,
            Timer, //
        },
        time::HZ, //
    },
    sync::{
        due::{
            Kind,
            Moment, //
        },
        master::{
            Manner,
            Master, //
        },
        message::{
            PeData,
            Record,
            Version, //
        },
    },
    sysctl::Sysctl,
    uapi::*,
    wire::seq::Seq, //
};
use kernel::sync::rcu;

/// The master.
impl Conn {
    /// Counts a packet to the dest. Returns its number, unless it is clear that neither the conn
    /// nor one that controls it is sent with it.
    #[inline(always)]
    pub(crate) fn count(&self, sysctl: &Sysctl) -> Option<i32> {
        let (packets, sent_state) = self.sent.count();
        let is_other = sent_state == self.life.state()
            && self.control.is_none()
            && sysctl.sync_policy().excludes(packets)
            && !(packets == 1 && sysctl.sync_early());
        (!is_other).then_some(packets)
    }

    /// Counts a packet and returns its number.
    pub(crate) fn count_any(&self) -> i32 {
        let (packets, _) = self.sent.count();
        packets
    }

    /// Queues the conn and those that control it to be sent, each if that is due with this packet
    /// (C: `ip_vs_sync_conn()`).
    #[cold]
    pub(crate) fn sync(&self, master: &Master, sysctl: &Sysctl, packets: i32) {
        let packets = match self.is_one_packet() {
            true => sysctl.sync_threshold(),
            false => packets,
        };
        let is_sent = self.is_due(sysctl, packets);
        if is_sent {
            self.push(master, sysctl);
        }
        if self.control.is_some() {
            self.sync_control(master, sysctl, is_sent);
        }
    }

    /// Queues a conn that is kept only because it controls others.
    pub(crate) fn sync_later(&self, master: &Master, sysctl: &Sysctl) {
        self.sync(master, sysctl, sysctl.sync_threshold());
    }

    /// Queues the conns that control this one. With version 0 of the messages, that is done only if
    /// this one `is_sent`.
    #[cold]
    fn sync_control(&self, master: &Master, sysctl: &Sysctl, is_sent: bool) {
        let (mut conn, mut is_sent) = (self, is_sent);
        while let Some(control) = &conn.control {
            if sysctl.sync_version() == 0 && !is_sent {
                return;
            }
            let packets = match control.is_template() {
                true => control.count_any(),
                false => sysctl.sync_threshold(),
            };
            is_sent = control.is_due(sysctl, packets);
            if is_sent {
                control.push(master, sysctl);
            }
            conn = control;
        }
    }

    /// Whether the conn is sent with this packet (C: `ip_vs_sync_conn_needed()`).
    fn is_due(&self, sysctl: &Sysctl, packets: i32) -> bool {
        let state = self.life.state();
        if !self.is_sent(sysctl, state) {
            return false;
        }
        let is_early = sysctl.sync_early();
        let kind = match self.is_template() {
            true => Kind::Template,
            false => Kind::Conn {
                state,
                is_established: self.proto.assures(state) && !is_early,
                is_first: is_early && packets == 1,
            },
        };
        if sysctl.sync_version() == 0 && self.family == Family::Inet6 {
            return false;
        }
        let moment = Moment {
            kind,
            packets,
            timeout: self.timeout(),
            now: now(),
        };
        self.sent.is_due(&sysctl.sync_policy(), moment)
    }

    /// Whether a conn in this state is sent at all.
    fn is_sent(&self, sysctl: &Sysctl, state: u8) -> bool {
        if self.is_template() {
            return true;
        }
        let is_of_template = || sysctl.sync_persist_mode() && self.is_in_persistence();
        (self.proto.is_sent(state) || sysctl.sync_early())
            && !self.is_one_packet()
            && !self.is_reserved()
            && !is_of_template()
    }

    /// The conn in an answer to a request for all conns; `None` if it is not sent.
    pub(crate) fn record_for_all<'g>(
        &'g self,
        sysctl: &Sysctl,
        guard: &'g rcu::Guard,
    ) -> Option<Record<'g>> {
        let idle = self.life.idle(now());
        let is_over = self.life.is_dead() || self.life.is_invalid() || idle >= self.timeout();
        if is_over || !self.is_sent(sysctl, self.life.state()) {
            return None;
        }
        Some(Record {
            idle: Some(jiffies_to_ms(idle)),
            ..self.record(guard)
        })
    }

    /// Whether a template controls the conn.
    fn is_in_persistence(&self) -> bool {
        let mut conn = self;
        while let Some(control) = &conn.control {
            if control.is_template() {
                return true;
            }
            conn = control;
        }
        false
    }

    /// Queues the conn to be sent.
    #[cold]
    fn push(&self, master: &Master, sysctl: &Sysctl) {
        let manner = Manner {
            version: Version::from_sysctl(sysctl.sync_version()),
            queue_max: sysctl.sync_qlen_max.read_once(),
            is_early: sysctl.sync_early(),
        };
        // All conns have the same size, which is at least this.
        let number = core::ptr::from_ref(self).addr() / size_of::<Self>();
        let guard = rcu::read_lock();
        master.push(number, &self.record(&guard), manner);
    }

    /// The conn as it is sent.
    fn record<'g>(&'g self, guard: &'g rcu::Guard) -> Record<'g> {
        let mut flags = self.flags_with(self.life.is_inactive()) & !IP_VS_CONN_F_NOOUTPUT;
        if self.life.has_no_output() {
            flags |= IP_VS_CONN_F_NOOUTPUT;
        }
        Record {
            family: self.family,
            protocol: match self.flags() & BY_FWMARK {
                0 => self.proto as u8,
                _ => 0,
            },
            flags: flags & IP_VS_CONN_F_SENT_MASK,
            state: self.life.state().into(),
            cport: self.cport,
            vport: self.vport,
            dport: self.shown_dport(),
            fwmark: self.fwmark,
            timeout: self.timeout() / HZ as u32,
            caddr: self.caddr,
            vaddr: self.vaddr,
            daddr: self.daddr,
            seq: self.sequences(guard),
            pe: self.pe(guard).map(|(engine, data)| PeData {
                name: engine.name().as_bytes(),
                data,
            }),
            local: self.local(guard).map(|(addr, port)| (*addr, port)),
            idle: None,
        }
    }
}

/// A time in milliseconds.
fn jiffies_to_ms(jiffies: u32) -> u32 {
    let ms = u64::from(jiffies).wrapping_mul(1000) / HZ as u64;
    ms.min(u32::MAX.into()) as u32
}

/// The backup.
impl Conn {
    /// Whether a sync message created the conn.
    pub(crate) fn is_received(&self) -> bool {
        self.flags() & IP_VS_CONN_F_SYNC != 0
    }

    /// Whether this is the conn from the client to the service in `params`.
    pub(super) fn is_for(&self, params: &Params<'_>) -> bool {
        self.cport == params.cport
            && self.vport == params.vport
            && self.caddr == *params.caddr
            && self.vaddr == *params.vaddr
            && self.proto == params.proto
            && self.family == params.family
    }

    /// The flags of a received conn that gets a dest: those that depend on the forwarding method
    /// become the dest's.
    pub(super) fn flags_when_bound(flags: u32, dest_flags: u32) -> u32 {
        let mut added = dest_flags & !IP_VS_CONN_F_ONE_PACKET;
        if flags & IP_VS_CONN_F_TEMPLATE == 0 {
            added &= !IP_VS_CONN_F_INACTIVE;
        }
        flags & !(IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_NOOUTPUT) | added
    }

    /// Sets the state and the timeout of a received conn that is not in the table yet.
    pub(super) fn begin_received(&self, received: Received, guard: &rcu::Guard) {
        let Received { state, .. } = received;
        if self.is_template() {
            self.life.set_state_bits(state);
        } else {
            self.life.receive(state, received.is_inactive);
        }
        self.set_received(received, guard);
    }

    fn set_received(&self, received: Received, guard: &rcu::Guard) {
        if (self.flags() ^ received.seq_flags) & IP_VS_CONN_F_SEQ_MASK != 0
            || received.seq.is_some()
        {
            self.set_sequences(received, guard);
        }
        match self.is_template() {
            true => self.life.set_lifetime(received.timeout),
            false => self.life.set_timeout(received.timeout),
        }
        self.life.renew(now().wrapping_sub(received.idle));
        self.sent.received(received.packets, received.state);
    }

    /// Updates the conn by a sync message, and starts its timer again. Returns false if the conn is
    /// dead.
    pub(crate) fn update(this: ConnRef<'_>, received: Received, guard: &rcu::Guard) -> bool {
        let is_inactive = match this.is_template() {
            // It is not counted by activity.
            true => this.life.is_inactive(),
            false => received.is_inactive,
        };
        let Some(change) = this.life.receive(received.state, is_inactive) else {
            return false;
        };
        this.count_activity(change, guard);
        this.set_received(received, guard);
        Self::start_timer(this);
        true
    }

    /// Sets the adjustments of sequence numbers. If memory is short, they are not set.
    #[cold]
    fn set_sequences(&self, received: Received, guard: &rcu::Guard) {
        if let Some(values) = received.seq {
            match self.ext.get(guard) {
                Some(ext) => ext.sequences.set(values),
                None => match Ext::of_sequences(values) {
                    Ok(ext) => drop(self.ext.replace(Some(ext))),
                    Err(_) => return,
                },
            }
        }
        self.flags
            .update(|flags| flags & !IP_VS_CONN_F_SEQ_MASK | received.seq_flags);
    }

    /// The adjustments of sequence numbers from the client and to it, if there is one.
    fn sequences(&self, guard: &rcu::Guard) -> Option<[Seq; 2]> {
        if self.flags() & IP_VS_CONN_F_SEQ_MASK == 0 {
            return None;
        }
        let ext = self.ext.get(guard);
        Some(ext.map_or([Seq::default(); 2], |ext| ext.sequences.get()))
    }

    /// The adjustment of sequence numbers from the client and of those to it.
    pub(crate) fn adjustments(&self, guard: &rcu::Guard) -> [Option<Seq>; 2] {
        let Some([from_client, to_client]) = self.sequences(guard) else {
            return [None; 2];
        };
        let flags = self.flags();
        let is_set = |flag| flags & flag != 0;
        [
            is_set(IP_VS_CONN_F_IN_SEQ).then_some(from_client),
            is_set(IP_VS_CONN_F_OUT_SEQ).then_some(to_client),
        ]
    }

    /// Lets the timer fire when the rest of the timeout is over.
    pub(crate) fn start_timer(this: ConnRef<'_>) {
        Timer::start(this, this.expires_in() as usize);
    }

    /// Whether there was no packet to the conn, and no message about it, within the last `idle`
    /// jiffies.
    pub(crate) fn is_idle_since(&self, idle: u32) -> bool {
        self.life.is_idle_for(now(), idle.saturating_add(1))
    }

    /// Whether the conn may get `dest`: both have NAT or neither, so that the number of hash links
    /// stays the same.
    pub(crate) fn may_be_bound(&self, dest: &Dest) -> bool {
        let is_nat = |flags| forward::number(flags) == IP_VS_CONN_F_MASQ;
        self.is_template() || is_nat(self.flags()) == is_nat(dest.conn_flags())
    }

    /// Whether the conn has no dest.
    pub(crate) fn is_unbound(&self) -> bool {
        self.life.is_unbound()
    }

    /// Gives a dest to a conn without one. Two CPUs must not do this at once.
    pub(crate) fn bind(this: ConnRef<'_>, dest: RcuRef<'_, Dest>, guard: &rcu::Guard) {
        let Some(held) = dest.upgrade() else {
            return;
        };
        let flags = Self::flags_when_bound(this.flags(), dest.conn_flags());
        // A packet that changes the state once the dest counts the conn must find the dest.
        drop(this.dest.replace(Some(held)));
        this.flags.set(flags);
        let no_output = flags & IP_VS_CONN_F_NOOUTPUT != 0;
        if let Some(is_inactive) = this.life.bind(no_output) {
            dest.conn_bound(guard, this.flags_with(is_inactive));
        }
    }
}
