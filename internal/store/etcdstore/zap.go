package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// unripe is an error that etcd may log when it starts on a new directory, before
// it has written what it looks for. It tries again.
const unripe = "failed to update storage version"

// bridge is a zapcore.Core that writes to an slog.Handler.
type bridge struct {
	zapcore.LevelEnabler

	handle func(slog.Record)
	with   []zapcore.Field
}

// newBridge returns the core for a handler. The context is for the values that
// handlers take from it.
func newBridge(ctx context.Context, level zapcore.LevelEnabler, handler slog.Handler) *bridge {
	ctx = context.WithoutCancel(ctx)
	return &bridge{LevelEnabler: level, handle: func(r slog.Record) {
		if handler.Enabled(ctx, r.Level) {
			_ = handler.Handle(ctx, r) // a log that cannot be written has nowhere to say so
		}
	}}
}

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	c := *b
	c.with = slices.Concat(b.with, fields)
	return &c
}

// Check implements zapcore.Core.
func (b *bridge) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !b.Enabled(e.Level) || e.Message == unripe {
		return ce
	}
	return ce.AddCore(e, b)
}

// Write implements zapcore.Core.
func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := slog.LevelError
	switch {
	case e.Level < zapcore.InfoLevel:
		level = slog.LevelDebug
	case e.Level < zapcore.WarnLevel:
		level = slog.LevelInfo
	case e.Level < zapcore.ErrorLevel:
		level = slog.LevelWarn
	}
	r := slog.NewRecord(e.Time, level, "etcd: "+e.Message, e.Caller.PC)
	for _, list := range [][]zapcore.Field{b.with, fields} {
		for i := range list {
			value := zapcore.NewMapObjectEncoder()
			list[i].AddTo(value)
			for key, v := range value.Fields { // one, or none
				r.AddAttrs(slog.Any(key, v))
			}
		}
	}
	b.handle(r)
	return nil
}

// Sync implements zapcore.Core.
func (b *bridge) Sync() error { return nil }

// newLogger returns a logger for an embedded etcd, which logs a fatal entry or a
// panic when it breaks down, to end the process. The process goes on instead,
// without etcd: fail is called and the goroutine ends.
func newLogger(core zapcore.Core, fail context.CancelCauseFunc) *zap.Logger {
	return zap.New(core, zap.WithFatalHook(breakdown(fail)), zap.WithPanicHook(breakdown(fail)))
}

// breakdown is a zapcore.CheckWriteHook.
type breakdown context.CancelCauseFunc

// OnWrite implements zapcore.CheckWriteHook.
func (fail breakdown) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	fail(fatalError(e.Message, fields))
	runtime.Goexit()
}

// fatalError says what a fatal entry said, with the error in its fields.
func fatalError(message string, fields []zapcore.Field) error {
	for _, f := range fields {
		if cause, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			return fmt.Errorf("%s: %w", message, cause)
		}
	}
	return errors.New(message)
}
