# The data path that kube-proxy programs in IPVS mode: ipsets, marks, masquerading,
# NodePorts and a dummy device with the service addresses, for two nodes with pods behind
# bridges. The answers and the source addresses at the pods must be C's.
#
# Covers: src/xmit/output src/xt_ipvs src/hook rust-out-of-tree/net/conntrack
PODS=10.244.0.0/16

#   client 192.168.9.254 ──┬── node1 192.168.9.1  cni0 10.244.1.1 ── pod11 pod12
#                          └── node2 192.168.9.2  cni0 10.244.2.1 ── pod21 pod22
cluster() {
	local i j
	modprobe -q br_netfilter || skip "this kernel has no br_netfilter"
	modprobe -a dummy ip_set_hash_ip ip_set_hash_ipport ip_set_hash_ipportip ip_set_bitmap_port
	netns client lan node1 node2 pod11 pod12 pod21 pod22
	ip -n lan link add br0 type bridge
	ip -n lan link set br0 up
	for i in client node1 node2; do
		ip link add eth0 netns $i type veth peer name $i netns lan
		ip -n lan link set $i master br0 up
		ip -n $i link set eth0 up
	done
	configure client <<-.
		addr add 192.168.9.254/24 dev eth0
		route add 10.96.0.0/16 via 192.168.9.1
	.
	for i in 1 2; do
		configure node$i <<-.
			addr add 192.168.9.$i/24 dev eth0
			link add cni0 type bridge
			addr add 10.244.$i.1/24 dev cni0
			link set cni0 up
			link add kube-ipvs0 type dummy
			route add 10.244.$((3 - i)).0/24 via 192.168.9.$((3 - i))
		.
		for j in 1 2; do
			ip link add eth0 netns pod$i$j type veth peer name pod$i$j netns node$i
			ip -n node$i link set pod$i$j master cni0 up
			command bridge -n node$i link set dev pod$i$j hairpin on
			configure pod$i$j <<-.
				addr add 10.244.$i.1$j/24 dev eth0
				link set eth0 up
				route add default via 10.244.$i.1
			.
		done
		setting node$i net.ipv4.ip_forward=1 net.ipv4.vs.conntrack=1 net.ipv4.vs.expire_nodest_conn=1 \
			net.ipv4.vs.expire_quiescent_template=1 net.ipv4.conf.all.arp_ignore=1 \
			net.ipv4.conf.all.arp_announce=2 net.bridge.bridge-nf-call-iptables=1
	done
	agent settle
	for i in 11 12 21 22; do agent serve pod$i pod$i 8080; done
}

proxy() { # NODE
	local node=$1
	n "$node" ipset restore <<-.
		create KUBE-CLUSTER-IP hash:ip,port
		create KUBE-LOOP-BACK hash:ip,port,ip
		create KUBE-LOAD-BALANCER hash:ip,port
		create KUBE-LOAD-BALANCER-LOCAL hash:ip,port
		create KUBE-NODE-PORT-TCP bitmap:port range 0-65535
		create KUBE-NODE-PORT-LOCAL-TCP bitmap:port range 0-65535
		create KUBE-NODE-PORT-UDP bitmap:port range 0-65535
		create KUBE-IPVS-IPS hash:ip
	.
	n "$node" iptables-restore <<-.
		*nat
		:KUBE-SERVICES - [0:0]
		:KUBE-POSTROUTING - [0:0]
		:KUBE-MARK-MASQ - [0:0]
		:KUBE-NODE-PORT - [0:0]
		:KUBE-LOAD-BALANCER - [0:0]
		-A PREROUTING -j KUBE-SERVICES
		-A OUTPUT -j KUBE-SERVICES
		-A POSTROUTING -j KUBE-POSTROUTING
		-A KUBE-SERVICES -s 127.0.0.0/8 -j RETURN
		-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j KUBE-LOAD-BALANCER
		-A KUBE-SERVICES ! -s $PODS -m set --match-set KUBE-CLUSTER-IP dst,dst -j KUBE-MARK-MASQ
		-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODE-PORT
		-A KUBE-SERVICES -m set --match-set KUBE-CLUSTER-IP dst,dst -j ACCEPT
		-A KUBE-SERVICES -m set --match-set KUBE-LOAD-BALANCER dst,dst -j ACCEPT
		-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-LOCAL-TCP dst -j RETURN
		-A KUBE-NODE-PORT -p tcp -m set --match-set KUBE-NODE-PORT-TCP dst -j KUBE-MARK-MASQ
		-A KUBE-NODE-PORT -p udp -m set --match-set KUBE-NODE-PORT-UDP dst -j KUBE-MARK-MASQ
		-A KUBE-LOAD-BALANCER -m set --match-set KUBE-LOAD-BALANCER-LOCAL dst,dst -j RETURN
		-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ
		-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
		-A KUBE-POSTROUTING -m set --match-set KUBE-LOOP-BACK dst,dst,src -j MASQUERADE
		-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
		-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
		-A KUBE-POSTROUTING -j MASQUERADE --random-fully
		COMMIT
		*filter
		:KUBE-FORWARD - [0:0]
		:KUBE-IPVS-FILTER - [0:0]
		-A FORWARD -j KUBE-FORWARD
		-A INPUT -m conntrack --ctstate NEW -j KUBE-IPVS-FILTER
		-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
		-A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
		-A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
		-A KUBE-IPVS-FILTER -m set --match-set KUBE-LOAD-BALANCER dst,dst -j RETURN
		-A KUBE-IPVS-FILTER -m set --match-set KUBE-CLUSTER-IP dst,dst -j RETURN
		-A KUBE-IPVS-FILTER -m set --match-set KUBE-IPVS-IPS dst -j REJECT
		COMMIT
	.
}

# service NODE PROTO ADDRESS PORT POD… : an IPVS service with these pods, port 8080.
service() {
	local DIRECTOR=$1 proto=$2 flag=-${2:0:1} address=$3 port=$4 pod
	[ "$proto" != sctp ] || flag=--sctp-service
	vs -A "$flag" "$address:$port" -s rr
	for pod in "${@:5}"; do
		vs -a "$flag" "$address:$port" -r "10.244.${pod:0:1}.1${pod:1:1}:8080" -m
		n "$1" ipset -exist add KUBE-LOOP-BACK "10.244.${pod:0:1}.1${pod:1:1},$proto:8080,10.244.${pod:0:1}.1${pod:1:1}"
	done
}
cluster_ip() { # NODE PROTO ADDRESS PORT POD…
	ip -n "$1" addr replace "$3/32" dev kube-ipvs0
	n "$1" ipset -exist add KUBE-CLUSTER-IP "$3,$2:$4"
	n "$1" ipset -exist add KUBE-IPVS-IPS "$3"
	service "$@"
}
# The pods that answered and the sources of the requests; masqueraded ports are random.
seen() { # FROM PROTO ADDRESS PORT COUNT
	agent get "$1" "$2" "$3" "$4" "$5" who 3 | awk '{ print $1, $2 }' | LC_ALL=C sort
}

cluster
for node in node1 node2; do
	proxy $node
	cluster_ip $node tcp 10.96.0.10 80 11 12 21 22
	cluster_ip $node udp 10.96.0.53 53 11 21
	# One pod, which is its own client, too.
	cluster_ip $node tcp 10.96.0.20 80 11
done
for from in client node1 node2 pod11 pod21; do
	observe "ClusterIP from $from" seen $from tcp 10.96.0.10 80 8
	observe "UDP from $from" seen $from udp 10.96.0.53 53 4
	observe "one pod, from $from" seen $from tcp 10.96.0.20 80 2
done
# NodePorts: masqueraded, and with externalTrafficPolicy: Local.
for node in 1 2; do
	service node$node tcp 192.168.9.$node 30080 11 12 21 22
	n node$node ipset add KUBE-NODE-PORT-TCP 30080
	service node$node tcp 192.168.9.$node 30081 ${node}1 ${node}2
	n node$node ipset add KUBE-NODE-PORT-TCP 30081
	n node$node ipset add KUBE-NODE-PORT-LOCAL-TCP 30081
	observe "NodePort of node$node" seen client tcp 192.168.9.$node 30080 8
	observe "NodePort of node$node, local" seen client tcp 192.168.9.$node 30081 4
done
# Session affinity, an end by weight 0, a removed pod, and a port that is not served.
DIRECTOR=node1
vs -E -t 10.96.0.10:80 -s rr -p 10800
expect 1 wc -l < <(seen client tcp 10.96.0.10 80 6 | uniq)
vs -E -t 10.96.0.10:80 -s rr
agent hold client held tcp 10.96.0.10 80 4
for pod in 11 12 21; do vs -e -t 10.96.0.10:80 -r "10.244.${pod:0:1}.1${pod:1:1}:8080" -m -w 0; done
observe "new ones go to the last pod" seen client tcp 10.96.0.10 80 3
observe "established ones go on" xargs < <(for i in 1 2 3 4; do agent use held$i; done | sort)
vs -d -u 10.96.0.53:53 -r 10.244.1.11:8080
observe "UDP without a pod" seen client udp 10.96.0.53 53 3
observe "not served" agent get client tcp 10.96.0.10 81 1 name 2
# SCTP: the kernel of each pod listens on the pod's own address.
if modprobe -q sctp; then
	for pod in 11 21; do agent serve_sctp pod$pod pod$pod "10.244.${pod:0:1}.1${pod:1:1}" 8080; done
	for node in node1 node2; do cluster_ip $node sctp 10.96.0.30 9000 11 21; done
	for from in client node1 pod11 pod21; do
		observe "SCTP from $from" agent get $from sctp 10.96.0.30 9000 2
	done
fi
# A hundred services come, change and go while connections are served by another one.
many() { # WHAT POD-OPTIONS…
	local i pod
	for i in {1..100}; do
		case $1 in
		-A | -D) echo "$1 -t 10.96.1.$i:80" ;;
		esac
		[ $# -eq 1 ] || for pod in 1.11 1.12 2.11 2.12; do echo "${*:2:1} -t 10.96.1.$i:80 -r 10.244.$pod:8080 ${*:3}"; done
	done
}
addresses() { # del|replace, add|del
	local i
	for i in {1..100}; do echo "addr $1 10.96.1.$i/32 dev kube-ipvs0"; done | ip -n node1 -batch -
	for i in {1..100}; do echo "$2 KUBE-CLUSTER-IP 10.96.1.$i,tcp:80"; done | n node1 ipset -exist restore
}
cluster_ip node1 tcp 10.96.0.40 80 11 12 21 22
agent get client tcp 10.96.0.40 80 60 name 20 >/run/served &
for round in 1 2; do
	many -A -a -m | sed '/^-A/s/$/ -s rr/' | vs -R
	addresses replace add
	many -e -e -m -w 2 | vs -R
	if [ $round = 2 ]; then break; fi
	many -e -e -m -w 0 | vs -R
	addresses del del
	many -D | vs -R
done
wait $!
observe "served during the changes" xargs < <(sort /run/served | uniq -c)
expect 100 n node1 grep -c "TCP  0A6001" /proc/net/ip_vs
for i in 1 50 100; do observe "service $i of 100" seen client tcp 10.96.1.$i 80 4; done
many -D | vs -R
addresses del del
counted() { n node1 gawk --non-decimal-data 'NR == 3 { exit !(("0x" $2) + 0 >= 100) }' /proc/net/ip_vs_stats; }
wait_for counted
observe "services" listing
observe "rules" n node1 iptables -t nat -S
