// SPDX-License-Identifier: GPL-2.0

//! The threads of a backup daemon, which receive messages.
//!
//! C version: `sync_thread_backup()` [net/netfilter/ipvs/ip_vs_sync.c].

use super::{
    config::Config,
    message::Records,
    resync::Peer,
    Receive, //
};
use crate::oot::{
    kthread::{
        Current,
        Run, //
    },
    net::socket::UdpSocket, //
};
use kernel::{
    prelude::*,
    str::BStr, //
};

/// The work of a thread.
pub(super) struct Listener<N: Receive> {
    netns: N,
    socket: UdpSocket<N>,
    config: Config,
    id: u16,
    /// As long as the longest message.
    buffer: KVec<u8>,
    /// The resync, for the first thread.
    peer: Option<Peer<N>>,
}

/// The maximum number of messages received between two steps of a resync.
const MAX_MESSAGES: usize = 64;

impl<N: Receive> Listener<N> {
    /// Creates the work of the thread with the number `id`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(
        netns: N,
        config: &Config,
        id: u16,
        socket: UdpSocket<N>,
        peer: Option<Peer<N>>,
    ) -> Result<Self> {
        Ok(Self {
            netns,
            socket,
            config: *config,
            id,
            buffer: KVec::zeroed(config.maxlen.into(), GFP_KERNEL)?,
            peer,
        })
    }

    /// Receives a message and handles its conns.
    ///
    /// # Errors
    ///
    /// The error of the socket; `ENODATA` if the message is empty.
    fn receive(&mut self) -> Result {
        let len = self.socket.receive(&mut self.buffer)?;
        if len == 0 {
            return Err(ENODATA);
        }
        let message = self.buffer.get(..len).unwrap_or_default();
        if let Some(peer) = &mut self.peer {
            peer.handle(message);
            return Ok(());
        }
        for record in Records::of(message, self.config.sync_id, N::states) {
            self.netns.receive(&record);
        }
        Ok(())
    }
}

impl<N: Receive> Run for Listener<N> {
    fn run(&mut self, current: &Current) {
        let Config { ifn, sync_id, .. } = self.config;
        pr_info!(
            "sync thread started: state = BACKUP, mcast_ifn = {}, syncid = {}, id = {}\n",
            BStr::from_bytes(ifn.bytes()),
            sync_id as i32,
            self.id
        );
        while !current.should_stop() {
            let peer = self.peer.as_mut();
            let timeout = peer.and_then(|peer| peer.step(current));
            self.socket.wait_readable(current, timeout);
            let mut received = 0;
            while self.socket.is_readable() && !current.should_stop() && received < MAX_MESSAGES {
                match self.receive() {
                    Ok(()) => {
                        received = received.wrapping_add(1);
                        current.resched();
                    }
                    Err(EAGAIN) => break,
                    Err(_) => {
                        pr_err!("receiving message error\n");
                        break;
                    }
                }
            }
        }
    }
}
