// SPDX-License-Identifier: GPL-2.0

//! Constants of the user space API, with their C names.
//!
//! C headers: [`include/uapi/linux/ip_vs.h`](srctree/include/uapi/linux/ip_vs.h),
//! [`include/uapi/linux/in.h`](srctree/include/uapi/linux/in.h),
//! [`include/uapi/linux/in6.h`](srctree/include/uapi/linux/in6.h)

// Protocol numbers of the IP header.

pub(crate) const IPPROTO_ICMP: u8 = 1;
pub(crate) const IPPROTO_TCP: u8 = 6;
pub(crate) const IPPROTO_UDP: u8 = 17;
pub(crate) const IPPROTO_GRE: u8 = 47;
pub(crate) const IPPROTO_ESP: u8 = 50;
pub(crate) const IPPROTO_AH: u8 = 51;
pub(crate) const IPPROTO_ICMPV6: u8 = 58;
pub(crate) const IPPROTO_SCTP: u8 = 132;

/// The version of IPVS: major, minor and patch number, one byte each (1.2.1).
pub(crate) const IP_VS_VERSION_CODE: u32 = 0x010201;

// Flags of a service.

/// The service is persistent: all conns of a client use one dest.
pub(crate) const IP_VS_SVC_F_PERSISTENT: u32 = 0x0001;
/// The service is in the table. Set in every service that is visible to user space.
pub(crate) const IP_VS_SVC_F_HASHED: u32 = 0x0002;
/// Each packet is scheduled separately.
pub(crate) const IP_VS_SVC_F_ONEPACKET: u32 = 0x0004;
/// The first flag specific to schedulers: sh and mh fall back to another dest if the dest of the
/// client is not available.
pub(crate) const IP_VS_SVC_F_SCHED1: u32 = 0x0008;
/// The second flag specific to schedulers: sh and mh hash the client's port in addition to its
/// address.
pub(crate) const IP_VS_SVC_F_SCHED2: u32 = 0x0010;
/// The third flag specific to schedulers, which none of them uses: dests with NAT are FULLNAT.
pub(crate) const IP_VS_SVC_F_SCHED3: u32 = 0x0020;

// Flags of a conn. A dest has those of `IP_VS_CONN_F_DEST_MASK`.

/// The mask of the forwarding method.
pub(crate) const IP_VS_CONN_F_FWD_MASK: u32 = 0x0007;
pub(crate) const IP_VS_CONN_F_MASQ: u32 = 0x0000;
pub(crate) const IP_VS_CONN_F_LOCALNODE: u32 = 0x0001;
pub(crate) const IP_VS_CONN_F_TUNNEL: u32 = 0x0002;
pub(crate) const IP_VS_CONN_F_DROUTE: u32 = 0x0003;
pub(crate) const IP_VS_CONN_F_BYPASS: u32 = 0x0004;
/// The conn was created by a sync message.
pub(crate) const IP_VS_CONN_F_SYNC: u32 = 0x0020;
/// Replies do not pass through this director.
pub(crate) const IP_VS_CONN_F_NOOUTPUT: u32 = 0x0080;
/// The conn is inactive.
pub(crate) const IP_VS_CONN_F_INACTIVE: u32 = 0x0100;
/// Sequence numbers of packets to the client are adjusted.
pub(crate) const IP_VS_CONN_F_OUT_SEQ: u32 = 0x0200;
/// Sequence numbers of packets from the client are adjusted.
pub(crate) const IP_VS_CONN_F_IN_SEQ: u32 = 0x0400;
pub(crate) const IP_VS_CONN_F_SEQ_MASK: u32 = 0x0600;
/// The client's port is not known yet.
pub(crate) const IP_VS_CONN_F_NO_CPORT: u32 = 0x0800;
/// A template: it assigns the conns of a client to one dest.
pub(crate) const IP_VS_CONN_F_TEMPLATE: u32 = 0x1000;
/// The conn forwards only one packet.
pub(crate) const IP_VS_CONN_F_ONE_PACKET: u32 = 0x2000;
/// The conn is tracked by netfilter conntrack.
pub(crate) const IP_VS_CONN_F_NFCT: u32 = 1 << 16;
/// The flags of a dest that user space may set.
pub(crate) const IP_VS_CONN_F_DEST_MASK: u32 =
    IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_ONE_PACKET | IP_VS_CONN_F_NFCT;

/// The flags of a new conn that a sync message may set.
pub(crate) const IP_VS_CONN_F_BACKUP_MASK: u32 = IP_VS_CONN_F_FWD_MASK
    | IP_VS_CONN_F_NOOUTPUT
    | IP_VS_CONN_F_INACTIVE
    | IP_VS_CONN_F_SEQ_MASK
    | IP_VS_CONN_F_NO_CPORT
    | IP_VS_CONN_F_TEMPLATE;
/// The flags that are sent in sync messages: all of C's.
pub(crate) const IP_VS_CONN_F_SENT_MASK: u32 =
    IP_VS_CONN_F_BACKUP_MASK | IP_VS_CONN_F_SYNC | IP_VS_CONN_F_NFCT;

// Tunnel types.

pub(crate) const IP_VS_CONN_F_TUNNEL_TYPE_IPIP: u8 = 0;
pub(crate) const IP_VS_CONN_F_TUNNEL_TYPE_GUE: u8 = 1;
pub(crate) const IP_VS_CONN_F_TUNNEL_TYPE_GRE: u8 = 2;

// Flags of a tunnel.

/// The GUE or GRE header has a checksum.
pub(crate) const IP_VS_TUNNEL_ENCAP_FLAG_CSUM: u16 = 1 << 0;
/// The receiver of a GUE packet completes an inner checksum (remote checksum offload).
pub(crate) const IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM: u16 = 1 << 1;

// Roles of a sync daemon.

pub(crate) const IP_VS_STATE_MASTER: u32 = 1;
pub(crate) const IP_VS_STATE_BACKUP: u32 = 2;

/// The default port of sync messages, in host byte order.
pub(crate) const IP_VS_SYNC_PORT: u16 = 8848;

// Maximum lengths of names, including the terminating NUL.

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
