# shellcheck shell=bash
# Hosts and switches. A host is a shell in its own network, UTS and PID namespaces that
# runs the commands sent to it; switches are bridges in the guest's namespace.

export run
run=$(mktemp -d)
declare -A to from pid

# boot HOST…: starts the hosts.
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

# Deletes veth pairs and switches and kills all hosts with their processes.
power_off() {
	local h fd
	# Deleted first: a host's namespace would delete them asynchronously.
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

# wire SWITCH HOST:IFACE…: connects interfaces of hosts to a switch, all up.
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

# on HOST COMMAND: runs it there without showing it.
on() {
	local status
	printf '%s\0' "$2" >&"${to[$1]}"
	read -r status <&"${from[$1]}"
	return "$status"
}

# ask HOST COMMAND: runs it there and stores its output in $answer.
ask() {
	local status=0
	on "$1" "{ $2"$'\n'"} >$run/answer" || status=$?
	answer=
	IFS= read -r -d '' answer <"$run/answer"
	return "$status"
}

# at HOST COMMAND: runs it there and shows the command and its output, which is also in
# $answer. It must succeed.
at() {
	local status=0
	printf '%s# %s\n' "$1" "$2"
	ask "$1" "$2" || status=$?
	printf '%s' "$answer"
	[ "$status" = 0 ] || wrong "$1# $2: exit status $status"
	return "$status"
}

# at_reals COMMAND: the same on real1, real2 and real3 in parallel, without output. RIP
# in COMMAND is replaced by the address of each.
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

# web_servers: starts web servers on real1 to real3 that answer with their name.
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
	# lighttpd forks when it listens.
	for n in 1 2 3; do
		on "real$n" "lighttpd -f $run/real$n/lighttpd.conf" || wrong "real$n: no web server"
	done
}
