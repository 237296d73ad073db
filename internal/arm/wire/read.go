package wire

// TextAt returns the string at a path of member names, empty if there is none.
func TextAt(doc Document, path ...string) string {
	s, _ := Get(doc, path...).(string)
	return s
}

// FlagAt returns the boolean at a path, false if there is none.
func FlagAt(doc Document, path ...string) bool {
	b, _ := Get(doc, path...).(bool)
	return b
}

// NumberAt returns the integer at a path.
func NumberAt(doc Document, path ...string) (n int, given bool) {
	i, given := Get(doc, path...).(int64)
	return int(i), given
}

// ObjectAt returns the object at a path, nil if there is none.
func ObjectAt(doc Document, path ...string) Document {
	m, _ := Get(doc, path...).(map[string]any)
	return m
}

// ObjectsAt returns the elements of the array at a path that are objects.
func ObjectsAt(doc Document, path ...string) []Document {
	list, _ := Get(doc, path...).([]any)
	var out []Document
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// TextsAt returns the elements of the array at a path that are strings.
func TextsAt(doc Document, path ...string) []string {
	list, _ := Get(doc, path...).([]any)
	var out []string
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
