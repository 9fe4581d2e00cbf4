# shellcheck shell=bash
# Hosts: the machines of a network of topology.py. A host is a shell in its own network,
# UTS and PID namespaces that runs the commands sent to it.

export run
run=$(mktemp -d)
declare -A to from pid
# Set by set_up.
vip='' target='' source='' rip=()

# boot METHOD: creates the hosts and switches of a method, without addresses.
boot() {
	local h hosts
	hosts=$(python3 ../topology.py demo "$1" "$LAB" "$run" 2>"$run/log") || wrong "no network: $(tail -n 1 "$run/log")"
	for h in $hosts; do
		mkdir -p "$run/$h"
		mkfifo "$run/$h.to" "$run/$h.from"
		exec {to[$h]}<>"$run/$h.to" {from[$h]}<>"$run/$h.from"
		nsenter --net="/run/netns/$h" unshare --uts --pid --fork --kill-child \
			bash ./host.sh "$h" <"$run/$h.to" 3>"$run/$h.from" &
		pid[$h]=$!
	done
	for h in $hosts; do read -r _ <&"${from[$h]}"; done
}

# Kills all hosts with their processes.
power_off() {
	local h
	kill -KILL "${pid[@]}"
	wait "${pid[@]}" 2>/dev/null
	for h in "${!pid[@]}"; do
		exec {to[$h]}>&- {from[$h]}>&-
		rm "$run/$h.to" "$run/$h.from"
	done
	pid=() to=() from=()
}

# set_up FAMILY: sets the addresses of the family, and shows the commands and runs them,
# the hosts in parallel. vip and rip[] are the addresses of the virtual service and the
# real servers, $target is the address that the client requests, and $source that of the
# client in packets at the director.
set_up() {
	local h line status
	local -A commands=()
	{
		read -r line
		eval "$line"
		while read -r line; do
			echo "$line"
			commands[${line%%#*}]+="${line#*# } && "
		done
	} <"$run/$1"
	for h in "${!commands[@]}"; do printf '%s\0' "${commands[$h]} true" >&"${to[$h]}"; done
	for h in "${!commands[@]}"; do
		read -r status <&"${from[$h]}"
		[ "$status" = 0 ] || wrong "$h is not set up: exit status $status"
	done
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
