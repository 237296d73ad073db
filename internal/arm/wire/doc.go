// Package wire reads and writes the API's JSON. It knows no resource type: what
// it knows about one, it reads from a ledger, a text that lists every JSON path
// of the type. The ledger is the schema, and the list of what is supported.
//
// It is pure: bytes and values in, bytes, values and errors out.
//
// # Ledgers
//
// A line of a ledger is
//
//	path  type  class[: sentence]
//
// with two spaces between the fields. Lines that start with # are comments. A
// path names a member with its parents, "[]" the elements of an array and "{}"
// the values of a map; parents come before their members, and the order of the
// lines is the order of members in what is written. Types are
//
//	string int32 int64 bool number  the JSON type; strings that hold one are accepted
//	enum(A|B|C)                     a string; any letter case is accepted and A, B or C stored
//	id base64 duration              a string whose syntax is checked
//	time any object array map
//
// The class says what the member is worth here:
//
//	acts      it does what it says
//	echoed    it is kept and shown again, and has no effect on one's own hardware
//	fixed     it may be sent back as it was read, but not changed
//	readonly  it is ignored in requests, with all that is below it
//	secret    it acts and is never shown again
//	refused   a value is answered with 400 and the sentence; null, false, zero, ""
//	          and empty or likewise hollow objects and arrays ask for nothing and are accepted
//
// "acts except A|B: sentence" refuses single values of an enum. A refused
// member's sentence holds for what is below it.
//
// # Use
//
// [ParseLedger] makes a [Schema], [Schema.Decode] a [Document] in which every
// member has its canonical name and type, [Schema.Merge] and [MergePatch] bring
// two of them together, and [Schema.Encode] writes one in the ledger's order.
// Decode, and all that is built on it, reports every problem of a request
// together, each with its JSON path, by means of [Problems].
package wire
