package disk

// Order asks for the content of a disk.
type Order struct {
	UID    UID
	Kind   Kind
	SizeGB int // 0 takes the source's size
	Source Source

	SourceAt *Attachment // with Copy: who has the source disk in use, nil for nobody
	Base     string      // with Capture: digest of the image that the instance was made from, which says how it boots
	SourceGB int         // of the source, as far as records tell; 0 if they do not

	Progress func(done, total int64) // hears of bytes; total is 0 while it is not known. May be nil
}

// Made is a content.
type Made struct {
	Bytes  int64
	SizeGB int    // of Bytes, rounded up
	Digest string // of an image: names its files, "sha256:..."
}

// GB returns a size in whole GB, rounded up.
func GB(bytes int64) int { return int((bytes + gib - 1) / gib) }

const gib = 1 << 30
