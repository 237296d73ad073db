# Shared by the scripts in this folder.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
state=/var/lib/muster

# say prints one line, with the seconds since power-on, to the serial console.
say() {
	read -r up _ </proc/uptime
	echo "muster-guest: $* uptime=$up" >/dev/console
}
