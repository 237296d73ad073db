package arm

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/muster-vm/muster/internal/resource"
)

// tokenPrefix is the version of what is inside a skip token.
const tokenPrefix = "1:"

// SkipToken returns the key after which the page starts, empty for the first
// page. A token that NextLink did not make is Invalid, code InvalidSkipToken.
func SkipToken(r *Request) (after string, err error) {
	token := r.Query("$skiptoken")
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	after, ok := strings.CutPrefix(string(raw), tokenPrefix)
	if err != nil || !ok || after == "" || len(after) > 2048 {
		return "", resource.Errorf(resource.Invalid, "InvalidSkipToken", "The $skiptoken is not one of this server's. Follow nextLink as it was given.").At("$skiptoken")
	}
	return after, nil
}

// NextLink returns the absolute URL of the page that starts after the key.
func NextLink(r *Request, after string) string {
	q := r.HTTP.URL.Query()
	for name := range q {
		if strings.EqualFold(name, "$skiptoken") {
			delete(q, name)
		}
	}
	q.Set("$skiptoken", base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix+after)))
	return r.Base + r.HTTP.URL.EscapedPath() + "?" + q.Encode()
}

// Page cuts the page that the request asks for out of items, which are in
// ascending order of their unique keys. next is empty on the last page.
func Page[T any](r *Request, items []T, size int, key func(T) string) (page []T, next string, err error) {
	after, err := SkipToken(r)
	if err != nil {
		return nil, "", err
	}
	if after != "" {
		at, found := slices.BinarySearchFunc(items, after, func(item T, k string) int { return strings.Compare(key(item), k) })
		if found {
			at++
		}
		items = items[at:]
	}
	if len(items) <= size {
		return items, "", nil
	}
	return items[:size], NextLink(r, key(items[size-1])), nil
}

// queryFold returns the first value of the parameter, ignoring the case of its
// name; the exact name wins.
func queryFold(q url.Values, name string) string {
	if v, ok := q[name]; ok && len(v) > 0 {
		return v[0]
	}
	for k, v := range q {
		if strings.EqualFold(k, name) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}
