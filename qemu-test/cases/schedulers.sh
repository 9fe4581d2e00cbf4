# The dests chosen by rr, wrr and wlc, with weights, changes of weights, open
# connections, and no usable dest.
#
# Covers: src/sched
FAMILY=4 CONNTRACK=
topology nat
PORT=8080
service() { # SCHEDULER WEIGHT…
	vs -C
	vs -A -t "$VIPB:80" -s "$1"
	vs -a -t "$VIPB:80" -r "$RIPB1:$PORT" -m -w "$2"
	vs -a -t "$VIPB:80" -r "$RIPB2:$PORT" -m -w "$3"
	vs -a -t "$VIPB:80" -r "$RIPB3:$PORT" -m -w "$4"
}
weigh() { vs -e -t "$VIPB:80" -r "$1:$PORT" -m -w "$2"; }

turns() { # SCHEDULER COUNT WEIGHTS…
	local weights
	for weights in "${@:3}"; do
		# shellcheck disable=SC2086 # words
		service "$1" $weights
		observe "$1 $weights" get tcp "$VIP" 80 "$2"
	done
}
turns rr 7 "1 1 1" "5 1 0" "0 0 7"
served 7

# rr continues at the same position when the next dest is removed, one is added, and
# the last one is removed.
service rr 1 1 1
observe "rr, begun" get tcp "$VIP" 80 1
vs -d -t "$VIPB:80" -r "$RIPB2:$PORT"
observe "rr, without rs2" get tcp "$VIP" 80 3
vs -a -t "$VIPB:80" -r "$RIPB2:$PORT" -m
observe "rr, with rs2" get tcp "$VIP" 80 4
vs -d -t "$VIPB:80" -r "$RIPB1:$PORT"
observe "rr, without rs1" get tcp "$VIP" 80 3

turns wrr 14 "1 1 1" "1 2 4" "6 4 2" "0 3 0" "5 0 3"
weigh "$RIPB2" 2
observe "wrr, rs2 to 2" get tcp "$VIP" 80 9
weigh "$RIPB1" 1
observe "wrr, rs1 to 1" get tcp "$VIP" 80 9
vs -d -t "$VIPB:80" -r "$RIPB3:$PORT"
observe "wrr, without rs3" get tcp "$VIP" 80 6
vs -a -t "$VIPB:80" -r "$RIPB3:$PORT" -m -w 3
observe "wrr, with rs3" get tcp "$VIP" 80 9
vs -E -t "$VIPB:80" -s rr
observe "now rr" get tcp "$VIP" 80 6

# Without a scheduler no dest is chosen.
vs -E -t "$VIPB:80" -s none
observe "now none" get tcp "$VIP" 80 1
observe "now none" listing
vs -E -t "$VIPB:80" -s wrr
observe "wrr again" get tcp "$VIP" 80 6

# Other ports, as dests that are added again would have their old conns.
least() { # WEIGHTS…
	local weights
	for i in 1 2 3; do agent serve rs$i rs$i 81 82 83 84; done
	PORT=80
	for weights; do
		PORT=$((PORT + 1))
		# shellcheck disable=SC2086
		service wlc $weights
		observe "wlc $weights" agent hold client "${weights// /}-" tcp "$VIP" 80 10
	done
	observe "wlc, open" listing
}
least "1 1 1" "1 2 4" "3 0 1"
inactive() { [ "$(vs -Ln | awk '$1 == "->" { n += $6 } END { print n }')" = "$1" ]; }
agent close '301-[1-4]'
wait_for inactive 4
observe "wlc, four closed" listing
observe "wlc, four closed" agent hold client more tcp "$VIP" 80 7
weigh "$RIPB2" 9
observe "wlc, rs2 to 9" agent hold client most tcp "$VIP" 80 7
observe "wlc, in the end" listing

PORT=84
service rr 0 0 0
observe "no usable dest, tcp" get tcp "$VIP" 80 1
vs -A -u "$VIPB:80" -s wlc
observe "no dest, udp" get udp "$VIP" 80 1
vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
observe "one dest, udp" get udp "$VIP" 80 1

# Weights larger than ipvsadm accepts: scheduling works.
heavy() { # SCHEDULER WEIGHT…
	vs -C
	vs -A -u "$VIPB:80" -s "$1"
	director python3 -c '
import sys
from genl import *
vip, ipvs = sys.argv[1], Family()
for number, weight in enumerate(sys.argv[2:], 11):
    fields = server(f"10.1.1.{number}", 8080, WEIGHT=u32(int(weight)))
    ipvs.call(command("NEW_DEST"), service(**ident(vip, 80, 17)) + real(**fields))' "$VIP" "${@:2}"
	observe "$*" get udp "$VIP" 80 9
}
for scheduler in wrr wlc mh; do
	heavy $scheduler 2147483647 1 65535
	heavy $scheduler 2147483647 2147483646 2147483645
done

again() {
	topology nat
	PORT=8080
	turns rr 4 "1 1 1"
	turns wrr 7 "1 2 4"
	least "1 2 4"
}
tracked again
