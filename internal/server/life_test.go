package server_test

import (
	"encoding/base64"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestAServerSaysThatItIsReadyAndEndsWhenAsked looks at what a first start
// leaves for its owner.
func TestAServerSaysThatItIsReadyAndEndsWhenAsked(t *testing.T) {
	state := filepath.Join(t.TempDir(), "state")
	s := serve(t, configOf(state))
	if status, _, body := s.call("GET", "/readyz", ""); status != http.StatusOK || body != "ok\n" {
		t.Errorf("readyz: %d %q", status, body)
	}
	for name, want := range map[string]fs.FileMode{".": 0o700, "admin.json": 0o600, "ca.pem": 0o600, "lock": 0o600} {
		info, err := os.Stat(filepath.Join(state, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %v, want %v", name, got, want)
		}
	}
	s.end()
	if !strings.Contains(s.log.String(), "ready https://127.0.0.1:") {
		t.Errorf("there is no ready line\n%s", s.log)
	}
}

// TestASecondStartFindsWhatTheFirstOneLeft keeps the owner, the certificate and
// the records.
func TestASecondStartFindsWhatTheFirstOneLeft(t *testing.T) {
	state := t.TempDir()
	first := serve(t, configOf(state))
	first.put(web(""))
	_, header, before := first.call("GET", first.set()+setVersion, "")
	first.end()

	second := serve(t, configOf(state))
	if second.admin != first.admin {
		t.Error("the second start has another owner")
	}
	second.token = first.token
	status, now, after := second.call("GET", second.set()+setVersion, "")
	if status != http.StatusOK || now.Get("ETag") != header.Get("ETag") || now.Get("ETag") == "" {
		t.Errorf("with the token of before: %d, ETag %s, want %s\n%s\n%s", status, now.Get("ETag"), header.Get("ETag"), before, after)
	}
}

// TestNoSecretIsLogged drives requests that carry every kind of secret, good ones
// and bad ones, and looks for them in the log at debug level.
func TestNoSecretIsLogged(t *testing.T) {
	s := serve(t, configOf(t.TempDir()))
	data := "#!/bin/sh\necho custom-Sesame-2\n"
	encoded := base64.StdEncoding.EncodeToString([]byte(data))
	s.put(web(`, "adminPassword": "Sesame-Open-1", "customData": "` + encoded + `"`))
	for _, bad := range []string{
		web(`, "adminPassword": 1, "customData": "custom-Sesame-2"`),
		web(`, "adminPassword": "Sesame-Open-1", "adminUsername": "again"`),
		`{"Sesame-Open-1"`,
	} {
		if status, _, answer := s.call("PUT", s.set()+setVersion, bad); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", bad, status, answer)
		}
	}
	_, _, set := s.call("GET", s.set()+setVersion, "")
	_, _, instances := s.call("GET", s.set()+"/virtualMachines"+setVersion+"&$expand=instanceView", "")
	token, secret := s.token, s.admin.ClientSecret
	s.token += "broken"
	s.call("GET", s.set()+setVersion, "")
	s.end()
	for what, text := range map[string]string{"the log": s.log.String(), "the set": set, "the instances": instances} {
		for name, hidden := range map[string]string{"password": "Sesame-Open-1", "custom data": "custom-Sesame-2", "encoded custom data": encoded,
			"token": token, "signature of the token": token[strings.LastIndex(token, ".")+1:], "client secret": secret} {
			if strings.Contains(text, hidden) {
				t.Errorf("the %s is in %s", name, what)
			}
		}
	}
	if !strings.Contains(s.log.String(), "level=DEBUG") && !strings.Contains(s.log.String(), "level=INFO") {
		t.Error("nothing was logged")
	}
}
