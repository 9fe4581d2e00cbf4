# Each of the fourteen schedulers with real connections: the dests chosen while
# connections stay open and dests are added, edited and removed. Then concurrent
# clients, so that CPUs update the counts at the same time. There is one fwmark
# service, with several client and virtual addresses, for the schedulers that hash
# them. `choices` has longer histories, without real servers.
#
# Covers: src/sched
# Needs: two CPUs
topology nat
for i in 1 2 3 4 5; do
	echo "addr add ${CIP_4%254}20$i/24 dev eth0"
	echo "addr add ${CIP_6%254}20$i/64 dev eth0"
done | configure client
marked_networks

# begin SCHEDULER NUMBER: adds its service, without dests, and starts servers that
# answer a to e. Ports differ for each scheduler, as a dest that is added again has
# its old conns.
begin() {
	local name i=0 rip rs
	scheduler=$1 vport=$((100 + $2)) service="-f 7"
	FAMILY=$((4 + 2 * ($2 % 2)))
	addresses
	vips=10.77.0.1,10.77.0.2,10.77.0.3,10.77.0.4
	if [ "$FAMILY" = 6 ]; then
		vips=${vips//10.77.0./2001:db8:77::} service+=" -6"
	fi
	agent source "${CIP%254}"20{1..5}
	for name in a b c d e; do
		rs=$((i % 3 + 1)) rip=RIPB$((i % 3 + 1))
		dest[$name]=${!rip}:$((200 + 10 * $2 + i))
		agent serve rs$rs $name $((200 + 10 * $2 + i))
		i=$((i + 1))
	done
	# shellcheck disable=SC2086 # words
	vs -A $service -s "$1"
}
declare -A dest

edit() { # +NAME=WEIGHT NAME=WEIGHT -NAME …: adds, edits and removes dests
	local word name commands=
	for word; do
		name=${word#[+-]} name=${name%=*}
		weight[$name]=0
		case $word in
		-*) commands+="-d $service -r ${dest[$name]}"$'\n' && continue ;;
		+*) commands+=-a ;;
		*) commands+=-e ;;
		esac
		weight[$name]=${word#*=}
		commands+=" $service -r ${dest[$name]} -m -w ${weight[$name]}"$'\n'
	done
	say "$commands"
	vs -R <<<"${commands%$'\n'}"
}
declare -A weight

# open COUNT EDIT…: opens COUNT connections after the edits.
opened=0
open() {
	local choice=chosen
	[ "$scheduler" != twos ] || choice=drawn
	edit "${@:2}"
	opened=$((opened + 1))
	observe "$scheduler ${*:2}" $choice "$1"
}
chosen() { agent hold client "$opened-" tcp "$vips" $vport "$1"; }
# For random choices: prints chosen dests of weight 0 and removed ones.
drawn() { # COUNT
	local answers name
	answers=$(chosen "$1")
	say "$answers"
	for name in $answers; do
		[ "${weight[$name]-0}" -gt 0 ] || echo "$name"
	done
}

# Several clients at the same time. No dest is removed, as its clients would hang.
concurrently() {
	agent load client load tcp "$vips" $vport 2
	edit a=3 c=1 b=0
	edit b=2 d=5
	wait_for answered 20
	expect "" unanswered
	wait_for counts_agree
}
# Prints unexpected answers. sh, dh and mh refuse clients whose dest has weight 0, ovf
# those that come when each dest has as many conns as its weight.
unanswered() {
	agent unload load | awk -v by=$scheduler '{ print >"/dev/stderr" }
		$1 !~ /^[a-e]$/ && !($1 == "ECONNREFUSED" && by ~ /^([sdm]h|ovf)$/) { print $1 }'
}
answered() { [ "$(agent answered load 2>/dev/null)" -ge "$1" ]; }
# Whether the dests' counts match their conns.
counts_agree() {
	nsenter --net=/run/netns/director sh -c 'ipvsadm -Lnc; ipvsadm -Ln' | awk '
		$1 == "TCP" { all[$NF]++; active[$NF] += $3 == "ESTABLISHED" }
		$1 == "->" && $5 ~ /^[0-9]/ { n++; wrong += $5 != active[$2] + 0 || $5 + $6 != all[$2] + 0 }
		END { exit !n || wrong }'
}
inactive() { [ "$(nsenter --net=/run/netns/director ipvsadm -Ln | awk '$1 == "->" { n += $6 } END { print n }')" = "$1" ]; }

number=0
for one in rr wrr lc wlc sed nq dh sh mh lblc lblcr fo ovf twos; do
	number=$((number + 1))
	begin $one $number
	open 7 +a=1 +b=2 +c=3 +d=1
	agent close "$opened-[23]"
	wait_for inactive 2
	open 5 +e=2 c=1
	open 5 -b d=0
	open 4 +b=1 d=1
	concurrently
	vs -C
done

# twos shares by weight, here checked to within half: open connections move the
# choice to other dests.
begin twos 15
edit +a=1 +b=2 +c=3
shares() {
	agent hold client shares tcp "$vips" $vport 96 | tr ' ' '\n' | sort | uniq -c | awk '
		{ say = say " " $2 "=" $1; expected = 16 * index("abc", $2); wrong += $1 < expected / 2 || $1 > 1.5 * expected; n++ }
		END { print n == 3 && !wrong ? "by weight" : "shares of a, b and c with weights 1, 2 and 3:" say }'
}
expect "by weight" shares
served 400
