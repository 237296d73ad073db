package server_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/muster-vm/muster/internal/server"
)

// settings lists every key of a configuration with its value as JSON.
func settings(t *testing.T, prefix string, v reflect.Value) map[string]string {
	t.Helper()
	all := map[string]string{}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if field.Type.Kind() == reflect.Struct {
			maps.Copy(all, settings(t, prefix+name+".", v.Field(i)))
			continue
		}
		raw, err := json.Marshal(v.Field(i).Interface())
		if err != nil {
			t.Fatal(err)
		}
		all[prefix+name] = string(raw)
	}
	return all
}

// TestThePageOfSettingsIsTrue compares docs/configuration.md with the program.
func TestThePageOfSettingsIsTrue(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	told := map[string]string{}
	row := regexp.MustCompile("(?m)^\\| `([^`]+)` \\| `([^`]*)` \\| (.*[.]) \\|$")
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		if _, twice := told[m[1]]; twice {
			t.Errorf("%s is there twice", m[1])
		}
		told[m[1]] = m[2]
	}
	if diff := cmp.Diff(settings(t, "", reflect.ValueOf(server.Default())), told); diff != "" {
		t.Errorf("settings and defaults (-program +page):\n%s", diff)
	}
}

// TestConfigShowPrintsWhatIsInEffect goes through a file, a flag over it, and
// back.
func TestConfigShowPrintsWhatIsInEffect(t *testing.T) {
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte("location: here\nlisten: 127.0.0.1:1\nhost:\n  vcpus: 3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := server.Default()
	want.Location, want.Listen, want.Host.VCPUs = "here", "127.0.0.1:2", 3
	for _, args := range [][]string{{"show"}, nil} {
		all := server.Commands()
		cmd := all[slices.IndexFunc(all, func(c *cobra.Command) bool { return c.Name() == "config" })]
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetArgs(append(args, "--config", file, "--listen", "127.0.0.1:2"))
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(server.Explain(err))
		}
		got := server.Default()
		if err := yaml.UnmarshalStrict(out.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if g, w := settings(t, "", reflect.ValueOf(got)), settings(t, "", reflect.ValueOf(want)); !cmp.Equal(g, w) {
			t.Errorf("%v (-want +got):\n%s", args, cmp.Diff(w, g))
		}
	}
	wantWords(t, command(t, "config", "show", "--config", file+"x"), "no such file")
	wantWords(t, command(t, "config", "shwo"), "shwo")
}
