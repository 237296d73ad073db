package cli

import (
	"slices"
	"strings"
	"testing"
)

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
