package etcdstore

import (
	"context"
	"errors"
	"strings"
	"syscall"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-vm/muster/internal/resource"
)

// The codes of a store that cannot work.
const (
	codeUnavailable = "StateStoreUnavailable"
	codeFull        = "StateStoreFull"
	codeUnreadable  = "StateStoreUnreadable"
)

func errClosed() error {
	return resource.Errorf(resource.Unavailable, codeUnavailable, "The state store is closed.")
}

func errFull(cause error) error {
	return resource.Errorf(resource.Exhausted, codeFull, "The state store is full. Free space on the disk of the state directory "+
		"or raise the store's quota, then restart Muster; an etcd of your own has to be defragmented and its alarm disarmed.").Because(cause)
}

// explain turns an error of etcd's client into a *resource.Error. The caller's
// context and the end of the store explain more than what etcd makes of them.
func (s *Store) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if cause := s.ended(); cause != nil {
		return cause
	}
	return explain(ctx, err)
}

func explain(ctx context.Context, err error) error {
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return resource.Errorf(resource.Canceled, "Canceled", "The request was canceled.").Because(err)
	case isFull(err):
		return errFull(err)
	case errors.Is(err, rpctypes.ErrTooManyOps), errors.Is(err, rpctypes.ErrDuplicateKey), errors.Is(err, rpctypes.ErrRequestTooLarge):
		return resource.Errorf(resource.Invalid, "InvalidCommit", "The state store takes no such commit: "+
			"it is too large, or two of its ops name one record.").Because(err)
	case errors.Is(err, rpctypes.ErrFutureRev):
		return resource.Errorf(resource.Invalid, "InvalidRevision", "That revision has not been made yet.").Because(err)
	case errors.Is(err, context.DeadlineExceeded), codeOf(err) == codes.DeadlineExceeded:
		return resource.Errorf(resource.Unavailable, codeUnavailable, "The state store did not answer in time.").Because(err)
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthFailed):
		return resource.Errorf(resource.Unavailable, codeUnavailable, "etcd refuses the access. "+
			"Check the certificate that is shown to it and the role that etcd gives it.").Because(err)
	default:
		return resource.Errorf(resource.Unavailable, codeUnavailable, "The state store does not answer. "+
			"Check etcd and the way to it.").Because(err)
	}
}

// isFull looks at the text too: etcd hides causes in strings.
func isFull(err error) bool {
	return errors.Is(err, rpctypes.ErrNoSpace) || errors.Is(err, syscall.ENOSPC) ||
		strings.Contains(err.Error(), syscall.ENOSPC.Error())
}

// codeOf returns the gRPC code of an error of etcd's client.
func codeOf(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	return status.Code(err)
}
