# Templates with dests that are quiesced, removed and added again, and the templates'
# timeout.
#
# Covers: src/conn/template src/hook/persist
# Needs: a fast kernel

. ./persistent.sh
FAMILY=4

# Dests that are quiesced, removed and added again
topology nat
clients 24
PROTO=tcp
services -p 300
observe "before" ask_from 254 253
vs -e -t "$VIPB:80" -r "$RIPB3:80" -m -w 0
observe "weight 0" ask_from 254 253 201 200
vs -d -t "$VIPB:80" -r "$RIPB2:80"
observe "removed" ask_from 254 253 201 200
show "removed"
vs -a -t "$VIPB:80" -r "$RIPB2:80" -m
observe "added again" ask_from 254 253 201 200
show "added again"
vs -C
show "flushed"
services -p 300
observe "all added again" ask_from 254 253 201 200
show "all added again"
# With expire_quiescent_template, templates are not used for dests of weight 0. With
# expire_nodest_conn, conns and templates of a removed dest end.
none_to() { ! nsenter --net=/run/netns/director grep -qi " $1 " /proc/net/ip_vs_conn; }
setting director net.ipv4.vs.expire_quiescent_template=1
vs -e -t "$VIPB:80" -r "$RIPB3:80" -m -w 0
observe "quiescent" ask_from 254 253 201 200
show "quiescent"
setting director net.ipv4.vs.expire_nodest_conn=1
vs -d -t "$VIPB:80" -r "$RIPB2:80"
wait_for none_to 0A01010C
show "no dest"
vs -C
wait_for is_left 0
show "none of all"

# A template exists for its own timeout, and at least as long as its conns. With
# connection tracking, see drop_invalid.
CONNTRACK=yes TOPOLOGY=
topology nat
vs --set 0 0 1
vs -A -u "$VIPB:80" -s rr -p 2
dests -m 80 -u "$VIPB:80"
vs -A -u "$VIPB:8080" -s rr -p 300
dests -m 8080 -u "$VIPB:8080"
vs -A -u "$VIPB:81" -s rr -p 1
vs -a -u "$VIPB:81" -r "$RIPB1:8080" -m
observe "short" get udp "$VIP" 80 3
observe "longer" get udp "$VIP" 8080
wait_for is_left 1
show "a template alone"
vs --set 0 0 300
observe "long" get udp "$VIP" 81
prolonged() { director awk '$3 == "0000" && $5 == "0051" && $9 > 10 { found = 1 } END { exit !found }' /proc/net/ip_vs_conn; }
wait_for prolonged
observe "prolonged" left 300
observe "long" get udp "$VIP" 81
observe "prolonged again" left 300
show "prolonged"

# Namespace and module are removed while templates exist.
ip netns del director
wait_for unload
modprobe ip_vs
