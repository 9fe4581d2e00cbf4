// SPDX-License-Identifier: GPL-2.0

//! The messages of a master daemon, and the threads that send them.
//!
//! A packet appends its conn to the current message of a thread. A full message is queued. The
//! thread is woken 20 ms after the first message was queued, or by the eighth, and sends the queue.
//! A message that does not get full is sent after 2 s.
//!
//! C version: `ip_vs_sync_conn()`, `sync_thread_master()` [net/netfilter/ipvs/ip_vs_sync.c].

use super::{
    config::Config,
    message::{
        Message,
        Record,
        Version, //
    },
    resync::MasterResync,
    Receive, //
};
use crate::oot::{
    kthread::{
        Current,
        Run,
        Waker, //
    },
    net::socket::UdpSocket,
    sync::{
        bh,
        Object,
        RcuArc, //
    },
    time::{
        jiffies,
        HZ, //
    },
};
use kernel::{
    list::{
        impl_list_arc_safe,
        impl_list_item,
        List,
        ListArc,
        ListLinks, //
    },
    new_spinlock,
    prelude::*,
    str::BStr,
    sync::{
        Arc,
        SpinLock, //
    },
};

/// The time in jiffies after which a message is sent that is not full (C: `IPVS_SYNC_FLUSH_TIME`).
const FLUSH_TIME: usize = 2 * HZ;
/// The interval in jiffies at which this is checked (C: `IPVS_SYNC_CHECK_PERIOD`).
const CHECK_PERIOD: usize = HZ;
/// The time in jiffies for which queued messages wait for others (C: `IPVS_SYNC_SEND_DELAY`).
const SEND_DELAY: usize = if HZ < 50 { 1 } else { HZ / 50 };
/// The number of queued messages that are sent at once (C: `IPVS_SYNC_WAKEUP_RATE`).
const WAKEUP_RATE: usize = 8;

/// A message in a queue.
#[pin_data]
struct Queued {
    #[pin]
    links: ListLinks,
    message: Message,
}

impl_list_arc_safe! {
    impl ListArcSafe<0> for Queued { untracked; }
}

impl_list_item! {
    impl ListItem<0> for Queued { using ListLinks { self.links }; }
}

/// The messages of a thread that were not sent yet.
struct Outgoing {
    current: Option<Message>,
    /// When the current message got its first conn, in jiffies.
    since: usize,
    /// After how many jiffies it is sent even if it is not full.
    flush_time: usize,
    queue: List<Queued>,
    len: usize,
}

/// The messages of a thread (C: `struct ipvs_master_sync_state`).
#[pin_data]
struct Outbox {
    #[pin]
    outgoing: SpinLock<Outgoing>,
    #[pin]
    waker: Waker,
}

impl Outbox {
    fn new() -> Result<Arc<Self>> {
        let outbox = pin_init::pin_init!(Self {
            outgoing <- new_spinlock!(Outgoing {
                current: None,
                since: 0,
                flush_time: FLUSH_TIME,
                queue: List::new(),
                len: 0,
            }),
            waker <- Waker::new(),
        });
        Arc::pin_init(outbox, GFP_KERNEL)
    }

    /// Appends a conn to the current message, or starts a new one.
    fn push(&self, master: &Master, record: &Record<'_>, manner: Manner) {
        let Manner {
            version,
            queue_max,
            is_early,
        } = manner;
        let _bh = bh::Disabled::new();
        let mut outgoing = self.outgoing.lock();
        if let Some(current) = &mut outgoing.current {
            if current.version() == version && current.push(record) {
                return;
            }
        }
        if let Some(full) = outgoing.current.take() {
            if outgoing.enqueue(full, queue_max) {
                self.waker.wake();
            }
        }
        match Message::new(version, master.sync_id, master.maxlen.into(), record) {
            Ok(message) => {
                outgoing.current = Some(message);
                outgoing.since = jiffies();
                outgoing.flush_time = if is_early { SEND_DELAY } else { FLUSH_TIME };
                if is_early {
                    self.waker.wake();
                }
            }
            Err(_) => pr_err!("ip_vs_sync_buff_create failed.\n"),
        }
    }

    /// Takes the next message to be sent (C: `next_sync_buff()`).
    fn next(&self) -> Option<Next> {
        let _bh = bh::Disabled::new();
        let mut outgoing = self.outgoing.lock();
        if let Some(queued) = outgoing.queue.pop_front() {
            outgoing.len = outgoing.len.wrapping_sub(1);
            return Some(Next::Queued(queued));
        }
        if jiffies().wrapping_sub(outgoing.since) < outgoing.flush_time {
            return None;
        }
        outgoing.current.take().map(Next::Current)
    }

    /// The number of queued messages.
    fn queued(&self) -> usize {
        let _bh = bh::Disabled::new();
        // A variable: a temporary would be dropped after softirqs are enabled.
        let outgoing = self.outgoing.lock();
        outgoing.len
    }

    /// The time in jiffies for which the thread may sleep, unless it is woken.
    fn rest_time(&self) -> usize {
        let _bh = bh::Disabled::new();
        let outgoing = self.outgoing.lock();
        match outgoing.current {
            Some(_) => outgoing.flush_time.min(CHECK_PERIOD),
            None => CHECK_PERIOD,
        }
    }
}

impl Outgoing {
    /// Queues a message. Drops it if there are too many, or memory is short. Returns whether the
    /// thread must be woken.
    fn enqueue(&mut self, message: Message, max: usize) -> bool {
        if self.len >= max {
            return false;
        }
        let queued = kernel::try_pin_init!(Queued {
            links <- ListLinks::new(),
            message,
        }? Error);
        let Ok(queued) = ListArc::pin_init(queued, GFP_ATOMIC) else {
            return false;
        };
        self.queue.push_back(queued);
        self.len = self.len.wrapping_add(1);
        matches!(self.len, 1 | WAKEUP_RATE)
    }
}

/// A message that is sent.
enum Next {
    Queued(ListArc<Queued>),
    Current(Message),
}

impl Next {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Queued(queued) => queued.message.bytes(),
            Self::Current(message) => message.bytes(),
        }
    }
}

/// The parameters for sending a conn.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    pub(crate) version: Version,
    /// The maximum number of messages that wait for a thread.
    pub(crate) queue_max: usize,
    /// The message is sent within 20 ms (sysctl `sync_early`).
    pub(crate) is_early: bool,
}

/// The messages of a master daemon.
pub(crate) struct Master {
    /// One for each thread.
    outboxes: KVec<Arc<Outbox>>,
    sync_id: u32,
    maxlen: u16,
}

impl Object for Master {}

impl Master {
    /// The messages of a daemon with `ports` threads.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(config: &Config, ports: u16) -> Result<RcuArc<Self>> {
        let mut outboxes = KVec::with_capacity(ports.into(), GFP_KERNEL)?;
        for _ in 0..ports {
            outboxes
                .push_within_capacity(Outbox::new()?)
                .map_err(|_| ENOMEM)?;
        }
        let master = Self {
            outboxes,
            sync_id: config.sync_id,
            maxlen: config.maxlen,
        };
        RcuArc::new(master, GFP_KERNEL)
    }

    /// Queues a conn to be sent. The same `number` selects the same thread.
    pub(crate) fn push(&self, number: usize, record: &Record<'_>, manner: Manner) {
        // The number of threads is a power of two.
        let id = number & self.outboxes.len().wrapping_sub(1);
        if let Some(outbox) = self.outboxes.get(id) {
            outbox.push(self, record, manner);
        }
    }
}

/// The work of a thread.
pub(super) struct Sender<N: Receive> {
    outbox: Arc<Outbox>,
    socket: UdpSocket<N>,
    config: Config,
    id: u16,
    /// The resync, for the first thread.
    resync: Option<MasterResync<N>>,
}

/// The maximum number of messages sent between two steps of a resync.
const MAX_MESSAGES: usize = 64;

impl<N: Receive> Sender<N> {
    /// Creates the work of the thread with the number `id`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such thread.
    pub(super) fn new(
        master: &Master,
        config: &Config,
        id: u16,
        socket: UdpSocket<N>,
        resync: Option<MasterResync<N>>,
    ) -> Result<Self> {
        Ok(Self {
            outbox: master.outboxes.get(usize::from(id)).ok_or(EINVAL)?.clone(),
            socket,
            config: *config,
            id,
            resync,
        })
    }

    /// Sends a message. Waits for room in the send buffer.
    fn send(&self, current: &Current, message: &[u8]) {
        while let Err(error) = self.socket.send(message) {
            if error != EAGAIN {
                pr_err!("ip_vs_send_async error {}\n", error.to_errno());
                return;
            }
            self.socket.wait_writable(current);
            if current.should_stop() {
                return;
            }
        }
    }

    /// Sends what is queued. Returns whether that is all.
    fn send_queued(&self, current: &Current) -> bool {
        for _ in 0..MAX_MESSAGES {
            match self.outbox.next() {
                Some(message) => self.send(current, message.bytes()),
                None => return true,
            }
            if current.should_stop() {
                return true;
            }
        }
        false
    }

    /// Sleeps until there may be something to send, for `timeout` jiffies at most.
    fn rest(&self, current: &Current, timeout: usize) {
        let waker = &self.outbox.waker;
        let timeout = self.outbox.rest_time().min(timeout);
        if current.wait(waker, timeout) && self.outbox.queued() < WAKEUP_RATE {
            current.wait(waker, SEND_DELAY);
        }
    }
}

impl<N: Receive> Run for Sender<N> {
    fn run(&mut self, current: &Current) {
        let Config { ifn, sync_id, .. } = self.config;
        pr_info!(
            "sync thread started: state = MASTER, mcast_ifn = {}, syncid = {}, id = {}\n",
            BStr::from_bytes(ifn.bytes()),
            sync_id as i32,
            self.id
        );
        while !current.should_stop() {
            let is_idle = self.send_queued(current);
            let timeout = match &mut self.resync {
                Some(resync) => resync.step(current),
                None => CHECK_PERIOD,
            };
            if is_idle && !current.should_stop() {
                self.rest(current, timeout);
            }
        }
    }
}
