package image

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// locator finds files and refuses those outside the allowed directories.
type locator struct {
	base    string   // relative paths start here
	allowed []string // as the config names them, for messages
	within  []string // the same, absolute, with and without symbolic links
}

func newLocator(base string, allowed []string) *locator {
	l := &locator{base: absolute(base), allowed: allowed}
	for _, dir := range allowed {
		if dir = absolute(dir); dir == "" {
			continue
		}
		l.within = append(l.within, dir)
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			l.within = append(l.within, real)
		}
	}
	return l
}

// absolute returns nothing for no path: that must not mean the directory that
// the server happens to run in.
func absolute(path string) string {
	if path == "" {
		return ""
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return ""
	}
	return abs
}

// outside returns why a path may not be used, or nothing.
func (l *locator) outside(path string) string {
	path = l.absolute(path)
	if !l.contains(path) {
		return path + " " + l.rule()
	}
	// What cannot be followed is not read either: real says so.
	if real, err := filepath.EvalSymlinks(path); err == nil && !l.contains(real) {
		return fmt.Sprintf("%s leads to %s, which %s", path, real, l.rule())
	}
	return ""
}

// real returns the absolute path without symbolic links, or why it cannot be
// used.
func (l *locator) real(path string) (real, fault string) {
	path = l.absolute(path)
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return path, faultOf(err)
	}
	if !l.contains(real) {
		return path, "leads to " + real + ", which " + l.rule()
	}
	return real, ""
}

func (l *locator) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(l.base, path)
}

func (l *locator) contains(path string) bool {
	return slices.ContainsFunc(l.within, func(dir string) bool {
		rel, err := filepath.Rel(dir, path)
		return err == nil && filepath.IsLocal(rel)
	})
}

func (l *locator) rule() string {
	if len(l.allowed) == 0 {
		return "is in no directory that images may come from: images.allowed in the server's config is empty. Name the file's directory there"
	}
	return fmt.Sprintf("is outside the directories that images may come from (%s). "+
		"Move the file there, or add its directory to images.allowed in the server's config", strings.Join(l.allowed, ", "))
}
