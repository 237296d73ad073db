package cli

import (
	"slices"
	"strings"
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
		e, sent, left := &escape{fresh: true}, "", false
		for _, some := range tt.typed {
			var send []byte
			send, left = e.filter([]byte(some))
			sent += string(send)
		}
		if sent != tt.sent || left != tt.leave {
			t.Errorf("%q: sent %q, leave %v; want %q, %v", tt.typed, sent, left, tt.sent, tt.leave)
		}
	}
}

func TestWordsNameTheInstanceAndTheRestIsForSSH(t *testing.T) {
	for _, tt := range []struct {
		given         options
		words         string
		name, id, all string
	}{
		{options{}, "web 3", "web", "3", ""},
		{options{}, "web web_3", "web", "3", ""},
		{options{}, "web 3 -L 1:h:2 uptime", "web", "3", "-L 1:h:2 uptime"},
		{options{Name: "web"}, "3 uptime", "web", "3", "uptime"},
		{options{Name: "web", InstanceID: []string{"3"}}, "uptime", "web", "3", "uptime"},
	} {
		c := &call{options: tt.given}
		if err := nameAndID(c, strings.Fields(tt.words)); err != nil {
			t.Error(err)
			continue
		}
		if got := strings.Join(c.rest, " "); c.Name != tt.name || c.InstanceID[0] != tt.id || got != tt.all {
			t.Errorf("%q: %s %s %q", tt.words, c.Name, c.InstanceID[0], got)
		}
	}
	if err := nameAndID(&call{}, []string{"web"}); err == nil {
		t.Error("no instance is named")
	}
}

func TestWordsAfterTwoDashesStayAsTheyAre(t *testing.T) {
	words := strings.Fields("vmss ssh web 0 -- -z a b @/dev/null --set x")
	if got := Args(words); !slices.Equal(got, words) {
		t.Errorf("got %q", got)
	}
}

func TestSSHFindsTheTunnelAndKeepsHostKeysApart(t *testing.T) {
	c := &call{options: options{Group: "it's (50%)", Name: "web", InstanceID: []string{"3"}, Port: 22, Identity: []string{"k"}, rest: []string{"-v", "ls"}}, conn: &Connection{Subscription: "s"}}
	want := []string{
		"-o", `ProxyCommand='/b/muster' 'vmss' 'tunnel' '--resource-group' 'it'\''s (50%%)' '--name' 'web' '--instance-id' '3' '--port' '22' '--subscription' 's' '--only-show-errors'`,
		"-o", "HostKeyAlias=disk", "-o", `UserKnownHostsFile="/c d/known_hosts"`, "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=accept-new", "-o", "ControlPath=none",
		"-l", "op", "-i", "k", "web_3", "-v", "ls",
	}
	if got := c.sshArgs("/b/muster", "/c d/known_hosts", "disk", "op"); !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
