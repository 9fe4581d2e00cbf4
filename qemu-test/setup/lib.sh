# Shared by the set-up steps: the cache, the keys and creation of a step's directory,
# the mirror, and error messages.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$here/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/ipvs-rust
# shellcheck source=pins
. "$here/pins"
# The kernel package in place of the pinned one, see `choose_kernel`.
KERNEL_CHOICE=
chosen=$cache/kernel-$(sha256sum "$here/pins" | cut -c 1-10)
# shellcheck source=/dev/null
[ ! -e "$chosen" ] || . "$chosen"
# Another image of the guest: it has what the lists *.guest.$IMAGE add to *.guest.
IMAGE=${IMAGE-}

die() {
	printf 'error: %s\n' "$*" >&2
	exit 1
}

say() {
	printf 'setup: %s\n' "$*" >&2
}

[ -z "$IMAGE" ] || [ -e "$here/packages.guest.$IMAGE" ] || die "IMAGE=$IMAGE: empty, or docker"

# Runs a command as root, in a new user namespace if necessary.
as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		unshare --map-root-user --map-auto "$@"
	fi
}

need_root_or_namespaces() {
	[ "$(id -u)" = 0 ] && return
	unshare --map-root-user --map-auto -m true 2>/dev/null ||
		die "neither root nor allowed to make user namespaces; run as root, or: sysctl kernel.unprivileged_userns_clone=1, apt install uidmap, and give $(id -un) a range in /etc/subuid and /etc/subgid"
}

need_disk() { # GiB
	local free
	mkdir -p "$cache"
	free=$(df --output=avail -k "$cache" | tail -n 1)
	[ "$((free / 1048576))" -ge "$1" ] ||
		die "only $((free / 1048576)) GiB free in $cache, this step needs $1; free some, or set XDG_CACHE_HOME to a larger disk"
}

# Checks for a command of the host; root installs a missing one.
need_command() { # COMMAND PACKAGE
	local lock
	command -v "$1" >/dev/null && return
	[ "$(id -u)" = 0 ] || die "$1 is missing; run once as root: apt-get install $2"
	mkdir -p "$cache"
	# apt-get does not wait for another apt-get, and need not run twice.
	exec {lock}>"$cache/apt-get.lock"
	flock "$lock"
	if ! command -v "$1" >/dev/null; then
		say "installing $2"
		{ apt-get update && apt-get install -y --no-install-recommends "$2"; } >"$cache/$2.log" 2>&1 ||
			die "$1 is missing and apt-get could not install it; see $cache/$2.log"
	fi
	exec {lock}>&-
}
need_mmdebstrap() { need_command mmdebstrap mmdebstrap; }
need_pip() { need_command pip python3-pip; }

# with_image FILE: prints its name and, with IMAGE=NAME, that of FILE.NAME, if there is one.
with_image() {
	echo "$1"
	[ -z "$IMAGE" ] || [ ! -f "$1.$IMAGE" ] || echo "$1.$IMAGE"
}

# Prints a short hash of the files, without comment lines, and of the words.
key() {
	local f
	{
		for f in "$@"; do
			if [ -f "$f" ]; then
				with_image "$f" | xargs -d '\n' sed '/^[[:space:]]*#/d'
			else
				echo "$f"
			fi
		done
		[ -z "$KERNEL_CHOICE" ] || echo "$KERNEL_CHOICE"
	} | sha256sum | cut -c 1-10
}

packages() { # list file -> a,b,c
	with_image "$1" | xargs -d '\n' sed '/^#/d;/^$/d' | paste -sd ,
}

# step NAME KEY GIB WHAT FUNCTION: makes $cache/NAME-KEY once, by calling FUNCTION with
# a temporary directory next to it, and prints its path. Output goes to NAME.log. An
# interrupted run only creates *.tmp. With ONLY_CHECK=1 a step returns before it makes
# anything.
step() {
	local name=$1 dir=$cache/$1-$2 gib=$3 what=$4 make=$5 start=$SECONDS lock
	if [ ! -e "$dir" ]; then
		need_disk "$gib"
		[ -z "${ONLY_CHECK-}" ] || return 0
		exec {lock}>"$cache/$name.lock"
		flock -n "$lock" || {
			say "$name: another run is making it, waiting"
			flock "$lock"
		}
		if [ ! -e "$dir" ]; then
			say "$name: $what"
			as_root rm -rf "$cache/$name-"*.tmp
			mkdir "$dir.tmp"
			# A subshell, so that `set -e` applies within FUNCTION. It also holds the
			# lock: if this shell is killed, the next run waits for the subshell.
			(set -e; "$make" "$dir.tmp") >"$cache/$name.log" 2>&1 &
			wait $! || failed "$name"
			mv "$dir.tmp" "$dir"
			say "$name: done in $((SECONDS - start)) s"
		fi
		exec {lock}>&-
	fi
	echo "$dir"
}

# Fails with the most likely reason from a failed step's log, in one line.
failed() {
	local log=$cache/$1.log
	if grep -qE 'Unable to locate package|was not found|no installation candidate' "$log"; then
		die "$1: the mirror lacks a package (kernel package $KERNEL_PACKAGE, or another one: see $log)"
	elif grep -q 'DO NOT MATCH THE HASHES' "$log"; then
		die "$1: a wheel does not match its hash in qemu-test/setup/wheels.guest; see $log"
	elif grep -q 'No matching distribution found' "$log"; then
		die "$1: pip's index does not answer, or lacks a version in qemu-test/setup/wheels.guest; check the network and pip's configuration, see $log"
	elif grep -qE 'Failed to fetch|Could not resolve|Temporary failure|Could not connect' "$log"; then
		die "$1: the mirror does not answer; check the network and apt's sources, see $log"
	elif grep -q 'No space left' "$log"; then
		die "$1: the disk is full; free some, or set XDG_CACHE_HOME to a larger disk"
	fi
	die "$1: failed: $(grep -iE '(^E:|error)' "$log" | tail -n 1 | cut -c 1-200) (see $log)"
}

# Prints the host's Debian mirror as "[options] URI": the first entry of apt's sources,
# in either format, with a Debian release's main component that is not a security
# archive. Suites of other distributions do not match.
mirror() {
	local dir=/etc/apt found
	found=$(cat /dev/null "$dir"/sources.list.d/*.sources 2>/dev/null | awk -v RS= '
		{
			split("", f); n = split($0, line, "\n")
			for (i = 1; i <= n; i++) if (line[i] ~ /^[A-Za-z-]+:/) {
				k = tolower(line[i]); sub(/:.*/, "", k); v = line[i]; sub(/^[^:]*:[ \t]*/, "", v); f[k] = v
			}
			if (tolower(f["enabled"]) == "no") next
			opt = ""
			if (f["signed-by"] ~ /^\//) opt = "signed-by=" f["signed-by"]
			if (tolower(f["trusted"]) == "yes") opt = opt (opt == "" ? "" : " ") "trusted=yes"
			split(f["uris"], uri, " ")
			print f["types"] "|" opt "|" uri[1] "|" f["suites"] "|" f["components"]
		}'
		sed -nE 's/^deb[ \t]+(\[([^]]*)\][ \t]+)?([^ \t]+)[ \t]+([^ \t]+)[ \t]+(.*)/deb|\2|\3|\4|\5/p' \
			"$dir"/sources.list "$dir"/sources.list.d/*.list 2>/dev/null || true)
	awk -F '|' '
		$1 !~ /(^| )deb( |$)/ || $3 !~ /^(https?|ftp|file|copy|mirror)[+:]/ || $3 ~ /security/ || $5 !~ /(^| )main( |$)/ { next }
		$4 ~ /(^| )(bookworm|trixie|forky|duke|sid|stable|testing|unstable)(-updates|-backports)?( |$)/ {
			print ($2 == "" ? "" : "[" $2 "] ") $3; exit
		}' <<<"$found"
}

# apt_sources: the pinned suites of the machine's mirror, as lines for apt.
apt_sources() {
	local from suite
	from=$(mirror)
	for suite in $SUITES; do echo "deb $from $suite main"; done
}

# kernel_versions: the versions of the pinned series' headers that the mirror has,
# newest first, each with the kernel's release: `VERSION RELEASE`.
kernel_versions() {
	local dir=$1 options
	mkdir -p "$dir"/lists/partial "$dir"/archives/partial
	apt_sources >"$dir/sources"
	options=(-o "Dir::Etc::sourcelist=$dir/sources" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$dir/lists"
		-o "Dir::Cache=$dir" -o APT::Sandbox::User= -o Acquire::Languages=none)
	apt-get "${options[@]}" -qq update || return
	apt-cache "${options[@]}" search --names-only "^linux-headers-${KERNEL_VERSION//./\\.}\\.[0-9]+\\+.*-${KERNEL_RELEASE#*-}\$" |
		sed 's/ .*//' | xargs -r apt-cache "${options[@]}" madison | awk -F ' *\\| *' '
			{ sub(/^ */, "", $1); sub(/^linux-headers-/, "", $1); print $2, $1 }' | sort -u | sort -k 1,1Vr
}

# The kernel package to make things from: the pinned one, or, where the mirror has
# it no more, the newest of the same series, which is noted in the cache.
choose_kernel() {
	local dir found version release
	dir=$(mktemp -d)
	found=$(kernel_versions "$dir") || found=
	rm -rf "$dir"
	# What cannot be found out here, the next step reports.
	[ -n "$found" ] || return 0
	! grep -qF "$KERNEL_PACKAGE $KERNEL_RELEASE" <<<"$found" || return 0
	read -r version release <<<"$found"
	say "the mirror no longer has kernel package $KERNEL_PACKAGE; taking the newest of the series, $version"
	printf 'KERNEL_PACKAGE=%s KERNEL_RELEASE=%s KERNEL_CHOICE=%s\n' "$version" "$release" "$version" >"$chosen.tmp"
	mv "$chosen.tmp" "$chosen"
	# shellcheck source=/dev/null
	. "$chosen"
}

# make_root DIR PACKAGES [mmdebstrap options…]: a Debian root of the pinned suites.
make_root() {
	local dir=$1 include=$2 sources proxy
	shift 2
	mapfile -t sources < <(apt_sources)
	proxy=$(apt-config shell p Acquire::http::Proxy 2>/dev/null || true)
	[ -z "$proxy" ] || { eval "$proxy"; set -- "$@" --aptopt="Acquire::http::Proxy \"$p\""; }
	set -- --variant=apt --include="$include" \
		--aptopt='Acquire::Retries "3"' --dpkgopt=force-unsafe-io \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' "$@" "${SUITES%% *}"
	if [ "$(id -u)" = 0 ]; then
		mmdebstrap --mode=root "$@" "$dir" "${sources[@]}"
	else
		# Through tar, so that the files are owned by our mapped ids.
		mmdebstrap --mode=unshare "$@" - "${sources[@]}" |
			as_root tar -x -C "$dir" --exclude='./dev/*'
	fi
}

need_mirror() {
	[ -n "$(mirror)" ] ||
		die "no Debian mirror in apt's sources; add one to /etc/apt/sources.list: deb URL ${SUITES%% *} main"
}
