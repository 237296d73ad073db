package network

import "strings"

// Domain returns the DNS domain in which the names of a virtual network's cards
// are, such as 6f1f3cf03f2b.internal.muster. Each network has its own, as in Azure,
// where it ends with internal.cloudapp.net.
func Domain(uid UID) string {
	label := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'f' {
			return r
		}
		return -1
	}, strings.ToLower(string(uid)))
	return label[:min(12, len(label))] + ".internal.muster"
}
