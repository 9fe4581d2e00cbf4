// SPDX-License-Identifier: GPL-2.0

//! The fields that few conns need, allocated separately to keep `Conn` small.

use super::{
    app::{
        App,
        Counts, //
    },
    handshake::Handshake,
    local::Local,
    Params,
};
use crate::{
    oot::sync::RcuBox,
    pe::Engine,
    shim::Word32,
    uapi::IP_VS_CONN_F_NO_CPORT,
    wire::seq::Seq, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The extension of a conn, allocated with the conn if any of its fields is needed.
pub(super) struct Ext {
    /// The local end, which replaces the client's in packets to the dest.
    pub(super) local: Option<Local>,
    /// 1 once a packet from the dest has arrived for the local end.
    pub(super) answered: Word32,
    /// The start of the connection, if its first segments to the dest have the TOA option.
    pub(super) handshake: Option<Handshake>,
    /// The binding to an application.
    pub(super) app: Option<App>,
    /// The numbers of conns, for a conn without client port.
    pub(super) counts: Option<Arc<Counts>>,
    /// The persistence engine of a template, and the data by which packets find it.
    pub(super) pe: Option<(Engine, KVec<u8>)>,
    /// The adjustments of sequence numbers, from a sync message.
    pub(super) sequences: Sequences,
}

impl Ext {
    /// Allocates the extension of a conn with these parameters and this application, if it needs
    /// one.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    #[inline(always)]
    pub(super) fn of(
        params: &Params<'_>,
        app: Option<App>,
        counts: &Arc<Counts>,
    ) -> Result<Option<RcuBox<Self>>> {
        let is_portless = params.flags & IP_VS_CONN_F_NO_CPORT != 0;
        if params.local.is_none() && params.pe.is_none() && app.is_none() && !is_portless {
            return Ok(None);
        }
        Self::new(params, app, is_portless.then(|| counts.clone())).map(Some)
    }

    #[cold]
    fn new(
        params: &Params<'_>,
        app: Option<App>,
        counts: Option<Arc<Counts>>,
    ) -> Result<RcuBox<Self>> {
        let pe = match params.pe {
            Some((engine, data)) => {
                let mut copy = KVec::with_capacity(data.len(), GFP_ATOMIC)?;
                copy.extend_from_slice(data, GFP_ATOMIC)?;
                Some((engine, copy))
            }
            None => None,
        };
        let has_toa = params.local.is_some_and(|local| local.has_toa);
        let ext = Self {
            local: params.local,
            answered: Word32::new(0),
            handshake: has_toa.then(Handshake::new),
            app,
            counts,
            pe,
            sequences: Sequences::default(),
        };
        RcuBox::new(ext, GFP_ATOMIC)
    }

    /// Allocates the extension of a conn that needs none but for the adjustments.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(super) fn of_sequences(values: [Seq; 2]) -> Result<RcuBox<Self>> {
        let ext = Self {
            local: None,
            answered: Word32::new(0),
            handshake: None,
            app: None,
            counts: None,
            pe: None,
            sequences: Sequences::default(),
        };
        ext.sequences.set(values);
        RcuBox::new(ext, GFP_ATOMIC)
    }
}

/// The adjustments of sequence numbers from the client and to it. As in C, a packet may read some
/// of the words before a change and others after it.
pub(super) struct Sequences([Word32; 6]);

impl Default for Sequences {
    fn default() -> Self {
        Self(core::array::from_fn(|_| Word32::new(0)))
    }
}

impl Sequences {
    pub(super) fn get(&self) -> [Seq; 2] {
        let [a, b, c, d, e, f] = &self.0;
        [[a, b, c], [d, e, f]].map(|[init_seq, delta, previous_delta]| Seq {
            init_seq: init_seq.get(),
            delta: delta.get(),
            previous_delta: previous_delta.get(),
        })
    }

    pub(super) fn set(&self, values: [Seq; 2]) {
        let words = values
            .iter()
            .flat_map(|seq| [seq.init_seq, seq.delta, seq.previous_delta]);
        for (place, word) in self.0.iter().zip(words) {
            place.set(word);
        }
    }
}
