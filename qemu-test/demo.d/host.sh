#!/bin/bash
# A host's shell: takes commands from standard input, each ended by a zero
# byte, and tells on descriptor 3 how each ended.
cd "$run/$1" || exit
echo "$1" >/proc/sys/kernel/hostname
# Addresses are ours alone here: no waiting for duplicates.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link set lo up

# tcp: segments received and connections accepted here. Without a process of
# its own, for it is asked often.
tcp() {
	local names values i
	while read -r -a names && read -r -a values; do
		[ "${names[0]}" = Tcp: ] || continue
		for i in "${!names[@]}"; do
			case ${names[i]} in
			InSegs) echo "${values[i]}" ;;
			PassiveOpens) echo "${values[i]}" ;;
			esac
		done
	done </proc/net/snmp
}

echo booted >&3
while IFS= read -r -d '' command; do
	eval "$command" </dev/null 3>&-
	echo $? >&3
done
