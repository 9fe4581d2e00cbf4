# Dests that are removed and come back: within two minutes they are the ones
# they were, with their connections and counters; and thresholds.

# state LABEL ACTIVE: what is listed once ACTIVE connections are open.
state() {
	wait_for active "$2"
	# C's counters are two seconds old at worst. Where some were zeroed or
	# went away there is no telling when they are not.
	[ "$MODULE" = rust ] || sleep 2.5
	observe "$1: -Ln" listing
	observe "$1: --stats" listing --stats --exact
	observe "$1: --thresholds" listing --thresholds
}
active() {
	[ "$(director ipvsadm -Ln | awk '/^  ->/ { sum += $5 } END { print sum + 0 }')" = "$1" ]
}

topology nat
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m
vs -a -t "$VIPB:80" -r "$RIPB2:80" -m
expect "rs2 rs1" agent hold client held tcp "$VIP" 80 2
expect "rs2 rs1 rs2" get tcp "$VIP" 80 3
state "before" 2

# Its connections wait for it.
vs -d -t "$VIPB:80" -r "$RIPB1:80"
expect "rs2 rs2" get tcp "$VIP" 80 2
state "removed" 1
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m -w 3
state "back" 2
expect "rs1" agent use held2
expect "rs2" agent use held1
state "used" 2

# Zero points stay with it too.
vs -Z -t "$VIPB:80"
state "zeroed" 2
expect "rs1" agent use held2
vs -d -t "$VIPB:80" -r "$RIPB1:80"
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m
state "back after zero" 2

# A new service of the same name starts from nothing, and so does its dest,
# which has its connections still.
vs -D -t "$VIPB:80"
vs -A -t "$VIPB:80" -s wlc
vs -a -t "$VIPB:80" -r "$RIPB1:80" -m
state "new service" 1
expect "rs1" agent use held2
state "new service, used" 1

# What another service has removed is not found.
vs -A -t "$VIPB:8080" -s rr
vs -a -t "$VIPB:8080" -r "$RIPB2:80" -m
state "other service" 1
vs -a -t "$VIPB:80" -r "$RIPB2:80" -m
expect "rs2" agent use held1
state "both services" 2
vs -C

# A dest is left out from its upper threshold to below its lower one.
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$RIPB3:80" -m
vs -a -t "$VIPB:80" -r "$RIPB1:8080" -m -x 3 -y 2
observe "to three" agent hold client three tcp "$VIP" 80 8
state "to three" 8
vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m -x 5 -y 2
observe "to five" agent hold client five tcp "$VIP" 80 6
state "to five" 14
vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m -x 4
observe "from four" agent hold client four tcp "$VIP" 80 2
vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m
observe "without" agent hold client without tcp "$VIP" 80 4
state "without" 20
served 20
