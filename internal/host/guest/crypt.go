package guest

import (
	"bytes"
	"crypto/sha512"
	"fmt"
)

// cryptRounds is crypt(3)'s default for SHA-512; it needs no mention in the
// hash.
const cryptRounds = 5000

// CryptSHA512 hashes a password as crypt(3) does with SHA-512 ("$6$"), which
// every Linux guest understands. The salt has 1 to 16 characters of
// [a-zA-Z0-9./]; what is beyond is cut off. The same input gives the same hash.
func CryptSHA512(password, salt string) string {
	salt = salt[:min(len(salt), 16)]
	return fmt.Sprintf("$6$%s$%s", salt, crypt64(cryptDigest([]byte(password), []byte(salt), cryptRounds)))
}

// cryptDigest follows the steps of Ulrich Drepper's "Unix crypt using SHA-256
// and SHA-512"; the step numbers are his.
func cryptDigest(key, salt []byte, rounds int) [sha512.Size]byte {
	b := digest(key, salt, key) // steps 4-8
	a := sha512.New()           // steps 1-3, 9-12
	a.Write(key)
	a.Write(salt)
	a.Write(stretch(b[:], len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 == 1 {
			a.Write(b[:])
		} else {
			a.Write(key)
		}
	}
	var sum [sha512.Size]byte
	a.Sum(sum[:0])

	dp := digest(bytes.Repeat(key, len(key))) // steps 13-16
	p := stretch(dp[:], len(key))
	ds := digest(bytes.Repeat(salt, 16+int(sum[0]))) // steps 17-20
	s := stretch(ds[:], len(salt))
	for i := range rounds { // step 21
		sum = cryptRound(i, sum[:], p, s)
	}
	return sum
}

func cryptRound(i int, sum, p, s []byte) [sha512.Size]byte {
	parts := [4][]byte{sum, nil, nil, p}
	if i%2 == 1 {
		parts[0], parts[3] = p, sum
	}
	if i%3 != 0 {
		parts[1] = s
	}
	if i%7 != 0 {
		parts[2] = p
	}
	return digest(parts[:]...)
}

func digest(parts ...[]byte) (sum [sha512.Size]byte) {
	h := sha512.New()
	for _, p := range parts {
		h.Write(p)
	}
	h.Sum(sum[:0])
	return sum
}

// stretch repeats b until it has n bytes.
func stretch(b []byte, n int) []byte {
	return bytes.Repeat(b, n/len(b)+1)[:n]
}

// crypt64 writes a digest in crypt's own alphabet and order: each group of
// three bytes is 21 apart, rotated by one from group to group.
func crypt64(sum [sha512.Size]byte) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	var out []byte
	put := func(bits uint, chars int) {
		for range chars {
			out = append(out, alphabet[bits&63])
			bits >>= 6
		}
	}
	x, y, z := 0, 21, 42
	for range 21 {
		put(uint(sum[x])<<16|uint(sum[y])<<8|uint(sum[z]), 4)
		x, y, z = y+1, z+1, x+1
	}
	put(uint(sum[63]), 2)
	return string(out)
}
