package guest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/muster-vm/muster/internal/resource"
)

const (
	maxAnswer = 1 << 20  // bytes of an ordinary answer
	maxOutput = 48 << 20 // of one that carries output: the agent stops at 16 MiB a stream, in base64
)

// AgentTimeout is how long an agent may take over one answer, unless the
// context ends sooner. It is generous: an emulated guest under load is slow.
const AgentTimeout = 20 * time.Second

// Agent talks to the QEMU guest agent in one virtual machine. There must be
// one Agent for each agent socket, because QEMU serves one client of a socket
// at a time; it is safe for concurrent use and takes calls in turn.
//
// An agent that does not answer is Unavailable with code GuestAgentUnavailable;
// a command that it refuses is Invalid with code GuestCommandFailed.
type Agent struct {
	dial func(context.Context) (net.Conn, error)
	turn chan struct{} // holds one token: who has it may use the fields below
	conn net.Conn
	in   *bufio.Reader
}

// NewAgent returns an agent that dial connects to. Nothing is dialled before
// the first call; a connection that fails is dialled again by the next one.
func NewAgent(dial func(context.Context) (net.Conn, error)) *Agent {
	return &Agent{dial: dial, turn: make(chan struct{}, 1)}
}

// Close ends the connection once the call under way is over. The agent may be
// used again.
func (a *Agent) Close() {
	a.turn <- struct{}{}
	defer func() { <-a.turn }()
	a.drop()
}

// refusal is the agent's own answer to a command it could not carry out.
type refusal struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

type reply struct {
	Return json.RawMessage `json:"return"`
	Error  *refusal        `json:"error"`
}

// call runs one command of the agent and stores what it returns in result,
// unless that is nil.
func (a *Agent) call(ctx context.Context, command string, args, result any) error {
	return a.exchange(ctx, command, args, func() error { return a.receive(command, maxAnswer, result) })
}

// exchange sends a command and has the answer read by receive. Any failure but
// a refusal drops the connection, so that the next call starts in step.
func (a *Agent) exchange(ctx context.Context, command string, args any, receive func() error) error {
	ctx, cancel := context.WithTimeout(ctx, AgentTimeout)
	defer cancel()
	select {
	case a.turn <- struct{}{}:
		defer func() { <-a.turn }()
	case <-ctx.Done():
		return unavailable(ctx.Err())
	}
	if err := a.connect(ctx); err != nil {
		return unavailable(err)
	}
	stop := a.watch(ctx)
	err := a.send(command, args)
	if err == nil {
		err = receive()
	}
	answered := err == nil || resource.Is(err, resource.Invalid)
	if !stop() || !answered {
		a.drop()
	}
	if answered {
		return err
	}
	return unavailable(cmp.Or(ctx.Err(), err))
}

// watch makes every read and write on the connection fail when ctx ends.
func (a *Agent) watch(ctx context.Context) (stop func() bool) {
	conn := a.conn
	return context.AfterFunc(ctx, func() { conn.Close() })
}

func unavailable(err error) error {
	return resource.Errorf(resource.Unavailable, "GuestAgentUnavailable",
		"The guest agent does not answer. Check that qemu-guest-agent is installed and running in the image.").Because(err)
}

// connect dials unless there is a connection, and brings it in step: answers
// to whoever asked before, and half lines, are skipped until our own number
// comes back.
func (a *Agent) connect(ctx context.Context) error {
	if a.conn != nil {
		return nil
	}
	conn, err := a.dial(ctx)
	if err != nil {
		return err
	}
	a.conn, a.in = conn, bufio.NewReader(conn)
	stop := a.watch(ctx)
	err = a.sync(rand.Int64N(1 << 53))
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		a.drop()
	}
	return err
}

func (a *Agent) sync(id int64) error {
	// The byte 0xff is never part of JSON: it makes the agent forget the half
	// command that a client before us may have left.
	if _, err := a.conn.Write([]byte{0xff}); err != nil {
		return err
	}
	if err := a.send("guest-sync-delimited", map[string]int64{"id": id}); err != nil {
		return err
	}
	for {
		line, err := a.line(maxOutput)
		if err != nil {
			return err
		}
		var r struct {
			Return json.Number `json:"return"`
		}
		line = line[bytes.LastIndexByte(line, 0xff)+1:]
		if json.Unmarshal(line, &r) == nil && r.Return.String() == fmt.Sprint(id) {
			return nil
		}
	}
}

func (a *Agent) drop() {
	if a.conn != nil {
		a.conn.Close()
	}
	a.conn, a.in = nil, nil
}

func (a *Agent) send(command string, args any) error {
	line, err := json.Marshal(struct {
		Execute   string `json:"execute"`
		Arguments any    `json:"arguments,omitempty"`
	}{command, args})
	if err != nil {
		return err
	}
	_, err = a.conn.Write(append(line, '\n'))
	return err
}

// receive reads the answer to a command, of at most limit bytes.
func (a *Agent) receive(command string, limit int, result any) error {
	line, err := a.line(limit)
	if err != nil {
		return err
	}
	var r reply
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("malformed answer: %w", err)
	}
	if r.Error != nil {
		return resource.Errorf(resource.Invalid, "GuestCommandFailed",
			"The guest agent refused %s: %s (%s).", command, r.Error.Desc, r.Error.Class)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(r.Return, result); err != nil {
		return fmt.Errorf("unexpected answer: %w", err)
	}
	return nil
}

var errTooLong = errors.New("answer too long")

func (a *Agent) line(limit int) ([]byte, error) {
	var line []byte
	for {
		part, err := a.in.ReadSlice('\n')
		if len(line)+len(part) > limit {
			return nil, errTooLong
		}
		line = append(line, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
