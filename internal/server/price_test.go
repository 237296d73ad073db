package server_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestAPriceFileThatIsWrongIsExplained(t *testing.T) {
	c := configOf(t.TempDir())
	c.Prices = filepath.Join(t.TempDir(), "prices.yaml")
	wantWords(t, refused(t, c), "prices: ", "prices.yaml", "no such file", "or none")
	for text, words := range map[string][]string{
		"": {"prices.yaml", "currency: ", "such as EUR", "perHour: ", "Give one for each VM size"},
		"currency: EUR\nperHour: {Muster_T1: 1}\nperMonth: 3\n":         {"perMonth", "diskPerGBMonth"},
		"currency: EUR\nperHour: {Muster_T1: 1, Muster_T1: 2}\n":        {"Muster_T1", "already set"},
		"currency: EUR\nperHour: {Muster_T1: 1, muster_t1: 2}\n":        {"perHour.muster_t1: ", "Keep one"},
		"currency: EUR\nperHour: {Muster_T9: 1}\n":                      {"perHour.Muster_T9: ", "list-sizes"},
		"currency: EUR\nperHour: {Muster_T1: -1}\n":                     {"perHour.Muster_T1: ", "six decimals"},
		"currency: EUR\nperHour: {Muster_T1: cheap}\n":                  {"prices.yaml", "cheap"},
		"currency: EUR\nperHour: {Muster_T1: 0.0000001}\n":              {"perHour.Muster_T1: ", "six decimals"},
		"currency: EUR\nperHour: {Muster_T1: }\n":                       {"perHour.Muster_T1: ", "six decimals"},
		"currency: EUR\nperHour: {Muster_T1: 1}\ndiskPerGBMonth: 1e2\n": {"diskPerGBMonth: ", "from 0 to 10"},
		"currency: EUR\n---\nperHour: {Muster_T1: 1}\n":                 {"second document"},
	} {
		if err := os.WriteFile(c.Prices, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		wantWords(t, refused(t, c), words...)
	}
}

// TestThePageOfSettingsShowsAPriceFile takes the sample of the page, and a set
// of one instance.
func TestThePageOfSettingsShowsAPriceFile(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	sample := regexp.MustCompile("(?s)```yaml[^\n]*\n(currency.*?)```").FindSubmatch(page)
	c := configOf(t.TempDir())
	c.Prices = filepath.Join(t.TempDir(), "prices.yaml")
	if err := os.WriteFile(c.Prices, sample[1], 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, c)
	s.put(web(""))
	status, _, body := s.call("GET", s.set()+"/providers/Muster.Fleet/costs?api-version=2026-11-01", "")
	var answer struct {
		Properties struct {
			AtCapacity struct{ ComputePerHour json.Number }
		}
	}
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&answer); err != nil || status != http.StatusOK || answer.Properties.AtCapacity.ComputePerHour != "0.004" {
		t.Errorf("%d %s", status, body)
	}
}
