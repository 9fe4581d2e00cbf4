# net.ipv4.vs.lblc_expiration and lblcr_expiration: what they take and show, in
# namespaces of one's own and of an unprivileged user. What they do is seen in
# `choices`.
netns director other
DIRECTOR=director
vs -A -f 7 -s lblc
vs -A -f 8 -s lblcr
observe "both" listing

file() { echo "/proc/sys/net/ipv4/vs/$1_expiration"; }
try() { # NAMESPACE SCHEDULER VALUE: as echo, and what there is after it
	n "$1" sh -c 'echo "$1" >"$2" || echo refused; cat "$2"' sh "$3" "$(file "$2")" 2>/dev/null
}
for scheduler in lblc lblcr; do
	for ns in director other; do
		observe "$scheduler, $ns" n $ns cat "$(file $scheduler)"
		observe "$scheduler, $ns, mode" n $ns stat -c %a "$(file $scheduler)"
	done
	for value in 5 0 -1 8589934 8589935 2147483647 -2147483648 4294967296 1.5 x "3 4" ""; do
		observe "$scheduler, '$value'" try director $scheduler "$value"
	done
	observe "$scheduler, other, as before" n other cat "$(file $scheduler)"
done

# The files are those of the administrator.
seen() { unshare --user --map-root-user --net ls /proc/sys/net/ipv4/vs | grep -c expiration || true; }
observe "in a user's namespace" seen

# What a service remembers goes with its scheduler, and with it.
vs -E -f 7 -s lblcr
vs -E -f 8 -s lblc
observe "the other way" listing
vs -C
