package store

// Change is one change of a commit.
type Change struct {
	op  Op
	err error // of encoding its value
}

// Put writes a record. Without a guard it does so whatever was there.
func Put[K comparable, V any](kind Kind[K, V], key K, value V, guard ...Guard) Change {
	raw, err := kind.codec.encode(value)
	return Change{Op{Do: Write, Key: kind.root + kind.write(key), Value: raw, Guard: only(guard)}, err}
}

// Delete removes a record, if it is there.
func Delete[K comparable, V any](kind Kind[K, V], key K, guard Guard) Change {
	return Change{op: Op{Do: Drop, Key: kind.root + kind.write(key), Guard: guard}}
}

// Check changes nothing: the commit is made only if the guard holds.
func Check[K comparable, V any](kind Kind[K, V], key K, guard Guard) Change {
	return Change{op: Op{Do: Look, Key: kind.root + kind.write(key), Guard: guard}}
}

// Held makes a commit depend on the lease: it fails with Conflict once somebody
// else holds it.
func (l Lease) Held() Change {
	return Change{op: Op{Do: Look, Key: LeaseKey(l.Name), Guard: At(l.Revision)}}
}

func only(guard []Guard) Guard {
	if len(guard) == 0 {
		return Any
	}
	return guard[0]
}
