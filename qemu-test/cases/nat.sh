# Masquerading, with ports mapped, by a director that is the real servers'
# gateway.
nat() {
	topology nat
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s wrr
	for rip in "$RIPB1:80" "$RIPB2:8080" "$RIPB3:8080"; do
		vs -a -t "$VIPB:80" -r "$rip" -m
		vs -a -u "$VIPB:80" -r "$rip" -m -w 2
	done
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -m -w 1
	requests
}
variants nat
