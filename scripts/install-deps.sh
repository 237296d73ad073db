#!/bin/bash
# Installs the Debian packages that a part of the project needs.
#
#   install-deps.sh demo    virtual machines, their networks and the tiny guest
#   install-deps.sh test    the same, the real Azure CLI and an SSH client
#   install-deps.sh bench   what the demo needs, and peers that are measured against
#   install-deps.sh debian  what builds the Debian image
#
# Says nothing and touches nothing when all of them are there.
set -euo pipefail

demo=(qemu-system-x86 qemu-utils iproute2 nftables busybox-static cpio lz4
	e2fsprogs binutils util-linux curl ca-certificates)
tests=("${demo[@]}" azure-cli openssh-client genisoimage python3)
# Debian starts the service of haproxy, which serves nothing as it is packaged.
bench=("${demo[@]}" haproxy)
debian=(mmdebstrap debian-archive-keyring grub-common grub-pc-bin e2fsprogs fdisk qemu-utils util-linux)

die() {
	echo "install-deps.sh: $*" >&2
	exit 1
}

# missing prints those of the named packages that are not installed.
missing() {
	local package
	for package; do
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
	done
}

apt() {
	# Another apt may be at work: wait for it rather than fail.
	DEBIAN_FRONTEND=noninteractive DEBCONF_NOWARNINGS=yes apt-get -qq -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

# with_lock keeps two runs of this script from updating the package lists at
# once: for them, unlike for dpkg, apt does not wait.
with_lock() {
	exec 9>/run/lock/muster-install-deps
	flock 9
	"$@"
}

install() {
	local packages
	mapfile -t packages < <(missing "$@")
	[ ${#packages[@]} -gt 0 ] || return 0
	echo "installing ${packages[*]}"
	# Package lists that know the packages are good enough; if what they name
	# is gone from the server, they are old.
	if ! apt-cache show "${packages[@]}" >/dev/null 2>&1 ||
		! apt install --no-install-recommends -y "${packages[@]}" >/dev/null; then
		apt update
		apt install --no-install-recommends -y "${packages[@]}" >/dev/null
	fi
}

case ${1-} in
demo) packages=("${demo[@]}") ;;
test) packages=("${tests[@]}") ;;
bench) packages=("${bench[@]}") ;;
debian) packages=("${debian[@]}") ;;
*) die "usage: install-deps.sh demo|test|bench|debian" ;;
esac

if [ ! -r /etc/debian_version ] || ! command -v apt-get >/dev/null; then
	die "needs Debian; elsewhere install the equivalents of: ${packages[*]}"
fi
mapfile -t lacking < <(missing "${packages[@]}")
if [ ${#lacking[@]} -gt 0 ]; then
	[ "$(id -u)" = 0 ] || die "as root run: apt-get install --no-install-recommends ${lacking[*]}"
	with_lock install "${lacking[@]}"
fi
if [ "$1" = test ]; then
	repaired=$("$(dirname "$0")/fix-debian-azure-cli.py") || exit
	case $repaired in *already*) ;; *) echo "$repaired" ;; esac
fi
