// SPDX-License-Identifier: GPL-2.0

//! The direction of a packet on its conn.
//!
//! C version: `IP_VS_DIR_*` [include/net/ip_vs.h].

/// The direction of a packet, an index of the protocols' state tables (C: `IP_VS_DIR_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Direction {
    /// From the client to the dest.
    Input = 0,
    /// From the dest to the client.
    Output = 1,
    /// From the client to the dest, on a conn whose replies do not pass through this host.
    InputOnly = 2,
}

impl Direction {
    /// The index of the state tables for a packet in this direction. `no_output`: no packet from
    /// the dest has arrived yet (C: `IP_VS_CONN_F_NOOUTPUT`).
    #[inline]
    pub(crate) const fn on_conn(self, no_output: bool) -> Self {
        match self {
            Self::Input if no_output => Self::InputOnly,
            direction => direction,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Direction::*;

    #[test]
    fn no_output_leaves_only_input() {
        let cases = [
            (Input, false, Input),
            (Input, true, InputOnly),
            (Output, false, Output),
            (Output, true, Output),
            (InputOnly, false, InputOnly),
            (InputOnly, true, InputOnly),
        ];
        for (direction, no_output, seen) in cases {
            assert_eq!(direction.on_conn(no_output), seen);
        }
    }
}
