#!/bin/bash
# Builds the tiny guest image muster:tiny:debian from Debian packages.
#
#   build.sh OUT_DIR
#
# Writes vmlinux, initrd, cmdline, disk.qcow2 and manifest.json into OUT_DIR and
# does nothing when they are current. Packages are downloaded into $CACHE
# (default OUT_DIR/.cache) and unpacked beside it; nothing is installed. The
# same packages and recipe give the same bytes.
set -Eeuo pipefail
trap 'echo "build.sh: line $LINENO failed: $BASH_COMMAND" >&2' ERR
export LC_ALL=C TZ=UTC
umask 022

# The packages the guest is made of. The kernel is found through the first one.
kernel_meta=linux-image-cloud-amd64
packages=(busybox-static bash qemu-guest-agent dropbear-bin
	libc6 libcrypt1 libglib2.0-0 libgmp10 libnuma1 libpcre2-8-0 libtinfo6
	libtomcrypt1 libtommath1 libudev1 liburing2 zlib1g
	sudo libaudit1 libcap-ng0 libpam-modules libpam0g libselinux1
	e2fsprogs libblkid1 libcom-err2 libext2fs2 libuuid1)

# Drivers the initrd loads, and file system drivers that the OS loads on demand.
initrd_modules=(virtio_pci virtio_blk virtio_console virtio-rng virtio_net button evdev)
iso9660_modules=(isofs)
vfat_modules=(nls_cp437 nls_ascii vfat)

# Programs, and libraries opened while they run, from packages other than busybox.
programs=(bin/bash usr/sbin/qemu-ga usr/sbin/dropbear usr/bin/dropbearkey usr/bin/sudo
	usr/libexec/sudo/sudoers.so sbin/mke2fs sbin/resize2fs lib/x86_64-linux-gnu/security/pam_permit.so)

disk_mb=256
# Any fixed time will do: it stands for every time stamp in the image.
epoch=1700000000
uuid=6d757374-6572-4e69-8e79-000000000001
cmdline='console=ttyS0 quiet panic=1 root=/dev/vda mitigations=off nokaslr tsc=reliable no_timer_check random.trust_cpu=on init_on_alloc=0 i8042.noaux i8042.nokbd'

die() {
	echo "build.sh: $*" >&2
	exit 1
}

# check_host names what is missing before anything is done.
check_host() {
	[ -r /etc/debian_version ] && command -v apt-get >/dev/null ||
		die "needs a Debian host (no apt-get here)"
	[ "$(dpkg --print-architecture)" = amd64 ] || die "needs an amd64 host"
	local missing='' tool
	for tool in cpio:cpio lz4:lz4 mke2fs:e2fsprogs debugfs:e2fsprogs qemu-img:qemu-utils flock:util-linux; do
		PATH=$PATH:/usr/sbin:/sbin command -v "${tool%%:*}" >/dev/null || missing+=" ${tool#*:}"
	done
	[ -z "$missing" ] || die "missing tools; as root run: apt-get install$missing"
}

# recipe_digest covers every file that shapes the image.
recipe_digest() {
	(cd "$here" && find build.sh initrd rootfs -type f | sort | xargs sha256sum | sha256sum | cut -d' ' -f1)
}

# candidates prints "package version" of all packages, as the package lists have them.
candidates() {
	apt-cache policy "$kernel_meta" "${packages[@]}" | awk '
		/^[^ ].*:$/ { name = substr($1, 1, length($1) - 1) }
		$1 == "Candidate:" && $2 != "(none)" { print name, $2 }'
}

# resolve sets $versions, refreshing empty package lists where it may.
resolve() {
	versions=$(candidates)
	[ "$(wc -l <<<"$versions")" = $((${#packages[@]} + 1)) ] && return
	[ "$(id -u)" = 0 ] && apt-get update -qq && versions=$(candidates)
	[ "$(wc -l <<<"$versions")" = $((${#packages[@]} + 1)) ]
}

image_exists() {
	local file
	for file in vmlinux initrd cmdline disk.qcow2 manifest.json .built; do
		[ -s "$out/$file" ] || return 1
	done
}

# fetch brings one package into the cache. apt checks its digest.
fetch() {
	local name=$1 version=$2 file
	file=$cache/${name}_${version//:/%3a}_amd64.deb
	[ -s "$file" ] && return
	mkdir -p "$work/download"
	(cd "$work/download" && apt-get download -qq -o APT::Sandbox::User= "$name=$version") ||
		die "cannot download $name $version; as root run: apt-get update"
	mv "$work/download/"*.deb "$file"
}

# unpack_packages fetches and unpacks all packages into $work/x.
unpack_packages() {
	local name version
	kernel=$(apt-cache depends "$kernel_meta" | awk '$1 == "Depends:" && $2 ~ /^linux-image-/ { print $2; exit }')
	[ -n "$kernel" ] || die "$kernel_meta names no kernel package"
	mkdir -p "$cache" "$work/x"
	while read -r name version; do
		[ "$name" = "$kernel_meta" ] && name=$kernel
		fetch "$name" "$version"
		dpkg-deb -x "$cache/${name}_${version//:/%3a}_amd64.deb" "$work/x"
		dpkg-deb --ctrl-tarfile "$cache/${name}_${version//:/%3a}_amd64.deb" |
			tar tv --full-time ./control | awk '{ gsub("-", "", $4); print $4 }' >>"$work/dates"
	done <<<"$versions"
	kernel_release=${kernel#linux-image-}
}

# extract_kernel unpacks the ELF kernel that QEMU boots without a boot loader
# (PVH). The x86 boot protocol's header says where the payload lies.
extract_kernel() {
	local image=$work/x/boot/vmlinuz-$kernel_release sectors offset length magic
	field() { od -An "-t$1" "-j$2" "-N${1#u}" "$image" | tr -d ' '; }
	sectors=$(field u1 $((0x1f1)))
	offset=$(((sectors + 1) * 512 + $(field u4 $((0x248)))))
	# The last four bytes are the unpacked size, for the boot stub only.
	length=$(($(field u4 $((0x24c))) - 4))
	magic=$(od -An -tx1 "-j$offset" -N4 "$image" | tr -d ' ')
	[ "$magic" = 02214c18 ] || die "$image: payload is not LZ4 (starts with $magic)"
	head -c "$((offset + length))" "$image" | tail -c "$length" | lz4 -dcq >"$work/vmlinux"
	[ "$(head -c 4 "$work/vmlinux" | tail -c 3)" = ELF ] || die "$image: payload is not an ELF kernel"
}

# with_dependencies prints the files of the named modules, each after those it
# needs; drivers built into the kernel have no file and are left out.
with_dependencies() {
	local tree=$work/x/lib/modules/$kernel_release name file needs
	for name; do
		[[ " ${seen:=} " == *" ${name//-/_} "* ]] && continue
		seen+=" ${name//-/_}"
		file=$(find "$tree" -name "${name//[-_]/[-_]}.ko")
		if [ -z "$file" ]; then
			grep -q "/${name//[-_]/[-_]}\.ko\$" "$tree/modules.builtin" && continue
			die "kernel $kernel_release has no module $name"
		fi
		needs=$(tr '\0' '\n' <"$file" | sed -n 's/^depends=//p')
		with_dependencies ${needs//,/ }
		echo "$file"
	done
}

# copy_modules DIR NAME... puts modules into DIR, numbered in loading order.
copy_modules() {
	local dir=$1 number=10 file seen=
	shift
	mkdir -p "$dir"
	with_dependencies "$@" >"$work/modules"
	while read -r file; do
		install -m 0644 "$file" "$dir/$number-${file##*/}"
		number=$((number + 1))
	done <"$work/modules"
}

# copy_tree FROM TO copies our own files: scripts executable, others not.
copy_tree() {
	local file mode
	(cd "$1" && find . -type f) | while read -r file; do
		mode=0644
		[ "$(head -c 2 "$1/$file")" = '#!' ] && mode=0755
		install -D -m "$mode" "$1/$file" "$2/$file"
	done
}

# make_initrd packs what is needed to mount the OS disk, and all drivers.
make_initrd() {
	local root=$work/initrd.d applet
	mkdir -p "$root"/{bin,dev,proc,sys,sysroot}
	copy_tree "$here/initrd" "$root"
	install -m 0755 "$work/x/bin/busybox" "$root/bin/busybox"
	for applet in sh mount insmod switch_root poweroff; do
		ln -s busybox "$root/bin/$applet"
	done
	copy_modules "$root/modules" "${initrd_modules[@]}"
	find "$root" -exec touch -h -d "@$epoch" {} +
	(cd "$root" && find . | sort | cpio --quiet -o -H newc --reproducible --owner=0:0) >"$work/initrd"
}

# copy_programs copies $programs and, by asking the guest's own loader, the
# libraries they need.
copy_programs() {
	local root=$1 x=$work/x loader path libs program file
	loader=$x/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2
	path=$x/lib/x86_64-linux-gnu:$x/usr/lib/x86_64-linux-gnu:$x/usr/libexec/sudo
	for program in "${programs[@]}"; do
		install -D -m 0755 "$x/$program" "$root/$program"
		libs=$("$loader" --library-path "$path" --list "$x/$program") ||
			die "$program: a library is in none of the packages"
		for file in $(awk '$3 ~ /^\// { print $3 }' <<<"$libs"); do
			install -D -m 0644 "$file" "$root/lib/x86_64-linux-gnu/${file##*/}"
		done
	done
	install -D -m 0755 "$loader" "$root/lib64/ld-linux-x86-64.so.2"
}

# make_root lays out the file tree of the OS disk.
make_root() {
	local root=$work/root applet
	mkdir -p "$root"/{bin,sbin,dev,proc,sys,run,tmp,root,home,mnt,usr/bin,usr/sbin,usr/local/bin,usr/local/sbin,etc/dropbear,var/lib/muster,var/log,var/spool}
	copy_tree "$here/rootfs" "$root"
	install -m 0755 "$work/x/bin/busybox" "$root/bin/busybox"
	copy_programs "$root"
	copy_modules "$root/usr/lib/muster/modules/iso9660" "${iso9660_modules[@]}"
	copy_modules "$root/usr/lib/muster/modules/vfat" "${vfat_modules[@]}"
	for applet in poweroff reboot halt; do ln -s shutdown "$root/sbin/$applet"; done
	ln -s mke2fs "$root/sbin/mkfs.ext4"
	install -m 0644 "$work/x/etc/mke2fs.conf" "$root/etc/mke2fs.conf"
	for applet in init acpid; do ln -s ../bin/busybox "$root/sbin/$applet"; done
	for applet in $("$root/bin/busybox" --list); do
		[ -e "$root/bin/$applet" ] || [ -e "$root/sbin/$applet" ] || ln -s busybox "$root/bin/$applet"
	done
	ln -s /run "$root/var/run"
	ln -s /proc/mounts "$root/etc/mtab"
	echo $((disk_mb * 2048)) >"$root/var/lib/muster/disk-sectors"
	printf '%s\n' 'NAME="Muster tiny"' 'ID=muster-tiny' "VERSION_ID=\"$version\"" \
		"VERSION=\"$version\"" "PRETTY_NAME=\"Muster tiny $version\"" >"$root/etc/os-release"
}

# debugfs_commands prints what fills an empty file system from a tree, in
# sorted order and owned by root, whoever builds.
debugfs_commands() {
	local root=$1 path name
	(cd "$root" && find . -mindepth 1 | sort) | while read -r path; do
		path=${path#.} name=${path##*/}
		# debugfs takes names, not paths, in the directory it stands in.
		echo "cd ${path%/*}/"
		if [ -L "$root$path" ]; then
			echo "symlink $name $(readlink "$root$path")"
		elif [ -d "$root$path" ]; then
			echo "mkdir $name"
		else
			echo "write $root$path $name"
		fi
	done
	echo 'sif /usr/bin/sudo mode 0104755'
	echo 'sif /root mode 040700'
	echo 'sif /tmp mode 041777'
	echo 'sif /etc/shadow mode 0100600'
}

# make_disk writes the OS disk without mounting anything. Features that cost an
# emulated CPU time (checksums, initialising tables later) are left out.
make_disk() {
	local raw=$work/disk.raw said
	export E2FSPROGS_FAKE_TIME=$epoch
	truncate -s "${disk_mb}M" "$raw"
	mke2fs -q -F -t ext4 -b 4096 -m 0 -L muster-os -U "$uuid" -i 65536 -J size=4 \
		-O ^metadata_csum,^uninit_bg,^64bit -E "hash_seed=$uuid,lazy_itable_init=0,lazy_journal_init=0,nodiscard" "$raw"
	debugfs_commands "$work/root" >"$work/debugfs"
	# debugfs reports errors on standard error, after its banner, and exits with 0.
	said=$(debugfs -w -f "$work/debugfs" "$raw" 2>&1 >/dev/null | sed -n 2,5p)
	[ -z "$said" ] || die "debugfs: $said"
	e2fsck -fn "$raw" >"$work/fsck" 2>&1 || die "e2fsck: $(cat "$work/fsck")"
	qemu-img convert -f raw -O qcow2 "$raw" "$work/disk.qcow2"
}

# manifest prints what the image is and what it is made of.
manifest() {
	local name file separator=
	printf '{\n  "name": "tiny",\n  "publisher": "muster",\n  "offer": "tiny",\n  "sku": "debian",\n'
	printf '  "version": "%s",\n  "osType": "Linux",\n  "agent": true,\n' "$version"
	printf '  "needsCredentials": false,\n  "minMemoryMB": 96,\n  "files": {'
	for file in vmlinux initrd cmdline disk.qcow2; do
		printf '%s\n    "%s": {"sha256": "%s", "bytes": %d}' "$separator" "$file" \
			"$(sha256sum <"$work/$file" | cut -d' ' -f1)" "$(stat -c %s "$work/$file")"
		separator=,
	done
	printf '\n  },\n  "packages": {'
	separator=
	while read -r name file; do
		[ "$name" = "$kernel_meta" ] && name=$kernel
		printf '%s\n    "%s": "%s"' "$separator" "$name" "$file"
		separator=,
	done <<<"$versions"
	printf '\n  }\n}\n'
}

# image_version is 1.<day of the newest package>.<digest of packages and recipe>:
# it follows Debian's updates and differs whenever the content may.
image_version() {
	local digest
	digest=$(printf '%s\n%s\n' "$recipe" "$versions" | sha256sum | cut -c1-7)
	echo "1.$(sort -n "$work/dates" | tail -n 1).$((16#$digest))"
}

build() {
	unpack_packages
	version=$(image_version)
	extract_kernel
	make_initrd
	make_root
	make_disk
	printf '%s' "$cmdline" >"$work/cmdline"
	manifest >"$work/manifest.json"
	rm -f "$out/.built"
	mv "$work"/{vmlinux,initrd,cmdline,disk.qcow2,manifest.json} "$out/"
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

recipe=$(recipe_digest)
if ! resolve; then
	image_exists && [ "$(head -n 1 "$out/.built")" = "$recipe" ] ||
		die "the package lists lack some of: $kernel_meta ${packages[*]}; as root run: apt-get update"
	echo "tiny guest: no package lists, keeping $out" >&2
	exit
fi
if image_exists && [ "$(cat "$out/.built")" = "$recipe"$'\n'"$versions" ]; then
	exit
fi
work=$(mktemp -d "$out/.work.XXXXXX")
trap 'rm -rf "$work"' EXIT
build
echo "tiny guest $version is in $out"
