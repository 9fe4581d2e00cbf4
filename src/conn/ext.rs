// SPDX-License-Identifier: GPL-2.0

//! What few conns have, in memory of its own, so that the others stay small.

use crate::addr::{
    Addr,
    Port, //
};

/// The extension of a conn. It is made when the conn, or the feature, first needs it.
pub(super) struct Ext {
    /// The address and port that the dest sees in place of the client's.
    pub(super) local: (Addr, Port),
}
