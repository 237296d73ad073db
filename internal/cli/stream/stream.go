// Package stream carries bytes between a person or a program on this machine and a
// stream of the API: a console, or a tunnel. It opens none itself.
package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/coder/websocket"
)

// chunk is how much goes into one message.
const chunk = 32 << 10

// push sends everything that in has, and then an empty message, which says so.
// filter, if there is one, may change it, or end it.
func push(ctx context.Context, ws *websocket.Conn, in io.Reader, filter func([]byte) (send []byte, leave bool)) (left bool, err error) {
	b := make([]byte, chunk)
	for {
		n, err := in.Read(b)
		send := b[:n]
		if filter != nil {
			send, left = filter(send)
		}
		if len(send) > 0 {
			if err := ws.Write(ctx, websocket.MessageBinary, send); err != nil {
				return left, err
			}
		}
		if left {
			return true, nil
		}
		if err != nil {
			return false, ws.Write(ctx, websocket.MessageBinary, nil)
		}
	}
}

// endOf words how a stream ended: nil if all went well.
func endOf(err error) error {
	e, ok := errors.AsType[websocket.CloseError](err)
	switch {
	case ok && e.Code == websocket.StatusNormalClosure:
		return nil
	case ok:
		return fmt.Errorf("the server ended the connection: %s", e.Reason)
	}
	return fmt.Errorf("the connection to the server broke: %v", err) //nolint:errorlint // how the protocol words it is no cause to act on
}

// Carry carries bytes both ways until the stream has ended, or the command shall.
func Carry(ctx context.Context, ws *websocket.Conn, in io.Reader, out io.Writer) error {
	defer context.AfterFunc(ctx, func() { _ = ws.Close(websocket.StatusNormalClosure, "") })()
	whole := context.WithoutCancel(ctx)
	go push(whole, ws, in, nil) //nolint:errcheck // what reads from the stream finds out
	for {
		_, message, err := ws.Read(whole)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return endOf(err)
		case len(message) > 0:
			_, err = out.Write(message)
		default:
			err = closeWrite(out)
		}
		if err != nil {
			_ = ws.Close(websocket.StatusNormalClosure, "")
			return nil // nobody listens any more, which is how tunnels end
		}
	}
}

// closeWrite tells whoever reads out that there is no more.
func closeWrite(out io.Writer) error {
	switch o := out.(type) {
	case interface{ CloseWrite() error }:
		return o.CloseWrite()
	case io.Closer:
		return o.Close()
	}
	return nil
}

// Listen gives each connection that l takes a stream of its own, until ctx is done;
// it closes l. failed hears of those that come to nothing.
func Listen(ctx context.Context, l net.Listener, open func() (*websocket.Conn, error), failed func(error)) error {
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil // it was told to end
		}
		if err != nil {
			return fmt.Errorf("take more connections: %w", err)
		}
		wg.Go(func() {
			defer conn.Close()
			ws, err := open()
			if err == nil {
				err = Carry(ctx, ws, conn, conn)
			}
			if err != nil && ctx.Err() == nil {
				failed(err)
			}
		})
	}
}
