package bridge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/muster-vm/muster/internal/resource"
)

// missing returns an Unavailable error that says what the host lacks and what
// to do about it.
func missing(err error, format string, args ...any) error {
	return resource.Errorf(resource.Unavailable, "", format, args...).Because(err)
}

// explain turns an error of the kernel into one that names the remedy, where the
// cause is a missing right or feature. attempt says what was tried.
func explain(err error, attempt string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrPermission):
		return missing(fmt.Errorf("%s: %w", attempt, err),
			"The server may not manage the host's network; run it as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN.")
	case errors.Is(err, syscall.EROFS):
		return missing(fmt.Errorf("%s: %w", attempt, err),
			"The host's kernel settings below /proc/sys are read-only; run the server outside the container, or in one that may change them.")
	}
	return missing(fmt.Errorf("%s: %w", attempt, err), "The host's network could not be set up (%s: %v).", attempt, err)
}

// explainRules is explain for a transaction of nftables.
func explainRules(err error, where string) error {
	for _, e := range []error{syscall.EOPNOTSUPP, syscall.EPROTONOSUPPORT, syscall.ENOENT, syscall.EAFNOSUPPORT} {
		if errors.Is(err, e) {
			return missing(fmt.Errorf("nftables rules %s: %w", where, err),
				"The kernel lacks a part of nftables; load the modules nf_tables, nft_ct, nft_nat, nft_masq, nft_hash, nft_reject_inet and nft_meta_bridge (modprobe), or use a kernel that has them.")
		}
	}
	return explain(err, "nftables rules "+where)
}

const tunDevice = "/dev/net/tun"

// needTun checks that taps can be made on this host.
func needTun() error {
	f, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENXIO), errors.Is(err, syscall.ENODEV):
		return missing(err, "The host has no %s; load the module tun (modprobe tun), or pass the device into the container.", tunDevice)
	}
	return explain(err, "open "+tunDevice)
}
