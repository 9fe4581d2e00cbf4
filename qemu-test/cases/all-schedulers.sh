# Each of the fourteen schedulers under real connections: who is chosen while
# these stay open and dests are added, edited and removed; then by clients at
# the same time, that CPUs meet in its counts. They are of one fwmark service,
# from and to several addresses, for those that go by these. Longer histories,
# without servers, are in `choices`.
topology nat
for i in 1 2 3 4 5; do
	echo "addr add ${CIP_4%254}20$i/24 dev eth0"
	echo "addr add ${CIP_6%254}20$i/64 dev eth0"
done | configure client
marked_networks

# begin SCHEDULER NUMBER: its service, without dests. These, a to e, answer so;
# each scheduler has others, for those that come back bring connections along.
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

edit() { # +NAME=WEIGHT NAME=WEIGHT -NAME …: dests that come, change and go
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

# open COUNT EDIT…: that many connections, after the changes.
opened=0
open() {
	local choice=chosen
	[ "$scheduler" != twos ] || choice=drawn
	edit "${@:2}"
	opened=$((opened + 1))
	observe "$scheduler ${*:2}" $choice "$1"
}
chosen() { agent hold client "$opened-" tcp "$vips" $vport "$1"; }
# Of choices by chance: that none is of weight 0, or removed.
drawn() { # COUNT
	local answers name
	answers=$(chosen "$1")
	say "$answers"
	for name in $answers; do
		[ "${weight[$name]-0}" -gt 0 ] || echo "$name"
	done
}

# By several at the same time. None is removed meanwhile: its clients would wait.
concurrently() {
	agent load client load tcp "$vips" $vport 2
	edit a=3 c=1 b=0
	edit b=2 d=5
	wait_for answered 20
	expect "" unanswered
	wait_for counts_agree
}
# By sh, dh and mh who goes to a dest of weight 0 is refused, by ovf who comes
# when all have as many as they weigh.
unanswered() {
	agent unload load | awk -v by=$scheduler '{ print >"/dev/stderr" }
		$1 !~ /^[a-e]$/ && !($1 == "ECONNREFUSED" && by ~ /^([sdm]h|ovf)$/) { print $1 }'
}
answered() { [ "$(agent answered load 2>/dev/null)" -ge "$1" ]; }
# Whether the dests' counts are those of their connections.
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

# twos gives each its share by weight, here to within half of it: connections
# that stay open draw the choice to the others.
begin twos 15
edit +a=1 +b=2 +c=3
shares() {
	agent hold client shares tcp "$vips" $vport 96 | tr ' ' '\n' | sort | uniq -c | awk '
		{ say = say " " $2 "=" $1; expected = 16 * index("abc", $2); wrong += $1 < expected / 2 || $1 > 1.5 * expected; n++ }
		END { print n == 3 && !wrong ? "as weighed" : "of a, b and c, weighed 1, 2 and 3:" say }'
}
expect "as weighed" shares
served 400
