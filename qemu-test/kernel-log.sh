# For `suite`, and for cases: what the kernel has logged since a mark.
# shellcheck shell=bash

# A line of ours in the log is where to read from. Its lines cannot be counted:
# a log that is full loses its oldest, and is no longer than before.
mark_log() { # WHAT
	log_mark="suite: $1"
	printf '<6>%s\n' "$log_mark" >>"${KMSG:-/dev/kmsg}"
}

# Prints what came since the mark. A mark that was lost is a complaint more: who
# knows what else was.
log_since_mark() {
	dmesg | awk -v mark="$log_mark" '
		found
		!found { at = index($0, mark); found = at && at + length(mark) == length($0) + 1 }
		END { if (!found) print "WARNING: the log lost its line \"" mark "\"" }'
}

# Prints what the kernel has complained about since the mark; fails if that is
# nothing.
kernel_complaints() {
	log_since_mark |
		grep -E '\bBUG[: ]|WARNING:|unregister_netdevice: waiting|possible recursive locking|suspicious RCU|KASAN|UBSAN|Oops|general protection|blocked for more than|stall'
}
