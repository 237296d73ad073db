// Package image knows which images a server can make instances from, and where
// their files are on this host: the built-in tiny guest, and what a catalogue
// file lists. The simulator has no files and knows the images that `az` has
// aliases for instead.
//
// An image is named by its digest, which is the SHA-256 of its content: files
// that changed are another image and are never used for the old one. Files
// outside the directories that the operator allows are refused, whatever
// symbolic links say, and so are disks that refer to other files.
//
// A catalogue file lists images that boot by themselves, or with a kernel:
//
//	images:
//	- urn: Debian:debian-12:12-gen2:0.20260112.1
//	  alias: Debian12           # for az; stands for the latest version
//	  osType: Linux
//	  file: debian-12.qcow2     # absolute, or from the catalogue's directory
//	  format: qcow2             # or raw
//	  sha256: 4f7a...           # refuse any other content
//	  agent: true               # it runs the QEMU guest agent
//	- urn: acme:appliance:edge:1.4.0
//	  osType: Linux
//	  kernel: edge/vmlinux      # kernelSHA256 and initrdSHA256 go with these
//	  initrd: edge/initrd
//	  cmdline: console=ttyS0 root=/dev/vda
//	  disk: edge/root.raw       # without one, sizeGB of a blank disk
//	  format: raw
//	  sizeGB: 8                 # of the OS disk, if larger than the file says
//	  needsCredentials: false   # a way in needs no key or password
//
// The package does not copy, convert or download images.
package image
