// SPDX-License-Identifier: GPL-2.0

//! Full resync: a director requests all conns of the others when one of its daemons starts.
//!
//! C has no such request: a backup that starts late, or a repaired director that takes over again,
//! receives a conn only when the master sends it for another reason.
//!
//! A director sends a [request](super::message::Notice) to the group. One of those that have conns
//! answers, master or backup. The conns of an answer are ordinary ones of version 1, each with the
//! time since its last packet. A receiver that has had a later packet, or message, of a conn keeps
//! the conn as it is. C's daemons ignore requests and the additional data of answers: see
//! [`notice`](super::message). So a backup that runs C adds the conns of an answer as any others.
//!
//! The first thread of each daemon does this beside its other work. It reads the conn table in
//! small parts, each in its own RCU read-side critical section, and sleeps between them. No packet
//! waits for it. A master, which receives nothing in C, joins the group as a backup does.
//!
//! The sysctl `sync_resync` disables both requests and answers.

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
    Answers, //
};
use ask::{
    Next,
    Requests, //
};
use kernel::prelude::*;

/// The maximum length of a part in bytes. It fits into an Ethernet frame.
const MAX_PART: u16 = 1452;
/// The number of messages that a master receives at once.
const MAX_MESSAGES: usize = 256;
/// A backup that receives a message after this time without one, in jiffies, sends a request again:
/// it may have been cut off.
const SILENCE: u32 = 10 * HZ as u32;
/// The minimum time between two such requests, in jiffies.
const REQUEST_AGAIN: u32 = 600 * HZ as u32;

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
    requests: Option<Requests>,
    answers: Answers,
    /// The next part of the answer.
    part: Option<Message>,
    /// Open while there is something to send.
    socket: Option<UdpSocket<N>>,
    /// The time of the last message, and of the last request after a time without one.
    received_at: u32,
    requested_at: Option<u32>,
}

impl<N: Receive> Peer<N> {
    /// Starts requests, unless the sysctl disables them.
    pub(super) fn new(netns: N, config: &Config, via: &Via, role: Role) -> Self {
        let now = now();
        Self {
            requests: netns
                .is_resync_on()
                .then(|| Requests::new(now, random_u64())),
            netns,
            config: *config,
            via: *via,
            role,
            answers: Answers::new(now),
            part: None,
            socket: None,
            received_at: now,
            requested_at: None,
        }
    }

    /// Whether another daemon of this namespace, on the same group, has the same task.
    fn is_other_daemon_for(&self, role: Role) -> bool {
        self.role != role && self.netns.state().is_shared()
    }

    /// Handles a received message. A backup adds its conns; a master only those of an answer, while
    /// its own request is not answered.
    pub(super) fn handle(&mut self, message: &[u8]) {
        let is_wanted = |record: &Record<'_>| match self.role {
            Role::Backup => true,
            Role::Master => record.idle.is_some() && self.requests.is_some(),
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
                if let Some(requests) = &mut self.requests {
                    requests.part_received(&part, now);
                }
                self.answers.part_received(&part, total(&self.netns));
            }
            None if self.role == Role::Backup => self.message_received(now),
            None => (),
        }
    }

    /// Starts requests if the last message was received long ago.
    fn message_received(&mut self, now: u32) {
        let is_late = now.wrapping_sub(self.received_at) >= SILENCE;
        self.received_at = now;
        let has_just_requested = self
            .requested_at
            .is_some_and(|at| now.wrapping_sub(at) < REQUEST_AGAIN);
        if is_late && !has_just_requested && self.netns.is_resync_on() {
            self.requested_at = Some(now);
            self.requests = Some(Requests::new(now, random_u64()));
        }
    }

    fn requested(&mut self, request: Request, now: u32) {
        let is_own = self
            .requests
            .as_ref()
            .is_some_and(|it| it.is(request.number));
        if is_own || self.is_other_daemon_for(Role::Master) || !self.netns.is_resync_on() {
            return;
        }
        let is_master = self.role == Role::Master;
        self.answers
            .requested(request, is_master, random_u64(), now);
    }

    /// Sends what is due. Returns the number of jiffies after which to call this again; `None` if
    /// that is not necessary before the next message.
    pub(super) fn step(&mut self, current: &Current) -> Option<usize> {
        let now = now();
        let request = self.send_request(current, now);
        let answer = self.send_answer(current, now);
        let wait = [request, answer].into_iter().flatten().min();
        if wait.is_none() {
            self.socket = None;
        }
        wait.map(|wait| wait as usize)
    }

    fn send_request(&mut self, current: &Current, now: u32) -> Option<u32> {
        if self.is_other_daemon_for(Role::Backup) {
            self.requests = None;
        }
        let mut next = self.requests.as_mut()?.next(now);
        if let Next::Request(request) = next {
            let message = Message::request(self.config.sync_id, request);
            if let (Some(socket), Ok(message)) = (self.open(), message) {
                send(socket, current, message.bytes());
            }
            next = self.requests.as_mut()?.next(now);
        }
        match next {
            Next::Wait(wait) => Some(wait),
            _ => {
                self.requests = None;
                None
            }
        }
    }

    fn send_answer(&mut self, current: &Current, now: u32) -> Option<u32> {
        let wait = self.answers.wait(now)?;
        self.answers.begin(total(&self.netns), random_u64(), now);
        self.open();
        let Self {
            netns,
            config,
            answers,
            part,
            socket,
            ..
        } = self;
        let Some(answer) = &mut answers.answer else {
            return Some(wait);
        };
        let is_over = match socket {
            Some(socket) => !send_conns(netns, config, current, socket, answer, part, now),
            None => true,
        };
        if is_over {
            self.part = None;
            self.answers.end(now);
        }
        self.answers.wait(now)
    }

    /// The socket for sending; `None` if it cannot be opened.
    fn open(&mut self) -> Option<&UdpSocket<N>> {
        if self.socket.is_none() {
            self.socket = socket::resync_sending(self.netns.clone(), &self.via, &self.config).ok();
        }
        self.socket.as_ref()
    }
}

/// Sends as many conns as are due now. Returns false at the end of the answer, or if memory is
/// short: then the requesting director sends another request.
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
pub(super) struct MasterResync<N: Receive> {
    peer: Peer<N>,
    socket: Option<UdpSocket<N>>,
    /// The socket could not be opened.
    has_failed: bool,
    buffer: KVec<u8>,
}

impl<N: Receive> MasterResync<N> {
    /// The time in jiffies between two checks for requests.
    pub(super) const PERIOD: usize = HZ / 4;

    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(netns: N, config: &Config, via: &Via) -> Result<Self> {
        Ok(Self {
            peer: Peer::new(netns, config, via, Role::Master),
            socket: None,
            has_failed: false,
            buffer: KVec::zeroed(MAX_PART.into(), GFP_KERNEL)?,
        })
    }

    /// Handles received messages, and sends what is due. Returns the maximum number of jiffies
    /// until the next call.
    pub(super) fn step(&mut self, current: &Current) -> usize {
        let Peer {
            netns, via, config, ..
        } = &self.peer;
        if !netns.is_resync_on() {
            (self.socket, self.has_failed) = (None, false);
        } else if self.socket.is_none() && !self.has_failed {
            // Without the socket, the master works as in C.
            self.socket = socket::resync_receiving(netns.clone(), via, config).ok();
            self.has_failed = self.socket.is_none();
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
