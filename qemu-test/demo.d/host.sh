#!/bin/bash
# A host's shell: reads commands from standard input, each ended by a NUL byte, and
# writes the exit status of each to descriptor 3.
cd "$run/$1" || exit
echo "$1" >/proc/sys/kernel/hostname

# tcp: prints segments received and connections accepted on this host. Starts no
# process: it is called often.
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
