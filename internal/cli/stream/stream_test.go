package stream

import (
	"slices"
	"testing"
)

func TestEscapeLeavesAConsole(t *testing.T) {
	for _, tt := range []struct {
		typed []string // at once
		sent  string
		leave bool
	}{
		{[]string{"ls\r~."}, "ls\r", true},
		{[]string{"~."}, "", true},
		{[]string{"ls\r", "~", ".rest"}, "ls\r", true},
		{[]string{"ls\n~."}, "ls\n", true},
		{[]string{"ls ~."}, "ls ~.", false},
		{[]string{"ls\r~~."}, "ls\r~.", false},
		{[]string{"cd\r~/x\r"}, "cd\r~/x\r", false},
		{[]string{"\r~\r~."}, "\r~\r", true},
		{[]string{"ls\r~"}, "ls\r", false},
	} {
		e, sent, left := &Escape{}, "", false
		for _, some := range tt.typed {
			var send []byte
			send, left = e.Filter([]byte(some))
			sent += string(send)
		}
		if sent != tt.sent || left != tt.leave {
			t.Errorf("%q: sent %q, leave %v; want %q, %v", tt.typed, sent, left, tt.sent, tt.leave)
		}
	}
}

func TestSSHFindsTheTunnelAndKeepsHostKeysApart(t *testing.T) {
	s := SSH{Tunnel: []string{"/b/muster", "vmss", "tunnel", "--resource-group", "it's (50%)"}, KnownHosts: "/c d/known_hosts", Disk: "disk", User: "op", Host: "web_3",
		Identity: []string{"k"}, Rest: []string{"-v", "ls"}}
	want := []string{
		"-o", `ProxyCommand='/b/muster' 'vmss' 'tunnel' '--resource-group' 'it'\''s (50%%)'`,
		"-o", "HostKeyAlias=disk", "-o", `UserKnownHostsFile="/c d/known_hosts"`, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=accept-new", "-o", "ControlPath=none",
		"-l", "op", "-i", "k", "web_3", "-v", "ls",
	}
	if got := s.Args(); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
