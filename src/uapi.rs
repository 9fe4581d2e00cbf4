// SPDX-License-Identifier: GPL-2.0

//! Numbers of the user interface, under the names that they have there.
//!
//! C headers: [`include/uapi/linux/ip_vs.h`](srctree/include/uapi/linux/ip_vs.h),
//! [`include/uapi/linux/in.h`](srctree/include/uapi/linux/in.h),
//! [`include/uapi/linux/in6.h`](srctree/include/uapi/linux/in6.h)

// Protocols, as in an IP header.

pub(crate) const IPPROTO_ICMP: u8 = 1;
pub(crate) const IPPROTO_TCP: u8 = 6;
pub(crate) const IPPROTO_UDP: u8 = 17;
pub(crate) const IPPROTO_ICMPV6: u8 = 58;
pub(crate) const IPPROTO_SCTP: u8 = 132;

/// The version of IPVS, one byte for each part.
pub(crate) const IP_VS_VERSION_CODE: u32 = 0x010201;

// Flags of a service.

/// Conns of one client go to one dest.
pub(crate) const IP_VS_SVC_F_PERSISTENT: u32 = 0x0001;
/// The service is in the table: every service that one can see has it.
pub(crate) const IP_VS_SVC_F_HASHED: u32 = 0x0002;
/// Each packet is scheduled.
pub(crate) const IP_VS_SVC_F_ONEPACKET: u32 = 0x0004;
/// The first flag whose meaning is the scheduler's: sh and mh fall back to another dest if that
/// of the client is not available.
pub(crate) const IP_VS_SVC_F_SCHED1: u32 = 0x0008;
/// The second such flag: for sh and mh the client's port counts, not its address alone.
pub(crate) const IP_VS_SVC_F_SCHED2: u32 = 0x0010;

// Flags of a conn, the first of which are those of a dest.

/// The forwarding method.
pub(crate) const IP_VS_CONN_F_FWD_MASK: u32 = 0x0007;
pub(crate) const IP_VS_CONN_F_MASQ: u32 = 0x0000;
pub(crate) const IP_VS_CONN_F_LOCALNODE: u32 = 0x0001;
pub(crate) const IP_VS_CONN_F_TUNNEL: u32 = 0x0002;
pub(crate) const IP_VS_CONN_F_DROUTE: u32 = 0x0003;
pub(crate) const IP_VS_CONN_F_BYPASS: u32 = 0x0004;
/// No replies come through here.
pub(crate) const IP_VS_CONN_F_NOOUTPUT: u32 = 0x0080;
/// Not an active conn.
pub(crate) const IP_VS_CONN_F_INACTIVE: u32 = 0x0100;
/// Not a conn, but what keeps a client's conns with one dest.
pub(crate) const IP_VS_CONN_F_TEMPLATE: u32 = 0x1000;
/// Of one packet.
pub(crate) const IP_VS_CONN_F_ONE_PACKET: u32 = 0x2000;
/// Tracked by conntrack.
pub(crate) const IP_VS_CONN_F_NFCT: u32 = 1 << 16;
/// The flags of a dest that the user sets.
pub(crate) const IP_VS_CONN_F_DEST_MASK: u32 =
    IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_ONE_PACKET | IP_VS_CONN_F_NFCT;

/// The kinds of tunnel.
pub(crate) const IP_VS_CONN_F_TUNNEL_TYPE_IPIP: u8 = 0;
/// The kind of tunnel that has a port.
pub(crate) const IP_VS_CONN_F_TUNNEL_TYPE_GUE: u8 = 1;

// States of the sync daemon.

pub(crate) const IP_VS_STATE_MASTER: u32 = 1;
pub(crate) const IP_VS_STATE_BACKUP: u32 = 2;

/// The port of messages if none is given.
pub(crate) const IP_VS_SYNC_PORT: u16 = 8848;

// Lengths of names, including the terminating NUL.

pub(crate) const IP_VS_SCHEDNAME_MAXLEN: usize = 16;
pub(crate) const IP_VS_IFNAME_MAXLEN: usize = 16;

// Socket options.

pub(crate) const IP_VS_BASE_CTL: i32 = 64 + 1024 + 64;

pub(crate) const IP_VS_SO_SET_ADD: i32 = IP_VS_BASE_CTL + 2;
pub(crate) const IP_VS_SO_SET_EDIT: i32 = IP_VS_BASE_CTL + 3;
pub(crate) const IP_VS_SO_SET_DEL: i32 = IP_VS_BASE_CTL + 4;
pub(crate) const IP_VS_SO_SET_FLUSH: i32 = IP_VS_BASE_CTL + 5;
pub(crate) const IP_VS_SO_SET_ADDDEST: i32 = IP_VS_BASE_CTL + 7;
pub(crate) const IP_VS_SO_SET_DELDEST: i32 = IP_VS_BASE_CTL + 8;
pub(crate) const IP_VS_SO_SET_EDITDEST: i32 = IP_VS_BASE_CTL + 9;
pub(crate) const IP_VS_SO_SET_TIMEOUT: i32 = IP_VS_BASE_CTL + 10;
pub(crate) const IP_VS_SO_SET_STARTDAEMON: i32 = IP_VS_BASE_CTL + 11;
pub(crate) const IP_VS_SO_SET_STOPDAEMON: i32 = IP_VS_BASE_CTL + 12;
pub(crate) const IP_VS_SO_SET_ZERO: i32 = IP_VS_BASE_CTL + 15;
pub(crate) const IP_VS_SO_SET_MAX: i32 = IP_VS_SO_SET_ZERO;

pub(crate) const IP_VS_SO_GET_VERSION: i32 = IP_VS_BASE_CTL;
pub(crate) const IP_VS_SO_GET_INFO: i32 = IP_VS_BASE_CTL + 1;
pub(crate) const IP_VS_SO_GET_SERVICES: i32 = IP_VS_BASE_CTL + 2;
pub(crate) const IP_VS_SO_GET_SERVICE: i32 = IP_VS_BASE_CTL + 3;
pub(crate) const IP_VS_SO_GET_DESTS: i32 = IP_VS_BASE_CTL + 4;
pub(crate) const IP_VS_SO_GET_TIMEOUT: i32 = IP_VS_BASE_CTL + 6;
pub(crate) const IP_VS_SO_GET_DAEMON: i32 = IP_VS_BASE_CTL + 7;
pub(crate) const IP_VS_SO_GET_MAX: i32 = IP_VS_SO_GET_DAEMON;

// Generic netlink.

pub(crate) const IPVS_GENL_VERSION: u32 = 1;

pub(crate) const IPVS_CMD_NEW_SERVICE: u8 = 1;
pub(crate) const IPVS_CMD_SET_SERVICE: u8 = 2;
pub(crate) const IPVS_CMD_DEL_SERVICE: u8 = 3;
pub(crate) const IPVS_CMD_GET_SERVICE: u8 = 4;
pub(crate) const IPVS_CMD_NEW_DEST: u8 = 5;
pub(crate) const IPVS_CMD_SET_DEST: u8 = 6;
pub(crate) const IPVS_CMD_DEL_DEST: u8 = 7;
pub(crate) const IPVS_CMD_GET_DEST: u8 = 8;
pub(crate) const IPVS_CMD_NEW_DAEMON: u8 = 9;
pub(crate) const IPVS_CMD_DEL_DAEMON: u8 = 10;
pub(crate) const IPVS_CMD_GET_DAEMON: u8 = 11;
pub(crate) const IPVS_CMD_SET_CONFIG: u8 = 12;
pub(crate) const IPVS_CMD_GET_CONFIG: u8 = 13;
pub(crate) const IPVS_CMD_SET_INFO: u8 = 14;
pub(crate) const IPVS_CMD_GET_INFO: u8 = 15;
pub(crate) const IPVS_CMD_ZERO: u8 = 16;
pub(crate) const IPVS_CMD_FLUSH: u8 = 17;

pub(crate) const IPVS_CMD_ATTR_SERVICE: usize = 1;
pub(crate) const IPVS_CMD_ATTR_DEST: usize = 2;
pub(crate) const IPVS_CMD_ATTR_DAEMON: usize = 3;
pub(crate) const IPVS_CMD_ATTR_TIMEOUT_TCP: usize = 4;
pub(crate) const IPVS_CMD_ATTR_TIMEOUT_TCP_FIN: usize = 5;
pub(crate) const IPVS_CMD_ATTR_TIMEOUT_UDP: usize = 6;

pub(crate) const IPVS_SVC_ATTR_AF: usize = 1;
pub(crate) const IPVS_SVC_ATTR_PROTOCOL: usize = 2;
pub(crate) const IPVS_SVC_ATTR_ADDR: usize = 3;
pub(crate) const IPVS_SVC_ATTR_PORT: usize = 4;
pub(crate) const IPVS_SVC_ATTR_FWMARK: usize = 5;
pub(crate) const IPVS_SVC_ATTR_SCHED_NAME: usize = 6;
pub(crate) const IPVS_SVC_ATTR_FLAGS: usize = 7;
pub(crate) const IPVS_SVC_ATTR_TIMEOUT: usize = 8;
pub(crate) const IPVS_SVC_ATTR_NETMASK: usize = 9;
pub(crate) const IPVS_SVC_ATTR_STATS: usize = 10;
pub(crate) const IPVS_SVC_ATTR_PE_NAME: usize = 11;
pub(crate) const IPVS_SVC_ATTR_STATS64: usize = 12;

pub(crate) const IPVS_DEST_ATTR_ADDR: usize = 1;
pub(crate) const IPVS_DEST_ATTR_PORT: usize = 2;
pub(crate) const IPVS_DEST_ATTR_FWD_METHOD: usize = 3;
pub(crate) const IPVS_DEST_ATTR_WEIGHT: usize = 4;
pub(crate) const IPVS_DEST_ATTR_U_THRESH: usize = 5;
pub(crate) const IPVS_DEST_ATTR_L_THRESH: usize = 6;
pub(crate) const IPVS_DEST_ATTR_ACTIVE_CONNS: usize = 7;
pub(crate) const IPVS_DEST_ATTR_INACT_CONNS: usize = 8;
pub(crate) const IPVS_DEST_ATTR_PERSIST_CONNS: usize = 9;
pub(crate) const IPVS_DEST_ATTR_STATS: usize = 10;
pub(crate) const IPVS_DEST_ATTR_ADDR_FAMILY: usize = 11;
pub(crate) const IPVS_DEST_ATTR_STATS64: usize = 12;
pub(crate) const IPVS_DEST_ATTR_TUN_TYPE: usize = 13;
pub(crate) const IPVS_DEST_ATTR_TUN_PORT: usize = 14;
pub(crate) const IPVS_DEST_ATTR_TUN_FLAGS: usize = 15;

pub(crate) const IPVS_DAEMON_ATTR_STATE: usize = 1;
pub(crate) const IPVS_DAEMON_ATTR_MCAST_IFN: usize = 2;
pub(crate) const IPVS_DAEMON_ATTR_SYNC_ID: usize = 3;
pub(crate) const IPVS_DAEMON_ATTR_SYNC_MAXLEN: usize = 4;
pub(crate) const IPVS_DAEMON_ATTR_MCAST_GROUP: usize = 5;
pub(crate) const IPVS_DAEMON_ATTR_MCAST_GROUP6: usize = 6;
pub(crate) const IPVS_DAEMON_ATTR_MCAST_PORT: usize = 7;
pub(crate) const IPVS_DAEMON_ATTR_MCAST_TTL: usize = 8;

pub(crate) const IPVS_STATS_ATTR_CONNS: usize = 1;
pub(crate) const IPVS_STATS_ATTR_INPKTS: usize = 2;
pub(crate) const IPVS_STATS_ATTR_OUTPKTS: usize = 3;
pub(crate) const IPVS_STATS_ATTR_INBYTES: usize = 4;
pub(crate) const IPVS_STATS_ATTR_OUTBYTES: usize = 5;
pub(crate) const IPVS_STATS_ATTR_CPS: usize = 6;
pub(crate) const IPVS_STATS_ATTR_INPPS: usize = 7;
pub(crate) const IPVS_STATS_ATTR_OUTPPS: usize = 8;
pub(crate) const IPVS_STATS_ATTR_INBPS: usize = 9;
pub(crate) const IPVS_STATS_ATTR_OUTBPS: usize = 10;
pub(crate) const IPVS_STATS_ATTR_PAD: usize = 11;

pub(crate) const IPVS_INFO_ATTR_VERSION: usize = 1;
pub(crate) const IPVS_INFO_ATTR_CONN_TAB_SIZE: usize = 2;
