# What can be configured but is not implemented yet: sync daemons, with one warning for
# each load of the module. (C implements them.)
#
# Covers: src/sync
[ "$MODULE" = rust ] || skip "C has sync daemons"
. ./kernel-log.sh
DAEMONS="sync daemons do not send or receive yet"

# Prints all such warnings since the module was loaded.
warnings() { log_since_mark | sed -n '/ yet$/s/.*ip_vs: //p; /WARNING/p'; }
load() {
	netns director
	wait_for unload
	mark_log "$1"
	modprobe ip_vs
	expect "" warnings
}
daemons() { # FAMILY
	local i
	FAMILY=$1
	topology nat
	for i in 1 2; do
		vs --start-daemon master --mcast-interface eth0
		vs --start-daemon backup --mcast-interface eth0
		vs --stop-daemon master
		vs --stop-daemon backup
	done
}

load "unsupported, first"
daemons 4
expect "$DAEMONS" warnings
# No further warning in another namespace, with the other family.
daemons 6
expect "$DAEMONS" warnings
load "unsupported, second"
daemons 4
expect "$DAEMONS" warnings
