// SPDX-License-Identifier: GPL-2.0

//! Conns that a daemon sends in answer to a request for all of them. C has no counterpart.

use super::Netns;
use crate::{
    conn::table::Walk,
    oot::net::pernet::Ref,
    sync::{
        message::Record,
        resync::{
            Place,
            Provide, //
        },
        State, //
    }, //
};
use kernel::sync::rcu;

/// The number of conns and templates that are read in one RCU read-side critical section.
const CHUNK: usize = 64;

impl Provide for Ref<Netns> {
    fn state(&self) -> &State {
        &self.sync
    }

    fn is_resync_on(&self) -> bool {
        self.sysctl.sync_resync()
    }

    fn len(&self) -> usize {
        self.conns.len()
    }

    fn provide(&self, place: Place, act: &mut dyn FnMut(&Record<'_>) -> bool) -> Option<Place> {
        let mut walk = Walk::from_words(place);
        let guard = rcu::read_lock();
        for _ in 0..CHUNK {
            let (conn, after) = self.conns.next(&guard, walk)?;
            let record = conn.get().record_for_all(&self.sysctl, &guard);
            if record.is_some_and(|record| !act(&record)) {
                break;
            }
            walk = after;
        }
        Some(walk.to_words())
    }
}
