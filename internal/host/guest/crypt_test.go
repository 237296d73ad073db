package guest

import "testing"

// The vectors are those published with the algorithm.
func TestCryptDigestMatchesThePublishedVectors(t *testing.T) {
	for _, tt := range []struct {
		salt   string
		rounds int
		key    string
		want   string
	}{
		{"saltstring", 5000, "Hello world!",
			"svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{"saltstringsaltst", 10000, "Hello world!",
			"OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v."},
		{"toolongsaltstrin", 5000, "This is just a test",
			"lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/e1JSbq3y6JMxxl8audkUEm0"},
		{"anotherlongsalts", 1400, "a very much longer text to encrypt.  This one even stretches over morethan one line.",
			"POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1"},
		{"short", 77777, "we have a short salt string but not a short password",
			"WuQyW2YR.hBNpjjRhpYD/ifIw05xdfeEyQoMxIXbkvr0gge1a1x3yRULJ5CCaUeOxFmtlcGZelFl5CxtgfiAc0"},
		{"asaltof16chars..", 123456, "a short string",
			"BtCwjqMJGx5hrJhZywWvt0RLE8uZ4oPwcelCjmw2kSYu.Ec6ycULevoBK25fs2xXgMNrCzIMVcgEJAstJeonj1"},
		{"roundstoolow", 1000, "the minimum number is still observed",
			"kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX."},
	} {
		if got := crypt64(cryptDigest([]byte(tt.key), []byte(tt.salt), tt.rounds)); got != tt.want {
			t.Errorf("key %q, salt %q, rounds %d:\n got %s\nwant %s", tt.key, tt.salt, tt.rounds, got, tt.want)
		}
	}
}

func TestCryptSHA512CutsTheSaltAsCryptDoes(t *testing.T) {
	const want = "$6$saltstringsaltst$"
	got := CryptSHA512("secret", "saltstringsaltstring")
	if got[:len(want)] != want || got != CryptSHA512("secret", "saltstringsaltst") {
		t.Errorf("got %s, want %s and the digest of the cut salt", got, want)
	}
}
