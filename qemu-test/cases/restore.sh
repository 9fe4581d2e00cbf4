# Save and restore: a configuration of 500 lines that uses all features; a smaller one
# by ipvsadm's own scripts, Debian's service and RHEL's service, with the module
# unloaded in between as at a boot; and configurations with errors.
#
# Covers: src/ctl/sockopt src/spec

# Prints lines from a fixed seed in the format of `ipvsadm -S -n`, in random order, but
# with services before their dests. Some dests have thresholds, which it does not
# print.
generate() { # LINES
	awk -v seed=20240229 -v most="$1" '
		function pick(list, sep,   n, all) { n = split(list, all, sep ? sep : " "); return all[int(rand() * n) + 1] }
		function many(n) { return int(rand() * n) }
		function emit(first, line) { lines++; printf "%.9f\t%s\n", first + rand(), line }
		function dest(name, v6, port, i,   way, rip, line) {
			way = pick("-g -i -m -m")
			if (way == "-i" && many(3) == 0) v6 = !v6
			if (way == "-m") port = pick("0 80 8080 65535")
			rip = v6 ? sprintf("[2001:db8:2:%x::%x]", i, 16 + many(4000)) : sprintf("10.%d.%d.%d", i, many(256), 1 + many(254))
			line = "-a " name " -r " rip ":" port " " way " -w " pick("0 1 1 5 100 65535")
			if (way == "-i")
				line = line " --tun-type " pick("ipip|gue --tun-port 6080 --tun-nocsum|gue --tun-port 65535 --tun-csum|gue --tun-port 1 --tun-remcsum|gre --tun-nocsum|gre --tun-csum", "|")
			emit(1, line pick("||| -x 100| -x 2147483647 -y 1", "|"))
		}
		function service(name, v6, port,   scheduler, line, flags, i) {
			scheduler = pick("rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos")
			line = "-A " name " -s " scheduler
			if ((port == 0 && name !~ /^-f/) || many(3) == 0) {
				line = line " -p " pick("1 50 360 2678400")
				if (many(2))
					line = line " -M " (v6 ? pick("1 48 64 127") : pick("255.255.255.0 255.0.0.0 0.0.0.0 255.255.255.254"))
			}
			if (name ~ /^-[uf]/ && many(3) == 0) line = line " -o"
			flags = many(4) ? "" : pick("flag-1 flag-2 flag-1,flag-2")
			if (scheduler ~ /^[sm]h$/) {
				flags = pick("|S-fallback|S-port|S-fallback,S-port", "|")
				gsub("S", scheduler, flags)
			}
			if (flags) line = line " -b " flags
			emit(0, line)
			for (i = 2 + many(9); i > 0; i--) dest(name, v6, port, i)
		}
		BEGIN {
			srand(seed)
			for (i = 1; lines < most; i++) {
				v6 = many(2)
				if (many(5) == 0)
					service("-f " i * 7919 (v6 ? " -6" : ""), v6, 0)
				else {
					port = pick("0 80 443 65535 " i)
					service(pick("-t -u --sctp-service") " " (v6 ? sprintf("[2001:db8:1::%x]:", i) : "192.168.1." i ":") port, v6, port)
				}
			}
		}' | sort -n | cut -f 2
}

sorted() { LC_ALL=C sort "$@"; }
# begin LINES: restores a configuration of LINES lines
begin() {
	generate "$1" >/tmp/lines
	[ "$(wc -l </tmp/lines)" -ge "$1" ] || fail "too few lines"
	director ipvsadm-restore </tmp/lines
	director ipvsadm-save -n >/tmp/before
	sed -E 's/ -x .*//' /tmp/lines | sorted >/tmp/wanted
	sorted /tmp/before | diff /tmp/wanted - >&2 || fail "the saved configuration differs from the restored one"
}
# The table must be the same as at the beginning.
same() { # LABEL
	director ipvsadm-save -n >/tmp/now
	cmp /tmp/before /tmp/now || fail "$1: the saved configuration differs"
	say "$1: the same table"
}
# Unloads the module, as a boot would
boot() {
	expect "" vs -Sn
	wait_for unload
}

netns director
configure director <<<"link set lo up"
begin 500
observe "saved" cat /tmp/before
observe "thresholds" listing --thresholds
observe "/proc/net/ip_vs" proc_listing
director ipvsadm-restore </tmp/before
same "restored over the same table"

# A smaller configuration across a boot, by ipvsadm's own scripts
begin 60
director ipvsadm-save -n >/tmp/file
vs --clear
boot
director ipvsadm-restore </tmp/file
same "ipvsadm-restore"

# Debian's service in both forms: the init.d script and the commands of the unit
was=$(</etc/default/ipvsadm)
sed -i 's/^AUTO=.*/AUTO="true"/' /etc/default/ipvsadm
grep -qx 'AUTO="true"' /etc/default/ipvsadm
director /etc/init.d/ipvsadm save
director /etc/init.d/ipvsadm stop
boot
director /etc/init.d/ipvsadm start
same "init.d/ipvsadm"
director /etc/init.d/ipvsadm reload
same "init.d/ipvsadm reload"
unit() { # KEY…: runs the unit's commands for these keys
	local key command
	for key; do
		command=$(sed -n "s/^$key=//p" /usr/lib/systemd/system/ipvsadm.service)
		[ -n "$command" ] || fail "no $key in ipvsadm.service"
		# shellcheck disable=SC2086 # words
		(set -a && . /etc/default/ipvsadm && director $command)
	done
}
unit ExecStop
unit ExecStopPost
boot
unit ExecStartPre ExecStart
same "ipvsadm.service"
printf '%s\n' "$was" >/etc/default/ipvsadm

# RHEL's service saves on stop.
director /bin/bash -c "exec /sbin/ipvsadm-save -n > /tmp/file"
director /sbin/ipvsadm -C
boot
director /bin/bash -c "exec /sbin/ipvsadm-restore < /tmp/file"
same "RHEL's service"

# Errors: ipvsadm reports those of the kernel and continues with the next line; after
# one of its own it exits.
try() {
	local status=0 said
	vs -C
	said=$(director ipvsadm-restore 2>&1) || status=$?
	printf '%s\n' "status $status" "$said"
	vs -Sn
}
observe "errors of the kernel" try <<-.
	-A -t 192.168.1.110:80 -s rr
	-A -t 192.168.1.110:80 -s wrr
	-A -t 192.168.1.110:81 -s nosuch
	-a -t 192.168.1.110:81 -r 10.1.1.11 -m
	-a -t 192.168.1.110:80 -r 10.1.1.11 -m
	-a -t 192.168.1.110:80 -r 224.0.0.1 -m
	-a -t 192.168.1.110:80 -r 10.1.1.12 -m -x 1 -y 2
	-a -t 192.168.1.110:80 -r 10.1.1.11 -m
	-a -t 192.168.1.110:80 -r 10.1.1.13 -m
.
observe "the last one is an error" try <<-.
	-A -t 192.168.1.110:80 -s rr
	-A -t 192.168.1.110:80 -s rr
.
for line in "-A -t 192.168.1.110:81 -s rr -b nosuch" "nonsense"; do
	observe "error of ipvsadm: $line" try <<-.
		-A -t 192.168.1.110:80 -s rr
		$line
		-A -t 192.168.1.110:82 -s rr
	.
done
