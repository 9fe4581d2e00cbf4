// SPDX-License-Identifier: GPL-2.0

//! The fields that few conns need, allocated separately to keep `Conn` small.

use super::{
    app::{
        App,
        Counts, //
    },
    Params,
};
use crate::{
    addr::{
        Addr,
        Port, //
    },
    oot::sync::RcuBox,
    uapi::IP_VS_CONN_F_NO_CPORT, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

/// The extension of a conn, allocated with the conn if any of its fields is needed.
pub(super) struct Ext {
    /// The local end, which replaces the client's in packets to the dest.
    pub(super) local: Option<(Addr, Port)>,
    /// The binding to an application.
    pub(super) app: Option<App>,
    /// The numbers of conns, for a conn without client port.
    pub(super) counts: Option<Arc<Counts>>,
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
        if params.local.is_none() && app.is_none() && !is_portless {
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
        let local = params.local.map(|(addr, port)| (*addr, port));
        RcuBox::new(Self { local, app, counts }, GFP_ATOMIC)
    }
}
