package fleettest_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/muster-vm/muster/internal/fleettest"
	"github.com/muster-vm/muster/internal/population"
	"github.com/muster-vm/muster/internal/server"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestTheAPIAnswersAsRecorded plays the stories in testdata: what a client sends
// and what it is answered, byte for byte.
//
// A story is a txtar archive. Its comment tells what it is about, and may define
// words ("let SET = ..."). Sections with a dot in their name are files: a
// population, a config, bodies that requests share. The others are steps:
//
//	-- 3 --
//	# What this step shows.
//	PUT $SET?api-version=2024-07-01
//	If-Match: $ETAG
//
//	{"sku": {"capacity": 3}}
//	-- 3 answer --
//	200 OK
//	...
//
// "< name" in place of a body sends the file of that name. "SLEEP 5m" lets the
// fleet's time pass. "WAIT" polls the operation that was begun last until it
// ends, and records its end. $SUB is the subscription; $NEXT, $OPERATION,
// $LOCATION and $ETAG are what answers gave last. A request is the owner's, if it
// has no Authorization of its own; "Authorization: none" sends none.
//
// In answers, the middle of a long list is left out, and what differs from run to run has a name with a number, in the order
// of appearance: the same name is the same value throughout the story.
func TestTheAPIAnswersAsRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no stories:", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var played *txtar.Archive
			synctest.Test(t, func(t *testing.T) { played = play(t, archive) })
			want, got := txtar.Format(archive), txtar.Format(played)
			if bytes.Equal(want, got) {
				return
			}
			if !*update {
				t.Fatalf("the answers are not those recorded (-want +got; make golden rewrites them):\n%s", cmp.Diff(string(want), string(got)))
			}
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// transcript is a story that is being told.
type transcript struct {
	t     *testing.T
	fleet *fleettest.Fleet
	files map[string][]byte
	words map[string]string // what $NAME stands for in requests
	names *placeholders
}

// play tells the story again, with the answers of now.
func play(t *testing.T, a *txtar.Archive) *txtar.Archive {
	s := &transcript{t: t, files: map[string][]byte{}, words: map[string]string{}, names: newPlaceholders()}
	for _, f := range a.Files {
		if strings.Contains(f.Name, ".") {
			s.files[f.Name] = f.Data
		}
	}
	s.boot()
	for line := range strings.Lines(string(a.Comment)) {
		if name, value, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "let "), " = "); ok && strings.HasPrefix(line, "let ") {
			s.words[name] = s.expand(value)
		}
	}
	out := &txtar.Archive{Comment: a.Comment}
	for _, f := range a.Files {
		if strings.HasSuffix(f.Name, " answer") {
			continue // made anew
		}
		out.Files = append(out.Files, f)
		if strings.Contains(f.Name, ".") {
			continue
		}
		if answer := s.step(string(f.Data)); answer != "" {
			out.Files = append(out.Files, txtar.File{Name: f.Name + " answer", Data: []byte(answer)})
		}
	}
	return out
}

// boot starts the story's fleet. Boots take the same time always, for the jitter
// of machines follows from their ids.
func (s *transcript) boot() {
	s.t.Helper()
	opts := fleettest.Options{Population: population.Default()}
	// Nothing takes whole seconds, which is when operations are polled: a try that
	// met a conflict and came a millisecond later must not be told a second later.
	opts.Population.Boot.Shutdown, opts.Population.Copy = 4600*time.Millisecond, 1600*time.Millisecond
	opts.Population.Boot.Jitter = 0
	if raw, ok := s.files["population.json"]; ok {
		var err error
		if opts.Population, err = population.Parse(raw); err != nil {
			s.t.Fatal(err)
		}
	}
	opts.Config = func(c *server.Config) {
		if raw, ok := s.files["config.json"]; ok {
			if err := json.Unmarshal(raw, c); err != nil {
				s.t.Error("config.json:", err)
			}
		}
	}
	s.fleet = fleettest.Boot(s.t, opts)
	s.words["SUB"] = s.fleet.Subscription()
	s.names.known[s.fleet.Subscription()] = "$SUB"
	synctest.Wait()
}

var word = regexp.MustCompile(`\$([A-Z]+)`)

// expand puts words in place of their names. OData's own $names are in lower
// case.
func (s *transcript) expand(text string) string {
	return word.ReplaceAllStringFunc(text, func(name string) string {
		value, ok := s.words[name[1:]]
		if !ok {
			s.t.Fatalf("%s stands for nothing yet", name)
		}
		return value
	})
}

// step does what one section says, and returns the answer to record.
func (s *transcript) step(text string) string {
	s.t.Helper()
	for strings.HasPrefix(text, "#") {
		_, text, _ = strings.Cut(text, "\n")
	}
	line, rest, _ := strings.Cut(text, "\n")
	method, target, _ := strings.Cut(line, " ")
	switch method {
	case "SLEEP":
		d, err := time.ParseDuration(target)
		if err != nil {
			s.t.Fatal(err)
		}
		time.Sleep(d)
		synctest.Wait()
		return ""
	case "WAIT":
		return s.wait()
	}
	head, body, _ := strings.Cut("\n"+rest, "\n\n")
	if name, ok := strings.CutPrefix(body, "< "); ok {
		raw, ok := s.files[strings.TrimSpace(name)]
		if !ok {
			s.t.Fatalf("there is no file %s", name)
		}
		body = string(raw)
	}
	header := http.Header{}
	for field := range strings.SplitSeq(strings.TrimSpace(head), "\n") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			header.Set(name, s.expand(value))
		}
	}
	return s.record(s.send(method, s.expand(target), header, s.expand(body)))
}

// answer is what came back.
type answer struct {
	res  *http.Response
	body []byte
}

// send makes a request, and lets the fleet do what it does at once.
func (s *transcript) send(method, target string, header http.Header, body string) answer {
	s.t.Helper()
	ctx := s.t.Context()
	if !strings.HasPrefix(target, "https://") {
		target = fleettest.Endpoint + target
	}
	r, err := http.NewRequestWithContext(ctx, method, strings.ReplaceAll(target, " ", "%20"), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header = header
	switch header.Get("Authorization") {
	case "":
		token, err := s.fleet.GetToken(ctx, policy.TokenRequestOptions{})
		if err != nil {
			s.t.Fatal(err)
		}
		header.Set("Authorization", "Bearer "+token.Token)
	case "none":
		header.Del("Authorization")
	}
	res, err := s.fleet.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	raw := new(bytes.Buffer)
	if _, err := raw.ReadFrom(res.Body); err != nil {
		s.t.Fatal(err)
	}
	synctest.Wait()
	return answer{res, raw.Bytes()}
}

// wait polls the last operation to its end.
func (s *transcript) wait() string {
	s.t.Helper()
	began := time.Now()
	for time.Since(began) < 12*time.Hour {
		a := s.send("GET", s.words["OPERATION"], http.Header{}, "")
		if !bytes.Contains(a.body, []byte(`"status":"InProgress"`)) {
			return s.record(a)
		}
		pause, err := time.ParseDuration(a.res.Header.Get("Retry-After") + "s")
		if err != nil {
			s.t.Fatal("an operation goes on and does not say when to ask again:", err)
		}
		time.Sleep(pause)
		synctest.Wait()
	}
	s.t.Fatal("the operation does not end")
	return ""
}

// shown are the headers that answers are recorded with.
var shown = []string{"Content-Type", "ETag", "Azure-AsyncOperation", "Location", "Retry-After", "WWW-Authenticate"}

// record notes what later steps may refer to, and words the answer.
func (s *transcript) record(a answer) string {
	s.t.Helper()
	for name, header := range map[string]string{"OPERATION": "Azure-AsyncOperation", "LOCATION": "Location", "ETAG": "ETag"} {
		if value := a.res.Header.Get(header); value != "" {
			s.words[name] = value
		}
	}
	var page struct {
		NextLink string `json:"nextLink"`
	}
	if json.Unmarshal(a.body, &page) == nil && page.NextLink != "" {
		s.words["NEXT"] = page.NextLink
	}
	var b strings.Builder
	fmt.Fprintln(&b, a.res.Status)
	for _, name := range shown {
		if value := a.res.Header.Get(name); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", name, value)
		}
	}
	if len(a.body) > 0 {
		var indented bytes.Buffer
		if json.Indent(&indented, shorten(a.body), "", "  ") != nil {
			indented.Reset()
			indented.Write(a.body)
		}
		fmt.Fprintf(&b, "\n%s\n", bytes.TrimRight(indented.Bytes(), "\n"))
	}
	return s.names.replace(b.String())
}

// shorten leaves out all but the first and the last of a long list.
func shorten(body []byte) []byte {
	const long = 10
	var page struct {
		Value    []json.RawMessage `json:"value"`
		NextLink string            `json:"nextLink,omitempty"`
	}
	if json.Unmarshal(body, &page) != nil || len(page.Value) < long {
		return body
	}
	n := len(page.Value)
	page.Value = []json.RawMessage{page.Value[0], fmt.Appendf(nil, "%q", fmt.Sprintf("... %d more ...", n-2)), page.Value[n-1]}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if enc.Encode(page) != nil {
		return body
	}
	return out.Bytes()
}

// placeholders name what differs from run to run.
type placeholders struct {
	known map[string]string // by value
	count map[string]int    // by kind
}

func newPlaceholders() *placeholders {
	const nobody = "00000000-0000-0000-0000-000000000000"
	return &placeholders{known: map[string]string{nobody: nobody}, count: map[string]int{}}
}

// volatile are the kinds of values that differ. The first group of each is the
// value.
var volatile = []struct {
	kind    string
	pattern *regexp.Regexp
}{
	{"ETAG", regexp.MustCompile(`(?m)^Etag: "([^"]+)"|^ETag: "([^"]+)"|"etag": "\\"([^"\\]+)\\""`)},
	{"POLL", regexp.MustCompile(`\?p=([0-9a-f-]{36})`)},
	{"OPERATION", regexp.MustCompile(`/(?:operations|operationresults|DiskOperations)/([0-9a-f-]{36})`)},
	{"GUID", regexp.MustCompile(`\b([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})\b`)},
	{"DISK", regexp.MustCompile(`_([0-9a-f]{32})\b`)},
	{"MAC", regexp.MustCompile(`\b([0-9A-F]{2}(?:-[0-9A-F]{2}){5})\b`)},
	{"DOMAIN", regexp.MustCompile(`"internalDomainNameSuffix": "([0-9a-f]+)\.internal\.muster"`)},
	{"IP", regexp.MustCompile(`\b((?:10|198)\.\d+\.\d+\.\d+)\b`)},
}

func (p *placeholders) replace(text string) string {
	for _, v := range volatile {
		text = v.pattern.ReplaceAllStringFunc(text, func(match string) string {
			groups := v.pattern.FindStringSubmatch(match)
			at := slices.IndexFunc(groups[1:], func(g string) bool { return g != "" }) + 1
			value := groups[at]
			name, ok := p.known[value]
			if !ok {
				p.count[v.kind]++
				name = fmt.Sprintf("$%s%d", v.kind, p.count[v.kind])
				p.known[value] = name
			}
			return strings.Replace(match, value, name, 1)
		})
	}
	return text
}
