package script

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/muster-vm/muster/internal/program"
)

func TestEveryCommandIsInAScript(t *testing.T) {
	files, err := filepath.Glob("*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all strings.Builder
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
	}
	root := program.Root("test")
	root.InitDefaultCompletionCmd("completion") // without an argument it sees no other command
	leaves := 0
	for cmd := range leavesOf(root) {
		leaves++
		line := regexp.MustCompile(`(?m)^(exec|exits \d|eventually \S+) ` + cmd.CommandPath() + `( |$)`)
		if cmd.Name() != "powershell" && !line.MatchString(all.String()) {
			t.Errorf("no script runs %q", cmd.CommandPath())
		}
	}
	if leaves < 40 {
		t.Errorf("only %d commands were found", leaves)
	}
}

// leavesOf walks the commands below one that have none below them.
func leavesOf(cmd *cobra.Command) func(yield func(*cobra.Command) bool) {
	return func(yield func(*cobra.Command) bool) {
		if !cmd.HasSubCommands() {
			yield(cmd)
			return
		}
		for _, c := range cmd.Commands() {
			for leaf := range leavesOf(c) {
				if !yield(leaf) {
					return
				}
			}
		}
	}
}
