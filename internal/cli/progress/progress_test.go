package progress_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-vm/muster/internal/cli/progress"
)

var update = flag.Bool("update", false, "rewrite golden files")

func fleet(goal string, wanted int, states ...string) progress.Fleet {
	f := progress.Fleet{Name: "web", Goal: goal, Wanted: wanted, Elapsed: 12 * time.Second}
	for _, s := range states {
		var n int
		var state string
		if _, err := fmt.Sscanf(s, "%d %s", &n, &state); err != nil {
			panic(err)
		}
		for range n {
			f.Instances = append(f.Instances, progress.Instance{Name: fmt.Sprintf("web_%d", len(f.Instances)), State: state})
		}
	}
	return f
}

func TestLinesAreAsTheGoldenFileHasThem(t *testing.T) {
	some := fleet("running", 10, "7 running", "2 creating", "1 failed")
	var b strings.Builder
	for _, tt := range []struct {
		name  string
		fleet progress.Fleet
		style progress.Style
	}{
		{"nothing is there yet", fleet("running", 3), progress.Style{Width: 80}},
		{"some run", some, progress.Style{Width: 80}},
		{"some run, in colours", some, progress.Style{Width: 80, Colours: true}},
		{"some run, in words", some, progress.Style{Plain: true}},
		{"a narrow terminal", some, progress.Style{Width: 60}},
		{"a narrower terminal", some, progress.Style{Width: 50}},
		{"a narrow terminal with colours", some, progress.Style{Width: 12, Colours: true}},
		{"not all have a row", fleet("running", 5, "1 running", "2 creating"), progress.Style{Width: 80}},
		{"all run", fleet("running", 2, "2 running"), progress.Style{Width: 80}},
		{"a scale-in begins", fleet("running", 1, "3 running"), progress.Style{Width: 80}},
		{"a scale-in goes on", fleet("running", 1, "1 running", "2 deleting"), progress.Style{Width: 80}},
		{"being stopped", fleet("stopped", 0, "2 stopped", "1 updating"), progress.Style{Width: 80}},
		{"being deleted", fleet(progress.Gone, 10, "4 deleting"), progress.Style{Width: 80}},
		{"no instances", progress.Fleet{Name: "lab", Elapsed: time.Minute}, progress.Style{Width: 80}},
		{"no instances, in words", progress.Fleet{Name: "lab", Elapsed: time.Minute}, progress.Style{Plain: true}},
	} {
		fmt.Fprintf(&b, "%s\n\t%s\n", tt.name, strings.ReplaceAll(progress.Line(tt.fleet, tt.style), "\033", `\e`))
	}
	const golden = "testdata/lines.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("lines (-want +got), rewrite with -update:\n%s", diff)
	}
}

func TestLinesFitTheTerminal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := progress.Fleet{Name: rapid.StringMatching(`[a-zå]{0,30}`).Draw(t, "name"), Goal: rapid.SampledFrom([]string{"running", progress.Gone}).Draw(t, "goal"),
			Wanted: rapid.IntRange(0, 20).Draw(t, "wanted")}
		for range rapid.IntRange(0, 20).Draw(t, "instances") {
			f.Instances = append(f.Instances, progress.Instance{State: rapid.SampledFrom([]string{"running", "creating", progress.Failed}).Draw(t, "state")})
		}
		width := rapid.IntRange(1, 100).Draw(t, "width")
		if got := utf8.RuneCountInString(progress.Line(f, progress.Style{Width: width})); got > width {
			t.Fatalf("%d columns on a terminal of %d", got, width)
		}
	})
}

func TestFailuresNameTheFirstAndCountTheRest(t *testing.T) {
	all := fleet("running", 0, "1 running", "12 failed").Instances
	all[1].Reason = "(AllocationFailed) No room."
	got := progress.Failures(all)
	want := []string{"web_1: (AllocationFailed) No room."}
	for i := 2; i <= 10; i++ {
		want = append(want, fmt.Sprintf("web_%d", i))
	}
	want = append(want, "and 2 more")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("failures (-want +got):\n%s", diff)
	}
	if got := progress.Failures(all[:1]); got != nil {
		t.Errorf("none has failed, got %q", got)
	}
}
