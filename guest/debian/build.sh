#!/bin/bash
# Builds a Debian 12 image for QEMU, with cloud-init and the guest agent.
#
#   build.sh OUT_DIR
#
# Writes debian-12.qcow2, packages.txt (what is in it) and images.yaml (a
# catalogue file that names it) into OUT_DIR, and does nothing when they are
# current. Packages come from the Debian sources that this machine's apt has;
# the image itself is set up for deb.debian.org. Needs root, as the packages'
# own scripts run in a chroot. No loop device, no mount of the image.
set -Eeuo pipefail
trap 'echo "build.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C TZ=UTC
umask 022

suite=bookworm
# What the image is made of, beside what these and Debian's essentials need.
packages=(
	linux-image-cloud-amd64 initramfs-tools lz4 zstd
	systemd-sysv libpam-systemd dbus udev kmod systemd-resolved libnss-resolve systemd-timesyncd netplan.io
	cloud-init cloud-guest-utils fdisk e2fsprogs qemu-guest-agent
	openssh-server openssh-client sudo ca-certificates curl wget
	iproute2 iputils-ping netbase procps less nano bash-completion tzdata
)
# What is built into the boot loader, so that it needs no files but its menu.
grub_modules=(biosdisk part_gpt part_msdos ext2 normal linux serial terminal configfile test echo)
# Timers that only cost time in a guest that lives for minutes.
disabled_units=(apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service)

disk_mb=2048
uuid=6d757374-6572-4e69-8e79-0000000000d1 # also in rootfs/etc/fstab and grub.cfg
boot_start=2048                           # sectors; GRUB's own partition
boot_sectors=2048
root_start=4096

die() {
	echo "build.sh: $*" >&2
	exit 1
}

check_host() {
	[ -r /etc/debian_version ] && command -v apt-get >/dev/null ||
		die "needs a Debian host (no apt-get here); a published Debian cloud image of the kind nocloud or genericcloud works too"
	[ "$(dpkg --print-architecture)" = amd64 ] || die "needs an amd64 host"
	local missing='' tool
	for tool in mmdebstrap:mmdebstrap grub-mkimage:grub-common mke2fs:e2fsprogs sfdisk:fdisk qemu-img:qemu-utils flock:util-linux; do
		command -v "${tool%%:*}" >/dev/null || missing+=" ${tool#*:}"
	done
	[ -r /usr/lib/grub/i386-pc/boot.img ] || missing+=" grub-pc-bin"
	[ -z "$missing" ] || die "missing tools; as root run: apt-get install --no-install-recommends$missing"
	[ "$(id -u)" = 0 ] || die "needs root, to run the packages' own scripts in a chroot: sudo make guest-debian"
}

# sources prints where this machine's apt has the suite from.
sources() {
	apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(COMPONENT) deb $(REPO_URI)' 'Created-By: Packages' |
		awk -v suite="$suite" '$1 == "Debian" && $3 == "main" && ($2 == suite || $2 == suite "-updates" || $2 == suite "-security") {
			print "deb", $5, $2, $3 }' | sort -u
}

# find_sources sets $found, refreshing empty package lists.
find_sources() {
	found=$(sources)
	[ -n "$found" ] && return
	apt-get update -qq && found=$(sources)
	[ -n "$found" ] || die "the apt of this machine has no source of Debian $suite (main); add one to /etc/apt/sources.list.d"
}

# candidates prints the versions that the named packages have now. Together
# with the recipe they say whether an image is current.
candidates() {
	apt-cache policy "${packages[@]}" systemd libc6 | awk '
		/^[^ ].*:$/ { name = substr($1, 1, length($1) - 1) }
		$1 == "Candidate:" { print name, $2 }'
}

recipe_digest() {
	(cd "$here" && find build.sh rootfs -type f | sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
}

image_exists() {
	local file
	for file in debian-12.qcow2 packages.txt images.yaml .built; do
		[ -s "$out/$file" ] || return 1
	done
}

# bootstrap installs the packages into $root. Downloads are kept in $cache.
# How this machine reaches its sources is told to apt for the time of the
# building only: clean removes it.
bootstrap() {
	local http='' https='' options=()
	eval "$(apt-config shell http Acquire::http::Proxy https Acquire::https::Proxy)"
	[ -z "$http" ] || options+=(--aptopt="Acquire::http::Proxy \"$http\"")
	[ -z "$https" ] || options+=(--aptopt="Acquire::https::Proxy \"$https\"")
	mkdir -p "$cache"
	TMPDIR=$work mmdebstrap --quiet --mode=root --format=directory --variant=minbase "${options[@]}" \
		--aptopt='Acquire::Languages "none"' --aptopt='APT::Install-Recommends "false"' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--include="$(IFS=,; echo "${packages[*]}")" --skip=essential/unlink \
		--setup-hook="mkdir -p \"\$1/var/cache/apt/archives\" && find '$cache' -name '*.deb' -exec cp -t \"\$1/var/cache/apt/archives\" {} +" \
		--setup-hook="mkdir -p \"\$1/etc/initramfs-tools/conf.d\" && cp '$here/rootfs/etc/initramfs-tools/conf.d/muster' \"\$1/etc/initramfs-tools/conf.d/\"" \
		--customize-hook="cp -ut '$cache' \"\$1\"/var/cache/apt/archives/*.deb" \
		"$suite" "$root" - <<<"$found"
}

# copy_tree FROM TO copies our own files.
copy_tree() {
	local file
	(cd "$1" && find . -type f) | while read -r file; do
		install -D -m 0644 "$1/$file" "$2/$file"
	done
}

# configure makes the tree a guest of Muster.
configure() {
	local unit
	copy_tree "$here/rootfs" "$root"
	for unit in "${disabled_units[@]}"; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	chroot "$root" systemctl --quiet enable systemd-networkd systemd-resolved ssh
	chroot "$root" update-initramfs -u -k all >"$work/initramfs.log" 2>&1 || die "update-initramfs: $(cat "$work/initramfs.log")"
	[ -e "$root/vmlinuz" ] && [ -e "$root/initrd.img" ] || die "the kernel's package left no /vmlinuz and /initrd.img"
}

# clean takes away what belongs to this machine or to one guest alone: the
# former must not leave it, the latter is made at the first boot.
clean() {
	rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/0000* "$root"/etc/apt/apt.conf.d/99mmdebstrap \
		"$root"/etc/dpkg/dpkg.cfg.d/99mmdebstrap "$root"/etc/ssh/ssh_host_* "$root"/var/lib/systemd/random-seed \
		"$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/debconf/*-old \
		"$root"/var/log/*.log "$root"/var/log/apt/* "$root"/var/lib/dpkg/*-old "$root"/etc/hostname \
		"$root"/var/lib/dbus/machine-id "$root"/boot/*.bak "$root"/tmp/* "$root"/run/*
	: >"$root/etc/machine-id"
	printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' >"$root/etc/hosts"
	ln -sfn ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
	local trace
	trace=$(grep -rlE 'Acquire::[a-z]+::Proxy' "$root/etc/apt" || true
		grep -rE '^(deb|URIs)' "$root"/etc/apt/sources.list* | grep -v '//deb\.debian\.org/' || true)
	[ -z "$trace" ] || die "the image would say how this machine reaches its sources: $trace"
}

# little N BYTES prints a number as bytes, the lowest first.
little() {
	local n=$1 i
	for ((i = 0; i < $2; i++, n >>= 8)); do printf "\\x$(printf %02x $((n & 255)))"; done
}

# put OFFSET overwrites the disk from there with what is read.
put() { dd of="$raw" bs=1 seek="$1" conv=notrunc status=none; }

# make_boot writes GRUB as grub-install would, without a device: the first
# sector knows where the second part lies, and that where its rest is.
make_boot() {
	local core=$work/core.img
	grub-mkimage -O i386-pc -p '(hd0,gpt2)/boot/grub' -o "$core" "${grub_modules[@]}"
	[ "$(stat -c %s "$core")" -le $((boot_sectors * 512)) ] || die "GRUB is larger than its partition"
	head -c 440 /usr/lib/grub/i386-pc/boot.img | put 0
	little $boot_start 8 | put $((0x5c))
	dd if="$core" of="$raw" bs=512 seek=$boot_start conv=notrunc status=none
	little $((boot_start + 1)) 8 | put $((boot_start * 512 + 0x1f4))
}

make_disk() {
	raw=$work/disk.raw
	local kb=$((disk_mb * 1024 - root_start / 2 - 1024)) # the end is the second partition table's
	truncate -s "${disk_mb}M" "$raw"
	sfdisk --quiet "$raw" <<-END
		label: gpt
		label-id: $uuid
		start=$boot_start, size=$boot_sectors, type=21686148-6449-6E6F-744E-656564454649, uuid=${uuid%d1}d2
		start=$root_start, size=$((kb * 2)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=${uuid%d1}d3
	END
	# GRUB of this release reads none of the newer features.
	mke2fs -q -F -t ext4 -b 4096 -m 1 -L debian -U "$uuid" -O ^metadata_csum_seed,^orphan_file \
		-E "hash_seed=$uuid,offset=$((root_start * 512)),lazy_itable_init=0,lazy_journal_init=0,nodiscard" \
		-d "$root" "$raw" "${kb}k"
	make_boot
	qemu-img convert -c -f raw -O qcow2 -o compression_type=zstd "$raw" "$work/debian-12.qcow2"
}

# catalogue prints a catalogue file for the image.
catalogue() {
	cat <<-END
		# Name this file as images.catalogue, and its directory in images.allowed.
		images:
		- urn: muster:debian:12:$version
		  alias: Debian12
		  osType: Linux
		  file: debian-12.qcow2
		  format: qcow2
		  sha256: $(sha256sum <"$work/debian-12.qcow2" | cut -d' ' -f1)
		  agent: true
	END
}

# image_version is 12.<day of the newest package>.<digest of packages and recipe>.
image_version() {
	local day digest
	day=$(find "$root/usr/share/doc" -name copyright -printf '%TY%Tm%Td\n' | sort -n | tail -n 1)
	digest=$({ echo "$recipe"; cat "$work/packages.txt"; } | sha256sum | cut -c1-7)
	echo "12.$day.$((16#$digest))"
}

build() {
	bootstrap
	configure
	clean
	chroot "$root" dpkg-query -W >"$work/packages.txt"
	version=$(image_version)
	make_disk
	catalogue >"$work/images.yaml"
	rm -f "$out/.built"
	mv "$work"/{debian-12.qcow2,packages.txt,images.yaml} "$out/"
	printf '%s\n%s\n' "$recipe" "$versions" >"$out/.built"
}

[ $# = 1 ] || die "usage: build.sh OUT_DIR"
here=$(cd "$(dirname "$0")" && pwd)
export PATH=$PATH:/usr/sbin:/sbin
check_host
mkdir -p "$1"
out=$(cd "$1" && pwd)
cache=${CACHE:-$out/.cache}
exec 9>"$out/.lock"
flock 9

find_sources
recipe=$(recipe_digest) versions=$(candidates)
if image_exists && [ "$(cat "$out/.built")" = "$recipe"$'\n'"$versions" ]; then
	exit
fi
work=$(mktemp -d "$out/.work.XXXXXX")
root=$work/root
trap 'rm -rf --one-file-system "$work"' EXIT
build
echo "Debian image $version is in $out: $(du -h --apparent-size "$out/debian-12.qcow2" | cut -f1)"
