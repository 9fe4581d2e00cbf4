// SPDX-License-Identifier: GPL-2.0

//! Tests of the names, the words and the checks.

use super::*;

const DEST: DestSpec = DestSpec {
    conn_flags: IP_VS_CONN_F_MASQ,
    weight: 1,
    u_threshold: 0,
    l_threshold: 0,
    tunnel: Tunnel {
        kind: 0,
        port: Port::ZERO,
        flags: 0,
    },
};

fn id(fwmark: u32, last: u8, port: u16) -> ServiceId {
    ServiceId {
        family: Family::Inet,
        protocol: 6,
        addr: Addr::from_v4([10, 0, 0, last]),
        port: Port::new(port),
        fwmark,
    }
}

#[test]
fn names_of_services() {
    let service = id(0, 1, 80);
    assert!(service.names(&service));
    for other in [id(0, 2, 80), id(0, 1, 81), id(1, 1, 80)] {
        assert!(!service.names(&other) && !other.names(&service));
        assert!(!service.may_return_to(&other));
    }
    assert!(id(7, 1, 80).names(&id(7, 2, 0)));
    assert!(!id(7, 0, 0).names(&id(8, 0, 0)));
    let v6 = ServiceId {
        family: Family::Inet6,
        ..id(7, 0, 0)
    };
    assert!(!v6.names(&id(7, 0, 0)));
    assert!(v6.may_return_to(&id(7, 0, 0)));
    let udp = ServiceId {
        protocol: 17,
        ..service
    };
    assert!(!udp.names(&service));
}

/// A lookup in the trash uses the words, so services must share them iff a dest may be reused.
#[test]
fn words_are_the_same_if_dests_may_return() {
    let mut ids = vec![];
    for fwmark in [0, 1, 6 << 16, u32::MAX] {
        for (last, port) in [(0, 0), (1, 80), (2, 80), (1, 81)] {
            for protocol in [6, 17, 132] {
                for family in [Family::Inet, Family::Inet6] {
                    ids.push(ServiceId {
                        family,
                        protocol,
                        ..id(fwmark, last, port)
                    });
                }
            }
        }
    }
    for service in &ids {
        for other in &ids {
            let same = service.words() == other.words();
            assert_eq!(same, service.may_return_to(other), "{service:?} {other:?}");
        }
    }
}

#[test]
fn words_tell_dests_apart() {
    let mut ids = vec![];
    for family in [Family::Inet, Family::Inet6] {
        for port in [0, 80, 2, 10] {
            for at in 0..family.addr_len() {
                let mut bytes = [0; 16];
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = 10;
                }
                ids.push(DestId {
                    family,
                    addr: Addr::from_v6(bytes),
                    port: Port::new(port),
                });
            }
        }
    }
    for dest in &ids {
        for other in &ids {
            assert_eq!(dest.words() == other.words(), dest == other);
        }
    }
}

#[test]
fn checks_of_dests() {
    let gue = |port| Tunnel {
        kind: 1,
        port: Port::new(port),
        flags: 0,
    };
    let cases = [
        (DEST, Ok(())),
        (DestSpec { weight: -1, ..DEST }, Err(Refusal::OutOfRange)),
        (
            DestSpec {
                weight: i32::MAX,
                ..DEST
            },
            Ok(()),
        ),
        (
            DestSpec {
                l_threshold: 1,
                ..DEST
            },
            Err(Refusal::OutOfRange),
        ),
        (
            DestSpec {
                u_threshold: 1 << 31,
                ..DEST
            },
            Err(Refusal::Invalid),
        ),
        (
            DestSpec {
                u_threshold: u32::MAX >> 1,
                ..DEST
            },
            Ok(()),
        ),
        (
            DestSpec {
                tunnel: gue(0),
                ..DEST
            },
            Err(Refusal::Invalid),
        ),
        (
            DestSpec {
                tunnel: gue(6080),
                ..DEST
            },
            Ok(()),
        ),
        (
            DestSpec {
                tunnel: gue(0),
                weight: -1,
                ..DEST
            },
            Err(Refusal::OutOfRange),
        ),
    ];
    for (spec, want) in cases {
        assert_eq!(
            spec.fault().map(|(refusal, _)| refusal),
            want.err(),
            "{spec:?}"
        );
    }
    assert_eq!(DEST.check_mixed_family(), Err(Refusal::Invalid));
    assert_eq!(
        DestSpec {
            conn_flags: 2,
            ..DEST
        }
        .check_mixed_family(),
        Ok(())
    );
}

#[test]
fn flags_and_thresholds_of_dests() {
    let flags = |conn_flags| DestSpec { conn_flags, ..DEST }.flags_of_conns();
    assert_eq!(flags(IP_VS_CONN_F_MASQ), 0x100);
    assert_eq!(flags(IP_VS_CONN_F_DROUTE), 0x183);
    assert_eq!(flags(IP_VS_CONN_F_TUNNEL), 0x182);
    let val = |u_threshold, l_threshold| {
        DestSpec {
            u_threshold,
            l_threshold,
            ..DEST
        }
        .l_threshold_val()
    };
    let cases = [
        ((0, 0), 0),
        ((1, 0), 1),
        ((8, 0), 6),
        ((8, 3), 3),
        ((8, 8), 8),
    ];
    for ((u, l), want) in cases {
        assert_eq!(val(u, l), want);
    }
}

#[test]
fn edits_of_flags() {
    let edit = |flags, mask| FlagsEdit { flags, mask };
    assert_eq!(edit(0, u32::MAX).apply(0), 2);
    assert_eq!(edit(0, u32::MAX).apply(1), 2);
    assert_eq!(edit(4, 4).apply(3), 7);
    assert_eq!(edit(u32::MAX, 0).apply(3), 3);
    assert_eq!(edit(9, u32::MAX).apply(0), 11);
}

#[test]
fn netmasks() {
    let spec = |netmask| ServiceSpec {
        sched_name: b"rr",
        pe_name: b"",
        flags: FlagsEdit { flags: 0, mask: 0 },
        timeout: 0,
        netmask,
    };
    for (netmask, ok) in [
        (0, false),
        (1, true),
        (128, true),
        (129, false),
        (u32::MAX, false),
    ] {
        assert_eq!(spec(netmask).check_netmask(Family::Inet6).is_ok(), ok);
        assert_eq!(spec(netmask).check_netmask(Family::Inet), Ok(()));
    }
}

#[test]
fn timeouts() {
    let max = i32::MAX as u32 / 250;
    let check = |tcp, tcp_fin, udp| Timeouts { tcp, tcp_fin, udp }.check(250);
    assert_eq!(check(0, 0, 0), Ok(()));
    assert_eq!(check(max, max, max), Ok(()));
    for (tcp, fin, udp) in [
        (max + 1, 0, 0),
        (0, max + 1, 0),
        (0, 0, max + 1),
        (0, 0, 1 << 31),
    ] {
        assert_eq!(check(tcp, fin, udp), Err(Refusal::Invalid));
    }
}

#[test]
fn tunnels_as_words() {
    for tunnel in [
        Tunnel::default(),
        Tunnel {
            kind: 255,
            port: Port::new(0xabcd),
            flags: 0xffff,
        },
        Tunnel {
            kind: 1,
            port: Port::new(6080),
            flags: 2,
        },
    ] {
        assert_eq!(Tunnel::from_word(tunnel.to_word()), tunnel);
    }
}
