// SPDX-License-Identifier: GPL-2.0

//! The sync daemons of directors: a master sends its conns, a backup receives them.
//!
//! C version: [net/netfilter/ipvs/ip_vs_sync.c].
//!
//! A daemon has one thread, one socket and one port for each of `sync_ports`. The data path queues
//! conns in messages ([`master`]), which the threads of a master send. The threads of a backup
//! decode messages and pass each conn to [`Receive`].

mod backup;
pub(crate) mod config;
pub(crate) mod due;
pub(crate) mod master;
pub(crate) mod message;
pub(crate) mod resync;
mod socket;

use crate::{
    oot::{
        kthread::{
            Run,
            Thread, //
        },
        sync::RcuArcCell, //
    },
    shim::Word32, //
};
use backup::Listener;
use config::{
    Config,
    DaemonSpec,
    Role, //
};
use kernel::{
    prelude::*,
    str::CString,
    sync::rcu, //
};
use master::{
    Master,
    Sender, //
};
use message::Record;
use resync::{
    MasterResync,
    Peer,
    Provide, //
};
pub(crate) use socket::Via;

/// C: `IP_VS_SYNC_PORTS_MAX`
const MAX_PORTS: u16 = 64;

/// A reference to a network namespace, to which a backup daemon adds the received conns.
pub(crate) trait Receive: Provide {
    /// Returns the number of states of conns of a protocol; `None` if it is not supported.
    fn states(protocol: u8) -> Option<u16>;

    /// Adds or updates a conn.
    fn receive(&self, record: &Record<'_>);
}

/// The state of the daemons that the data path reads (C: `sync_state`).
pub(crate) struct State {
    /// A sum of [`BACKUP`], [`BACKUP_ONLY_SET`] and [`MASTER`].
    word: Word32,
    master: RcuArcCell<Master>,
    /// 1 if both daemons run, on the same group, device and port, with the same sync id.
    shared: Word32,
}

/// A backup daemon runs.
const BACKUP: u32 = 1;
/// The sysctl `backup_only` is set.
const BACKUP_ONLY_SET: u32 = 2;
/// A master daemon runs.
const MASTER: u32 = 4;
/// Packets are not balanced.
const BACKUP_ONLY: u32 = BACKUP | BACKUP_ONLY_SET;

impl State {
    /// The state while no daemon runs.
    pub(crate) fn new() -> Self {
        Self {
            word: Word32::new(0),
            master: RcuArcCell::new(None),
            shared: Word32::new(0),
        }
    }

    /// Whether a master runs, or packets are not balanced.
    #[inline(always)]
    pub(crate) fn concerns_packets(&self) -> bool {
        self.word.get() >= BACKUP_ONLY
    }

    /// Whether packets are not balanced: a backup daemon runs, and `backup_only` is set
    /// (C: `sysctl_backup_only()`).
    pub(crate) fn is_backup_only(&self) -> bool {
        self.word.get() & BACKUP_ONLY == BACKUP_ONLY
    }

    /// The master daemon, if one runs.
    pub(crate) fn master<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Master> {
        match self.word.get() & MASTER {
            0 => None,
            _ => self.master.get(guard).map(|master| master.get()),
        }
    }

    /// Stores the value of the sysctl `backup_only`.
    pub(crate) fn set_backup_only(&self, is_set: bool) {
        self.change(BACKUP_ONLY_SET, is_set);
    }

    /// Whether both daemons run, and receive and send the same messages.
    fn is_shared(&self) -> bool {
        self.shared.get() != 0
    }

    fn change(&self, bit: u32, is_set: bool) {
        self.word
            .update(|old| if is_set { old | bit } else { old & !bit });
    }
}

/// The running daemons of a network namespace.
pub(crate) struct Daemons<N: Receive> {
    master: Option<Daemon<Sender<N>>>,
    backup: Option<Daemon<Listener<N>>>,
    /// The number of consecutive ports of each daemon: `sync_ports` when the first daemon started.
    ports: u16,
}

/// A running daemon. Its threads are stopped when it is dropped.
struct Daemon<T: Run> {
    config: Config,
    role: &'static str,
    threads: KVec<Thread<T>>,
}

impl<T: Run> Drop for Daemon<T> {
    fn drop(&mut self) {
        let role = self.role;
        for (id, thread) in (0..MAX_PORTS).zip(self.threads.drain_all()) {
            pr_info!("stopping {role} sync thread {id} ...\n");
            drop(thread);
        }
    }
}

/// The parameters of a daemon, in addition to its specification.
pub(crate) struct Setting<'a, N> {
    pub(crate) netns: &'a N,
    pub(crate) state: &'a State,
    /// The device.
    pub(crate) via: Via,
    /// The sysctl `sync_ports`.
    pub(crate) ports: i32,
    /// The sysctl `sync_sock_size`: the size of the sockets' buffers in bytes, 0 for the default.
    pub(crate) sock_size: i32,
    /// The number of the namespace in the names of threads.
    pub(crate) generation: u32,
}

impl<N: Receive> Daemons<N> {
    /// No daemons.
    pub(crate) fn new() -> Self {
        Self {
            master: None,
            backup: None,
            ports: 0,
        }
    }

    /// Returns the configuration of the daemon in `role`, if it runs.
    pub(crate) fn get(&self, role: Role) -> Option<&Config> {
        match role {
            Role::Master => self.master.as_ref().map(|daemon| &daemon.config),
            Role::Backup => self.backup.as_ref().map(|daemon| &daemon.config),
        }
    }

    /// Whether any daemon runs.
    pub(crate) fn any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    /// Starts a daemon (C: `start_sync_thread()`). May sleep.
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `EEXIST` if a daemon runs in `role`.
    /// - `ENOMEM`.
    /// - Whatever [`socket::sending`] returns for a master, or [`socket::receiving`] for a backup.
    /// - `EINTR` if the calling task is being killed.
    pub(crate) fn start(
        &mut self,
        role: Role,
        spec: &DaemonSpec,
        setting: &Setting<'_, N>,
    ) -> Result {
        if !self.any() {
            self.ports = setting.ports.clamp(1, MAX_PORTS.into()) as u16;
        }
        if self.get(role).is_some() {
            return Err(EEXIST);
        }
        let config = spec.settle(role, setting.via.mtu);
        match role {
            Role::Master => self.start_master(config, setting),
            Role::Backup => self.start_backup(config, setting),
        }?;
        self.compare(setting.state);
        Ok(())
    }

    /// Stores whether both daemons are on the same group.
    fn compare(&self, state: &State) {
        let is_shared = match Role::ALL.map(|role| self.get(role)) {
            [Some(master), Some(backup)] => master.is_on_group_of(backup),
            _ => false,
        };
        state.shared.set(is_shared.into());
    }

    fn start_master(&mut self, config: Config, setting: &Setting<'_, N>) -> Result {
        let master = Master::new(&config, self.ports)?;
        let threads = self.start_threads("m", setting, |id| {
            let (netns, size) = (setting.netns.clone(), setting.sock_size);
            let socket = socket::sending(netns, &setting.via, &config, id, size)?;
            let resync = match id {
                0 => Some(MasterResync::new(
                    setting.netns.clone(),
                    &config,
                    &setting.via,
                )?),
                _ => None,
            };
            Sender::new(&master, &config, id, socket, resync)
        })?;
        self.master = Some(Daemon {
            config,
            role: "master",
            threads,
        });
        drop(setting.state.master.replace(Some(master)));
        setting.state.change(MASTER, true);
        Ok(())
    }

    fn start_backup(&mut self, config: Config, setting: &Setting<'_, N>) -> Result {
        let threads = self.start_threads("b", setting, |id| {
            let (netns, size) = (setting.netns, setting.sock_size);
            let socket = socket::receiving(netns.clone(), &setting.via, &config, id, size)?;
            let peer =
                (id == 0).then(|| Peer::new(netns.clone(), &config, &setting.via, Role::Backup));
            if peer.is_some() && size < socket::RESYNC_BUFFER && netns.is_resync_on() {
                let _ = socket.force_receive_buffer(socket::RESYNC_BUFFER);
            }
            Listener::new(netns.clone(), &config, id, socket, peer)
        })?;
        self.backup = Some(Daemon {
            config,
            role: "backup",
            threads,
        });
        setting.state.change(BACKUP, true);
        Ok(())
    }

    /// Starts a thread for each port. `make` returns the work of the thread with a number.
    fn start_threads<T: Run>(
        &self,
        letter: &str,
        setting: &Setting<'_, N>,
        make: impl Fn(u16) -> Result<T>,
    ) -> Result<KVec<Thread<T>>> {
        let mut threads = KVec::with_capacity(self.ports.into(), GFP_KERNEL)?;
        for id in 0..self.ports {
            let generation = setting.generation;
            let name = CString::try_from_fmt(fmt!("ipvs-{letter}:{generation}:{id}"))?;
            let thread = Thread::start(&name, make(id)?)?;
            threads.push_within_capacity(thread).map_err(|_| ENOMEM)?;
        }
        Ok(threads)
    }

    /// Stops a daemon and waits for its threads to end (C: `stop_sync_thread()`).
    ///
    /// # Errors
    ///
    /// `ESRCH` if no daemon runs in `role`.
    pub(crate) fn stop(&mut self, role: Role, state: &State) -> Result {
        match role {
            Role::Master => {
                let daemon = self.master.take().ok_or(ESRCH)?;
                self.compare(state);
                state.change(MASTER, false);
                drop(state.master.replace(None));
                drop(daemon);
            }
            Role::Backup => {
                let daemon = self.backup.take().ok_or(ESRCH)?;
                self.compare(state);
                state.change(BACKUP, false);
                drop(daemon);
            }
        }
        Ok(())
    }
}
