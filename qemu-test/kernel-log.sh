# For `suite` and cases: prints the kernel log since a mark.
# shellcheck shell=bash

# Writes a line to the kernel log as the mark. A line count is not enough: a full
# log drops its oldest lines.
mark_log() { # WHAT
	log_mark="suite: $1"
	printf '<6>%s\n' "$log_mark" >>"${KMSG:-/dev/kmsg}"
}

# Prints the log since the mark. A lost mark counts as a report of the kernel, as
# other lines may be lost too.
log_since_mark() {
	dmesg | awk -v mark="$log_mark" '
		found
		!found { at = index($0, mark); found = at && at + length(mark) == length($0) + 1 }
		END { if (!found) print "WARNING: the log lost its line \"" mark "\"" }'
}

# Prints the kernel's reports since the mark; fails if there are none.
kernel_complaints() {
	log_since_mark |
		grep -E '\bBUG[: ]|WARNING:|unregister_netdevice: waiting|possible recursive locking|suspicious RCU|KASAN|UBSAN|Oops|general protection|blocked for more than|stall'
}
