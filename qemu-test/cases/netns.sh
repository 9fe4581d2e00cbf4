# Two directors with the same VIP in two namespaces. One, with connection tracking,
# is deleted under traffic; the other must not be affected.
#
# Covers: src/netns src/pernet rust-out-of-tree/net
# Needs: two CPUs
services() { # I SCHEDULER
	DIRECTOR=director$1
	vs -A -t 192.168.1.110:80 -s "$2"
	vs -a -t 192.168.1.110:80 -r 10.1.1.11:80 -m
	vs -A -u '[2001:db8:1::110]:80' -s "$2"
	vs -a -u '[2001:db8:1::110]:80' -r '[2001:db8:2::11]:80' -m
}
agent topology two >/dev/null
for i in 1 2; do agent serve rs$i rs$i 80; done
TOPOLOGY=nat drop_invalid director2
services 1 rr
services 2 wlc
for i in 1 2; do
	expect "rs$i rs$i" agent get client$i tcp 192.168.1.110 80 2
	expect "rs$i rs$i" agent get client$i udp 2001:db8:1::110 80 2
done
# Changes in one are not visible in the other.
DIRECTOR=director2
vs --set 50 40 30
vs -A -t 192.168.1.110:81 -s wrr
for DIRECTOR in director1 director2; do
	observe "$DIRECTOR" listing
	observe "$DIRECTOR" vs -Ln --timeout
	observe "$DIRECTOR" connections
done
DIRECTOR=director2
vs -D -t 192.168.1.110:81

load() { # I NAME PROTO ADDRESS
	agent load client$1 $2 $3 $4 80 2
}
answers() { [ "$(agent answered "$1" 2>/dev/null)" -ge "$2" ]; }
for i in 1 2; do
	load $i tcp$i tcp 192.168.1.110
	load $i udp$i udp 2001:db8:1::110
done
for name in tcp1 udp1 tcp2 udp2; do wait_for answers $name 10; done
say ip netns del director2
ip netns del director2
now=$(agent answered tcp1)
wait_for answers tcp1 $((now + 50))
now=$(agent answered udp1)
wait_for answers udp1 $((now + 50))
only() { agent unload "$1" | awk '{ print $1 }'; }
expect rs1 only tcp1
expect rs1 only udp1
listed() { nsenter --net=/run/netns/director1 ipvsadm -Ln | awk '$2 ~ /^[0-9[]/ && $1 == "->" { printf "%s%s", sep, $2; sep = " " }'; }
expect "10.1.1.11:80 [2001:db8:2::11]:80" listed
# A new namespace with the same name starts empty.
netns director2
DIRECTOR=director2
observe "a new director2" listing
observe "a new director2" vs -Ln --timeout
