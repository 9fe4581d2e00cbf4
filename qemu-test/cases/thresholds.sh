# Upper and lower thresholds: a dest at the upper one gets no connection until it is
# below the lower one. Tested with UDP conns, which are counted in the same way and
# expire.
#
# Covers: src/dest src/service
# Needs: a fast kernel

FAMILY=4
show() { observe "$1: --thresholds" listing --thresholds; } # LABEL
total() { # ADDRESS COUNT: whether this dest has COUNT conns
	[ "$(nsenter --net=/run/netns/director ipvsadm -Ln | awk -v d="$1" '$2 == d { print $5 + $6 }')" = "$2" ]
}
# ended LEFT NAME…: lets these conns expire, so that LEFT remain
ended() {
	local left=$1 name
	shift
	vs --set 0 0 1
	for name; do agent use "$name" >/dev/null; done
	vs --set 0 0 300
	wait_for total "$RIPB1:80" "$left"
}
one() { get udp "$VIP" 80; }

# One dest: connections above the threshold are refused.
alone() { # UPPER LOWER SCHEDULER NAME…: lets conns NAME… expire, the first one last
	topology nat
	vs --set 0 0 300
	vs -A -u "$VIPB:80" -s "$3"
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -m -x "$1" -y "$2"
	local label="IPv$FAMILY $3 -x $1 -y $2" names=("${@:4}")
	observe "$label: up" agent hold client up udp "$VIP" 80 $(($1 + 1))
	show "$label: full"
	ended $(($1 - ${#names[@]} + 1)) "${names[@]:1}"
	observe "$label: still full" one
	show "$label: still full"
	ended $(($1 - ${#names[@]})) "${names[0]}"
	observe "$label: below" one
	show "$label: below"
}
alone 4 2 rr up1 up3 up4
FAMILY=6
tracked alone 4 0 wlc up2 up4
FAMILY=4

# Several dests: the others get more. Edits take effect at once.
for scheduler in rr wlc; do
	topology nat
	vs -A -u "$VIPB:80" -s $scheduler
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -m -x 2
	vs -a -u "$VIPB:80" -r "$RIPB2:80" -m -x 4 -y 1 -w 2
	observe "$scheduler: to six" agent hold client six udp "$VIP" 80 8
	show "$scheduler: to six"
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -m -x 3
	observe "$scheduler: three" agent hold client three udp "$VIP" 80 2
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -m -x 3 -w 0
	vs -e -u "$VIPB:80" -r "$RIPB2:80" -m -w 2
	observe "$scheduler: without" agent hold client without udp "$VIP" 80 2
	vs -e -u "$VIPB:80" -r "$RIPB2:80" -m -w 0
	observe "$scheduler: all quiesced" agent hold client none udp "$VIP" 80 1
	show "$scheduler: all quiesced"
done

# A template is used even if its dest is overloaded.
topology nat
vs -A -u "$VIPB:80" -s rr -p 300
vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
vs -a -u "$VIPB:80" -r "$RIPB2:80" -m -x 1
observe "persistent" agent hold client held udp "$VIP" 80 3
agent source "${CIP%4}3"
configure client <<-.
	addr add ${CIP%4}3/24 dev eth0
.
observe "another" get udp "$VIP" 80 2
show "persistent"
agent source ""

# Values refused and accepted
try() {
	local said status=0
	said=$(nsenter --net=/run/netns/director ipvsadm "$@" 2>&1) || status=$?
	say "[director] ipvsadm $*"
	observe "ipvsadm $*" printf '%s\n' "status $status${said:+$'\n'}$said"
}
for limits in "-x 5 -y 10" "-x 10 -y 5" "-y 1" "-x 65535" "-x 65536" "-x -1" \
	"-w 65535" "-w 65536" "-w -1" "-w 2147483647" "-w 2147483648"; do
	# shellcheck disable=SC2086 # words
	try -e -u "$VIPB:80" -r "$RIPB1:80" -m $limits
	observe "$limits" proc_listing
	show "$limits"
done
for timeout in 0 2678400 2678401 x; do
	try -E -u "$VIPB:80" -s rr -p $timeout
	observe "-p $timeout" listing
done
for mask in 0.0.0.0 255.0.255.0 33 x; do
	try -E -u "$VIPB:80" -s rr -p 10 -M $mask
	observe "-M $mask" listing
done
try -A -u '[2001:db8:1::110]:80' -s rr -p 10 -M 0
try -A -u '[2001:db8:1::110]:80' -s rr -p 10 -M 129
try -A -u '[2001:db8:1::110]:80' -s rr -p 10 -M 1
try -A -u '[2001:db8:1::110]:81' -s rr -p
try -A -u "$VIPB:81" -s rr -o
try -A -t "$VIPB:81" -s rr -o
try -A -t "$VIPB:0" -s rr -p 10
try -A -f 0 -s rr
try -A -f 4294967295 -s rr -o
try -A -f 4294967296 -s rr -o
try -A -f 7 -6 -s rr -p 10 -M 64
show "all"
observe "all" saved
observe "all" proc_listing
