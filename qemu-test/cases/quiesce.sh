# A real server is quiesced by weight 0 and restored, and the scheduler is changed,
# under continuous requests: none may fail. (In C a service has no scheduler for a
# moment while it is changed.)
#
# Covers: src/dest src/service
# Needs: two CPUs
quiesce() { # TOPOLOGY OPTION
	topology "$1"
	vs -A -t "$VIPB:80" -s wrr
	for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do vs -a -t "$VIPB:80" -r "$rip:80" "$2" -w 2; done
	agent load client load tcp "$VIP" 80 4
	answers() { [ "$(agent tally load 2>/dev/null | awk -v name="$1" '$1 == name { print $2 }')" -ge "$2" ]; }
	more() { # COUNT: waits for COUNT more answers of all servers
		local now
		now=$(agent answered load 2>/dev/null)
		wait_for at_least $((now + $1))
	}
	at_least() { [ "$(agent answered load 2>/dev/null)" -ge "$1" ]; }
	for name in rs1 rs2 rs3; do wait_for answers $name 5; done

	vs -e -t "$VIPB:80" -r "$RIPB1:80" "$2" -w 0
	# Requests begun before end; then rs1 gets no more.
	more 20
	before=$(agent tally load | grep rs1)
	more 40
	expect "$before" tally_of rs1
	vs -e -t "$VIPB:80" -r "$RIPB1:80" "$2" -w 2
	wait_for answers rs1 $((${before#* } + 5))
	vs -e -t "$VIPB:80" -r "$RIPB2:80" "$2" -w 100
	more 20
	[ "$MODULE" = rust ] || expect "rs1 rs2 rs3 " names
	for scheduler in rr wlc wrr; do
		vs -E -t "$VIPB:80" -s $scheduler
		more 20
	done
	[ "$MODULE" = c ] || expect "rs1 rs2 rs3 " names
	agent unload load
	served 100
}
names() { agent tally load | awk '{ printf "%s ", $1 }'; }
tally_of() { agent tally load | grep "$1"; }
nat() { quiesce nat -m; }
dr() { quiesce dr -g; }
nat
FAMILY=6 tracked dr

# A connection to a dest with weight 0 keeps working.
FAMILY=4
topology nat
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m
expect rs1 agent hold client held tcp "$VIP" 80
vs -e -t "$VIPB:80" -r "$RIPB1:80" -m -w 0
expect rs1 agent use held1
expect ECONNREFUSED get tcp "$VIP" 80
# A connection to a deleted dest stalls until the dest is added again.
vs -d -t "$VIPB:80" -r "$RIPB1:80"
agent capture rs1 rs1 eth0
from_client "ip('$CIP', '$VIP', tcp(40001, 80, 'A', b'unheard'))"
observe "deleted" listing
observe "deleted" connections
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m
expect rs1 agent use held1
expect "" agent captured rs1 0 "data=7"
observe "added again" listing
agent close held1
