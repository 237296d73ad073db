package dhcp

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

func TestDHCPAnswersByTheLease(t *testing.T) {
	o := Offer{Address: netip.MustParsePrefix("10.240.0.4/16"), Gateway: netip.MustParseAddr("10.240.0.1"), MTU: 1500}
	type option = dhcpv4.Modifier
	requested := func(ip string) option { return dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.ParseIP(ip).To4())) }
	server := func(ip string) option { return dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(ip).To4())) }
	renewing := dhcpv4.WithClientIP(net.ParseIP("10.240.0.4").To4())
	for _, tt := range []struct {
		name string
		kind dhcpv4.MessageType
		with []option
		want string
	}{
		{"discover", dhcpv4.MessageTypeDiscover, nil, "OFFER 10.240.0.4"},
		{"request", dhcpv4.MessageTypeRequest, []option{requested("10.240.0.4"), server("10.240.0.1")}, "ACK 10.240.0.4"},
		{"request after a reboot", dhcpv4.MessageTypeRequest, []option{requested("10.240.0.4")}, "ACK 10.240.0.4"},
		{"renewal", dhcpv4.MessageTypeRequest, []option{renewing}, "ACK 10.240.0.4"},
		{"request of another address", dhcpv4.MessageTypeRequest, []option{requested("10.240.0.5")}, "NAK 0.0.0.0"},
		{"request to another server", dhcpv4.MessageTypeRequest, []option{requested("10.240.0.4"), server("10.240.0.9")}, ""},
		{"inform", dhcpv4.MessageTypeInform, []option{renewing}, "ACK 0.0.0.0"},
		{"release", dhcpv4.MessageTypeRelease, []option{renewing}, ""},
		{"decline", dhcpv4.MessageTypeDecline, []option{requested("10.240.0.4")}, ""},
	} {
		m, err := dhcpv4.New(append(tt.with, dhcpv4.WithMessageType(tt.kind))...)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if r := o.reply(m); r != nil {
			got = r.MessageType().String() + " " + r.YourIPAddr.String()
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
