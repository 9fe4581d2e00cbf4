# shellcheck shell=bash
# Hosts and wires. A host is a shell in network and host-name namespaces of
# its own, that runs the lines it is given; switches are bridges outside.

export run
run=$(mktemp -d)
declare -A to from pid

# boot HOST…
boot() {
	local h
	for h; do
		mkdir -p "$run/$h"
		mkfifo "$run/$h.to" "$run/$h.from"
		exec {fd}<>"$run/$h.to"
		to[$h]=$fd
		exec {fd}<>"$run/$h.from"
		from[$h]=$fd
		unshare --net --uts --pid --fork --kill-child \
			bash ./host.sh "$h" <"$run/$h.to" 3>"$run/$h.from" &
		pid[$h]=$!
	done
	for h; do read -r _ <&"${from[$h]}"; done
}

# Takes cables and switches away and ends all hosts and what runs there.
power_off() {
	local h fd
	# Unplugged first: with a host's namespace they would go only some time later.
	for h in /sys/class/net/*/brif/* /sys/class/net/*/bridge; do
		h=${h%/bridge}
		echo "link del ${h##*/}"
	done | ip -batch -
	kill -KILL "${pid[@]}"
	wait "${pid[@]}" 2>/dev/null
	for h in "${!pid[@]}"; do
		fd=${to[$h]}
		exec {fd}>&-
		fd=${from[$h]}
		exec {fd}>&-
		rm "$run/$h.to" "$run/$h.from"
	done
	pid=() to=() from=()
}

# wire SWITCH HOST:IFACE…: cables, plugged in and up.
wire() {
	local switch=$1 end
	shift
	{
		[ -e "/sys/class/net/$switch" ] || echo "link add $switch up type bridge mcast_snooping 0"
		for end; do
			echo "link add ${end/:/-} up master $switch type veth peer name ${end#*:} netns ${pid[${end%:*}]}"
		done
	} | ip -batch -
	for end; do on "${end%:*}" "ip link set ${end#*:} up"; done
}

# on HOST COMMAND: runs it there, without a word.
on() {
	local status
	printf '%s\0' "$2" >&"${to[$1]}"
	read -r status <&"${from[$1]}"
	return "$status"
}

# ask HOST COMMAND: its output, into $answer.
ask() {
	local status=0
	on "$1" "{ $2"$'\n'"} >$run/answer" || status=$?
	answer=
	IFS= read -r -d '' answer <"$run/answer"
	return "$status"
}

# at HOST COMMAND: runs it there and shows it as typed, and what it printed,
# which is in $answer too. It must succeed.
at() {
	local status=0
	printf '%s# %s\n' "$1" "$2"
	ask "$1" "$2" || status=$?
	printf '%s' "$answer"
	[ "$status" = 0 ] || wrong "$1# $2: exit status $status"
	return "$status"
}

# at_reals COMMAND: the same on real1, real2 and real3, side by side; silent
# commands. In them RIP stands for the address of each.
at_reals() {
	local n status
	for n in 1 2 3; do
		printf 'real%s# %s\n' "$n" "${1//RIP/${rip[n]}}"
		printf '%s\0' "${1//RIP/${rip[n]}}" >&"${to[real$n]}"
	done
	for n in 1 2 3; do
		read -r status <&"${from[real$n]}"
		[ "$status" = 0 ] || wrong "real$n# ${1//RIP/${rip[n]}}: exit status $status"
	done
}

# web_servers: real1 to real3 each answer with their name.
web_servers() {
	local n
	for n in 1 2 3; do
		echo "real$n" >"$run/real$n/index.html"
		cat >"$run/real$n/lighttpd.conf" <<-CONF
			server.document-root = "$run/real$n"
			index-file.names = ("index.html")
			server.port = 80
			server.bind = "[::]"
			server.max-keep-alive-requests = 65535
			server.max-keep-alive-idle = 600
			\$SERVER["socket"] == "0.0.0.0:80" { }
		CONF
	done
	# Returns when it listens.
	for n in 1 2 3; do
		on "real$n" "lighttpd -f $run/real$n/lighttpd.conf" || wrong "real$n: no web server"
	done
}
