// SPDX-License-Identifier: GPL-2.0

//! Full resync: a director asks the others for all of their conns when a daemon of it starts.
//!
//! C has no way to ask: a backup that starts late, and a repaired director that takes over again,
//! know a conn only once the master sends it for another reason.
//!
//! A director sends a [request](super::message::Notice) to the group. One of those that have conns
//! answers, master or backup. The conns of an answer are ordinary ones of version 1, each with the
//! time since its last packet. A receiver that has had a later packet, or message, of a conn keeps
//! the conn as it is. C's daemons ignore requests, and what is added to answers: see
//! [`notice`](super::message). So a backup that runs C takes the conns of an answer as any others.
//!
//! The first thread of each daemon does this beside its other work. It reads the conn table in
//! small parts, each in its own RCU read-side critical section, and sleeps between them. No packet
//! waits for it. A master, which receives nothing in C, listens to the group as a backup does.
//!
//! The sysctl `sync_resync` switches both requests and answers off.

mod answer;
mod ask;

use super::{
    config::{
        Config,
        Role, //
    },
    message::{
        Message,
        Notice,
        Record,
        Records,
        Request, //
    },
    socket,
    Receive,
    State,
    Via, //
};
use crate::{
    oot::{
        kthread::Current,
        net::{
            namespace::NetRef,
            socket::UdpSocket, //
        },
        time::{
            jiffies,
            HZ, //
        },
    },
    shim::random_u64, //
};
pub(crate) use answer::Place;
use answer::{
    Answer,
    Answering, //
};
use ask::{
    Asking,
    Next, //
};
use kernel::prelude::*;

/// The maximum length of a part in bytes. It fits into an Ethernet frame.
const MAX_PART: u16 = 1452;
/// The number of messages that a master receives at once.
const MAX_MESSAGES: usize = 256;
/// A backup that has received nothing for this time, in jiffies, and then receives a message asks
/// again: it may have been cut off.
const SILENCE: u32 = 10 * HZ as u32;
/// But not more often than in this time, in jiffies.
const ASK_AGAIN: u32 = 600 * HZ as u32;

/// A reference to a network namespace, whose conns are sent.
pub(crate) trait Provide: NetRef + Clone {
    /// The state of the daemons.
    fn state(&self) -> &State;

    /// The sysctl `sync_resync`.
    fn is_resync_on(&self) -> bool;

    /// The number of conns and templates.
    fn len(&self) -> usize;

    /// Calls `act` with conns from the position `place` on, a limited number, until it returns
    /// false. Returns the position of the first conn for which it was not called, or for which it
    /// returned false; `None` at the end.
    fn provide(&self, place: Place, act: &mut dyn FnMut(&Record<'_>) -> bool) -> Option<Place>;
}

/// The resync of a daemon.
pub(super) struct Peer<N: Receive> {
    netns: N,
    config: Config,
    via: Via,
    role: Role,
    asking: Option<Asking>,
    answering: Answering,
    /// The next part of the answer.
    part: Option<Message>,
    /// Open while there is something to send.
    socket: Option<UdpSocket<N>>,
    /// When a message was last received, and when requests last began for this reason.
    heard_at: u32,
    asked_at: Option<u32>,
}

impl<N: Receive> Peer<N> {
    /// Begins to ask, unless the sysctl forbids it.
    pub(super) fn new(netns: N, config: &Config, via: &Via, role: Role) -> Self {
        let now = now();
        Self {
            asking: netns.is_resync_on().then(|| Asking::new(now, random_u64())),
            netns,
            config: *config,
            via: *via,
            role,
            answering: Answering::new(now),
            part: None,
            socket: None,
            heard_at: now,
            asked_at: None,
        }
    }

    /// Whether another daemon of this namespace, on the same group, does what this one would do.
    fn is_other_daemon_for(&self, role: Role) -> bool {
        self.role != role && self.netns.state().is_shared()
    }

    /// Handles a received message. A backup adds its conns; a master those that it asks for.
    pub(super) fn handle(&mut self, message: &[u8]) {
        let is_wanted = |record: &Record<'_>| match self.role {
            Role::Backup => true,
            Role::Master => record.idle.is_some() && self.asking.is_some(),
        };
        let mut records = Records::of(message, self.config.sync_id, N::states);
        for record in records.by_ref() {
            if is_wanted(&record) {
                self.netns.receive(&record);
            }
        }
        let now = now();
        match records.notice() {
            Some(Notice::Request(request)) => self.requested(request, now),
            Some(Notice::Part(part)) => {
                if let Some(asking) = &mut self.asking {
                    asking.heard(&part, now);
                }
                self.answering.heard(&part, total(&self.netns));
            }
            None if self.role == Role::Backup => self.heard(now),
            None => (),
        }
    }

    /// Asks if there was silence before the message that was just received.
    fn heard(&mut self, now: u32) {
        let is_late = now.wrapping_sub(self.heard_at) >= SILENCE;
        self.heard_at = now;
        let has_just_asked = self
            .asked_at
            .is_some_and(|at| now.wrapping_sub(at) < ASK_AGAIN);
        if is_late && !has_just_asked && self.netns.is_resync_on() {
            self.asked_at = Some(now);
            self.asking = Some(Asking::new(now, random_u64()));
        }
    }

    fn requested(&mut self, request: Request, now: u32) {
        let is_own = self.asking.as_ref().is_some_and(|it| it.is(request.number));
        if is_own || self.is_other_daemon_for(Role::Master) || !self.netns.is_resync_on() {
            return;
        }
        let is_master = self.role == Role::Master;
        self.answering
            .requested(request, is_master, random_u64(), now);
    }

    /// Sends what is due. Returns the number of jiffies after which to call this again; `None` if
    /// that is not necessary before the next message.
    pub(super) fn step(&mut self, current: &Current) -> Option<usize> {
        let now = now();
        let ask = self.ask(current, now);
        let answer = self.answer(current, now);
        let wait = [ask, answer].into_iter().flatten().min();
        if wait.is_none() {
            self.socket = None;
        }
        wait.map(|wait| wait as usize)
    }

    fn ask(&mut self, current: &Current, now: u32) -> Option<u32> {
        if self.is_other_daemon_for(Role::Backup) {
            self.asking = None;
        }
        let mut next = self.asking.as_mut()?.next(now);
        if let Next::Request(request) = next {
            let message = Message::request(self.config.sync_id, request);
            if let (Some(socket), Ok(message)) = (self.open(), message) {
                send(socket, current, message.bytes());
            }
            next = self.asking.as_mut()?.next(now);
        }
        match next {
            Next::Wait(wait) => Some(wait),
            _ => {
                self.asking = None;
                None
            }
        }
    }

    fn answer(&mut self, current: &Current, now: u32) -> Option<u32> {
        let wait = self.answering.wait(now)?;
        self.answering.begin(total(&self.netns), random_u64(), now);
        self.open();
        let Self {
            netns,
            config,
            answering,
            part,
            socket,
            ..
        } = self;
        let Some(answer) = &mut answering.answer else {
            return Some(wait);
        };
        let is_over = match socket {
            Some(socket) => !send_conns(netns, config, current, socket, answer, part, now),
            None => true,
        };
        if is_over {
            self.part = None;
            self.answering.end(now);
        }
        self.answering.wait(now)
    }

    /// The socket for sending; `None` if it cannot be opened.
    fn open(&mut self) -> Option<&UdpSocket<N>> {
        if self.socket.is_none() {
            self.socket = socket::asking(self.netns.clone(), &self.via, &self.config).ok();
        }
        self.socket.as_ref()
    }
}

/// Sends as many conns as are due now. Returns false at the end of the answer, or if memory is
/// short: then the director that has asked asks again.
fn send_conns<N: Receive>(
    netns: &N,
    config: &Config,
    current: &Current,
    socket: &UdpSocket<N>,
    answer: &mut Answer,
    part: &mut Option<Message>,
    now: u32,
) -> bool {
    let mut budget = answer.budget(now);
    let maxlen = config.maxlen.min(MAX_PART).into();
    while budget > 0 && !current.should_stop() {
        let (mut is_full, mut has_memory) = (false, true);
        let place = netns.provide(answer.place, &mut |record| {
            budget = budget.saturating_sub(1);
            match &mut *part {
                Some(part) => {
                    is_full = !part.push(record);
                    !is_full
                }
                None => {
                    *part = Message::part(config.sync_id, maxlen, record).ok();
                    has_memory = part.is_some();
                    has_memory
                }
            }
        });
        if !has_memory {
            return false;
        }
        let is_last = place.is_none();
        if is_full || is_last {
            if let Some(mut message) = part.take() {
                answer.part.is_last = is_last;
                message.close(Notice::Part(answer.part));
                send(socket, current, message.bytes());
                answer.part.number = answer.part.number.wrapping_add(1);
            }
        }
        let Some(place) = place else {
            return false;
        };
        answer.place = place;
        current.resched();
    }
    true
}

/// Sends a message. Waits for room in the send buffer.
fn send<N: NetRef>(socket: &UdpSocket<N>, current: &Current, message: &[u8]) {
    while let Err(EAGAIN) = socket.send(message) {
        socket.wait_writable(current);
        if current.should_stop() {
            return;
        }
    }
}

/// The number of conns and templates.
fn total(netns: &impl Provide) -> u32 {
    netns.len().min(u32::MAX as usize) as u32
}

/// The low 32 bits of jiffies.
fn now() -> u32 {
    jiffies() as u32
}

/// The resync of a master, which receives for this purpose only.
pub(super) struct Ear<N: Receive> {
    peer: Peer<N>,
    socket: Option<UdpSocket<N>>,
    /// The socket could not be opened.
    is_deaf: bool,
    buffer: KVec<u8>,
}

impl<N: Receive> Ear<N> {
    /// The time in jiffies between two looks for requests.
    pub(super) const PERIOD: usize = HZ / 4;

    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(netns: N, config: &Config, via: &Via) -> Result<Self> {
        Ok(Self {
            peer: Peer::new(netns, config, via, Role::Master),
            socket: None,
            is_deaf: false,
            buffer: KVec::zeroed(MAX_PART.into(), GFP_KERNEL)?,
        })
    }

    /// Handles what was received, and sends what is due. Returns the number of jiffies after which
    /// to call this again, at the latest.
    pub(super) fn step(&mut self, current: &Current) -> usize {
        let Peer {
            netns, via, config, ..
        } = &self.peer;
        if !netns.is_resync_on() {
            (self.socket, self.is_deaf) = (None, false);
        } else if self.socket.is_none() && !self.is_deaf {
            // Without the socket, the master is one of C.
            self.socket = socket::hearing(netns.clone(), via, config).ok();
            self.is_deaf = self.socket.is_none();
        }
        if let Some(socket) = &self.socket {
            for _ in 0..MAX_MESSAGES {
                let Ok(len) = socket.receive(&mut self.buffer) else {
                    break;
                };
                let message = self.buffer.get(..len).unwrap_or_default();
                self.peer.handle(message);
                current.resched();
            }
        }
        let wait = self.peer.step(current);
        wait.unwrap_or(Self::PERIOD).min(Self::PERIOD)
    }
}
