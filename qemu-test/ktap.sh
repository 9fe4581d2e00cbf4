# Results in KTAP (Documentation/dev-tools/ktap.rst in the kernel tree).
# shellcheck shell=bash

ktap_number=0 ktap_passed=0 ktap_failed=0 ktap_skipped=0 ktap_flaky=0

ktap_plan() { # NUMBER of results
	printf 'KTAP version 1\n1..%s\n' "$1"
}

# One result. `flaky` is a pass at the second attempt.
ktap() { # pass|fail|skip|flaky NAME [DIAGNOSTIC]
	local word=ok note=${3-}
	ktap_number=$((ktap_number + 1))
	case $1 in
	pass) ktap_passed=$((ktap_passed + 1)) ;;
	fail) ktap_failed=$((ktap_failed + 1)) word='not ok' ;;
	skip) ktap_skipped=$((ktap_skipped + 1)) note="SKIP${note:+ $note}" ;;
	flaky) ktap_flaky=$((ktap_flaky + 1)) note="FLAKY${note:+ $note}" ;;
	esac
	printf '%s %d %s%s\n' "$word" "$ktap_number" "$2" "${note:+ # $note}"
}

# A diagnostic: each line of the standard input.
ktap_note() { sed 's/^/# /'; }

# The totals, and the same in words as the last line. False if anything failed, if nothing passed, or
# if more than one result is flaky.
ktap_end() {
	printf '# Totals: pass:%d fail:%d skip:%d flaky:%d\n' \
		"$ktap_passed" "$ktap_failed" "$ktap_skipped" "$ktap_flaky"
	[ "$ktap_flaky" -le 1 ] || echo "# more than one result is flaky: the run fails"
	echo "$((ktap_passed + ktap_flaky)) passed, $ktap_failed failed"
	[ "$ktap_failed" = 0 ] && [ "$ktap_flaky" -le 1 ] && [ $((ktap_passed + ktap_flaky)) -gt 0 ]
}
