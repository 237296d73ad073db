package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"
)

// maxLine is the longest message that QEMU may send; its longest known one,
// the answer to query-qmp-schema, has a quarter of a megabyte.
const maxLine = 4 << 20

// ErrClosed is in the chain of every error that a lost or closed connection
// causes.
var ErrClosed = errors.New("qmp: connection closed")

// Error is QEMU's own answer to a command it could not carry out.
type Error struct {
	Class string `json:"class"` // such as "GenericError" or "CommandNotFound"
	Desc  string `json:"desc"`  // a sentence for people
}

// Error returns QEMU's sentence and the class.
func (e *Error) Error() string { return e.Desc + " (" + e.Class + ")" }

// Refusal returns QEMU's own answer in an error's chain, and nil if there is none.
func Refusal(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// Event is something that happened in the virtual machine.
type Event struct {
	Name string // such as "SHUTDOWN"
	Time time.Time
	Data json.RawMessage // depends on Name; may be empty
}

// Client is one connection to a QEMU process. It is safe for concurrent use.
type Client struct {
	conn    net.Conn
	version string
	events  chan Event
	done    chan struct{} // closed when the reader has ended
	sending chan struct{} // holds one token: who has it may write

	mu      sync.Mutex
	next    int64
	pending map[string]chan answer
	err     error // why the connection ended
}

type answer struct {
	result json.RawMessage
	err    error
}

// message is anything that QEMU sends.
type message struct {
	Greeting *struct {
		Version struct {
			QEMU struct{ Major, Minor, Micro int } `json:"qemu"`
		} `json:"version"`
	} `json:"QMP"`
	ID        string          `json:"id"`
	Return    json.RawMessage `json:"return"`
	Error     *Error          `json:"error"`
	Event     string          `json:"event"`
	Data      json.RawMessage `json:"data"`
	Timestamp struct {
		Seconds      int64 `json:"seconds"`
		Microseconds int64 `json:"microseconds"`
	} `json:"timestamp"`
}

// New greets the QEMU process behind conn and returns a client that owns conn.
// It closes conn if the greeting fails or ctx ends first. QEMU serves one
// client of a socket at a time; a second one waits here.
func New(ctx context.Context, conn net.Conn) (*Client, error) {
	c := &Client{
		conn:    conn,
		events:  make(chan Event, 64),
		done:    make(chan struct{}),
		sending: make(chan struct{}, 1),
		pending: map[string]chan answer{},
	}
	lines := NewLines(conn)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	hello, err := greeting(lines)
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("qmp: greeting: %w", err)
	}
	v := hello.Greeting.Version.QEMU
	c.version = fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Micro)
	go c.read(lines)
	if err := c.Execute(ctx, "qmp_capabilities", nil, nil); err != nil {
		c.Close() //nolint:errcheck // the first error says more
		return nil, err
	}
	return c, nil
}

func greeting(lines *Lines) (message, error) {
	m, err := next(lines)
	if err == nil && m.Greeting == nil {
		err = errors.New("the peer does not speak QMP")
	}
	return m, err
}

func next(lines *Lines) (message, error) {
	var m message
	line, err := lines.Next(maxLine)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return m, fmt.Errorf("malformed message: %w", err)
	}
	return m, nil
}

// Version returns QEMU's version, such as "7.2.22".
func (c *Client) Version() string { return c.version }

// Events delivers what happens in the virtual machine and is closed when the
// connection ends. Events are hints: a reader that lags behind loses some, so
// after one look at the state itself.
func (c *Client) Events() <-chan Event { return c.events }

// Done is closed when the connection has ended; Err then says why.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended, and nil while it lasts.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close ends the connection and every call under way.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	<-c.done
	return nil
}

// Execute runs a command and stores what it returns in result, unless that is
// nil. args is marshalled as the arguments object; nil sends none. A command
// that QEMU refuses is an *Error; a connection that ends first is ErrClosed at
// once. If ctx ends first the command may or may not be carried out.
func (c *Client) Execute(ctx context.Context, command string, args, result any) error {
	id, wait, err := c.register()
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	defer c.forget(id)
	if err := c.send(ctx, id, command, args); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", command, ctx.Err())
	case a := <-wait:
		if a.err != nil {
			return fmt.Errorf("%s: %w", command, a.err)
		}
		if result == nil {
			return nil
		}
		if err := json.Unmarshal(a.result, result); err != nil {
			return fmt.Errorf("%s: unexpected answer: %w", command, err)
		}
		return nil
	}
}

func (c *Client) register() (string, chan answer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return "", nil, c.err
	}
	c.next++
	id := strconv.FormatInt(c.next, 10)
	wait := make(chan answer, 1)
	c.pending[id] = wait
	return id, wait, nil
}

func (c *Client) forget(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// send writes one command. A write that ctx cuts short leaves half a message
// behind, so it ends the connection.
func (c *Client) send(ctx context.Context, id, command string, args any) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
		ID        string `json:"id"`
	}{command, args, id})
	if err != nil {
		return err
	}
	select {
	case c.sending <- struct{}{}:
		defer func() { <-c.sending }()
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.Err()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { c.fail(fmt.Errorf("%w: %w", ErrClosed, ctx.Err())) })
	defer stop()
	if _, err := c.conn.Write(append(line, '\n')); err != nil {
		c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
		return c.Err()
	}
	return nil
}

func (c *Client) read(lines *Lines) {
	defer close(c.done)
	defer close(c.events)
	for {
		m, err := next(lines)
		if err != nil {
			c.fail(fmt.Errorf("%w: %w", ErrClosed, err))
			return
		}
		if m.Event != "" {
			at := time.Unix(m.Timestamp.Seconds, m.Timestamp.Microseconds*1000).UTC()
			select {
			case c.events <- Event{Name: m.Event, Time: at, Data: m.Data}:
			default: // the reader lags; see Events
			}
			continue
		}
		c.answer(m)
	}
}

func (c *Client) answer(m message) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait, ok := c.pending[m.ID]
	if !ok {
		return // its caller has gone
	}
	delete(c.pending, m.ID)
	a := answer{result: m.Return}
	if m.Error != nil {
		a.err = m.Error
	}
	wait <- a
}

// fail ends the connection for the first reason given and tells every call.
func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.conn.Close()
	for id, wait := range c.pending {
		delete(c.pending, id)
		wait <- answer{err: err}
	}
}
