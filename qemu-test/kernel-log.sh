# For `suite`: what the kernel has logged since a case began.
# shellcheck shell=bash

# A line of ours in the log is where to read from. Its lines cannot be counted:
# a log that is full loses its oldest, and is no longer than before.
mark_log() { # WHAT
	log_mark="suite: $1"
	printf '<6>%s\n' "$log_mark" >>"${KMSG:-/dev/kmsg}"
}

# Prints what the kernel has complained about since the mark; fails if that is
# nothing. A mark that was lost is one more complaint: who knows what else was.
kernel_complaints() {
	dmesg | awk -v mark="$log_mark" '
		found
		!found { at = index($0, mark); found = at && at + length(mark) == length($0) + 1 }
		END { if (!found) print "WARNING: the log lost its line \"" mark "\"" }' |
		grep -E '\bBUG[: ]|WARNING:|unregister_netdevice: waiting|possible recursive locking|suspicious RCU|KASAN|UBSAN|Oops|general protection|blocked for more than|stall'
}
