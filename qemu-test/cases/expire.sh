# Conns expire after their timeout and are subtracted from the counts; one in use
# stays.
#
# Covers: src/conn
# Needs: two CPUs
expiry() {
	topology nat
	vs --set $((3 * SLOW)) $((2 * SLOW)) $((3 * SLOW))
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s rr
	for p in t u; do
		vs -a -$p "$VIPB:80" -r "$RIPB1:80" -m
		vs -a -$p "$VIPB:80" -r "$RIPB2:80" -m
	done
	agent hold client open tcp "$VIP" 80 4 >/dev/null
	agent hold client used tcp "$VIP" 80 2 >/dev/null
	agent hold client asked udp "$VIP" 80 1 >/dev/null
	expect "rs1 rs2 rs1 rs2" get udp "$VIP" 80 4
	served 11
	observe "IPv$FAMILY: all" counted
	in_use() { # uses three conns until only these remain
		agent use used1 >/dev/null && agent use used2 >/dev/null && agent use asked1 >/dev/null &&
			[ "$(count)" = 3 ]
	}
	wait_for in_use
	observe "IPv$FAMILY: those in use" listing
	observe "IPv$FAMILY: those in use" connections
	gone() { [ "$(count)" = 0 ]; }
	wait_for gone
	observe "IPv$FAMILY: none" listing
	observe "IPv$FAMILY: new" agent use asked1
	observe "IPv$FAMILY: new" connections
}
# Active and inactive conns in one sum: how fast closed conns change state depends on
# timing.
counted() { nsenter --net=/run/netns/director ipvsadm -Ln | awk '$1 == "->" && $5 ~ /^[0-9]/ { print $2, $5 + $6 }'; }
in_turn expiry

# The timeout of each state, from its remaining time.
FAMILY=4
topology nat
vs --set 100 45 77
for p in t u; do
	vs -A -$p "$VIPB:80" -s rr
	vs -a -$p "$VIPB:80" -r "$GSB:80" -m
done
agent sequences "$UPLINK" "$DOWNLINK" "$GC" "$VIP" "$GS" 3 "S A FA R" "SA A FA R" >/dev/null
from_client "ip('$GC', '$VIP', udp(5001, 80))"
served 100
observe "timeouts" agent timeouts director 2 10 30 45 60 77 100 120

# A shorter timeout takes effect at once, even if the timer was set for a longer one.
topology nat
vs --set 100 1 100
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$GSB:80" -m
state() { [ "$(nsenter --net=/run/netns/director awk 'NR > 1 { print $8 }' /proc/net/ip_vs_conn)" = "$1" ]; }
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'S'))"
wait_for state SYN_RECV
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'A'))"
wait_for state ESTABLISHED
from_server "ip('$GS', '$GC', tcp(80, 5000, 'FA'))"
wait_for gone
observe "closed" listing
