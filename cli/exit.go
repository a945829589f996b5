package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"lakefeed/broker"
	"lakefeed/broker/embedded"
	"lakefeed/cli/config"
	"lakefeed/consumer"
	"lakefeed/consumer/transform"
	"lakefeed/producer"
	"lakefeed/schema"
	"lakefeed/sink"
	"lakefeed/sink/awsclient"
	"lakefeed/sink/raw"
	"lakefeed/sink/s3"
)

// The exit codes, which scripts rely on: deploy/docs/exit-codes.md.
const (
	exitDone        = 0
	exitUnexpected  = 1
	exitUsage       = 2
	exitQuarantine  = 3
	exitDataLoss    = 4
	exitContract    = 5
	exitUnreachable = 6
	exitDenied      = 7
	exitAudit       = 9
	exitInterrupted = 130
)

// usageError is a fault in what the user wrote.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// quarantineError says that more rows than allowed went into quarantine.
type quarantineError struct{ msg string }

func (e *quarantineError) Error() string { return e.msg }

// conflictError says that rows contradict what the lake has of their stream, and
// were left out.
type conflictError struct{ msg string }

func (e *conflictError) Error() string { return e.msg }

// worst are the exit codes from the worst to the least: what several feeds end
// with is the first of theirs in it.
var worst = []int{exitDataLoss, exitAudit, exitContract, exitUnexpected, exitDenied, exitUnreachable, exitUsage, exitQuarantine, exitInterrupted}

// exitCode is the code of the first cause in err that has one.
func exitCode(err error) int {
	var several feedErrors
	if errors.As(err, &several) {
		at := len(worst) - 1
		for _, one := range several {
			at = min(at, slices.Index(worst, exitCode(one)))
		}
		return worst[at]
	}
	var (
		faults     *config.Error
		usage      *usageError
		steps      transform.Faults
		quarantine *quarantineError
		log        *sink.LogError
		lost       *sink.LostError
		shape      *sink.ShapeError
		topic      *sink.TopicError
		delivery   *broker.DeliveryError
		chain      *sink.ChainError
		conflict   *conflictError
		gone       *goneError
		set        *sink.SetError
		audit      *auditError
		position   *sink.PositionError
		state      *sink.StateError
		contract   *schema.ContractError
		incomplete *consumer.IncompleteError
		reach      *consumer.ReachError
		pending    *consumer.PendingError
		missing    *raw.MissingError
		damaged    *raw.DamagedError
		closed     *sink.ClosedError
		errno      syscall.Errno
	)
	if code, ok := queryExit(err); ok {
		return code
	}
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.As(err, &faults), errors.As(err, &steps), errors.As(err, &shape), errors.As(err, &topic), errors.As(err, &position), errors.Is(err, producer.ErrNoObjects), errors.Is(err, sink.ErrNoTable), errors.Is(err, sink.ErrAtWork), errors.Is(err, sink.ErrNotAtWork), errors.Is(err, consumer.ErrAlone), errors.Is(err, consumer.ErrOtherTopic), errors.Is(err, consumer.ErrNoPrevious), errors.Is(err, consumer.ErrNoColumn), errors.As(err, &pending), errors.As(err, &closed), errors.Is(err, embedded.ErrLocked), errors.Is(err, awsclient.ErrConfig), errors.As(err, &state):
		return exitUsage
	case errors.As(err, &audit), errors.As(err, &incomplete) && incomplete.Damage > 0:
		return exitAudit
	case errors.As(err, &quarantine):
		return exitQuarantine
	case errors.As(err, &contract):
		return exitContract
	case errors.As(err, &log), errors.As(err, &reach), errors.Is(err, consumer.ErrTopicGone), errors.As(err, &missing), errors.As(err, &damaged), errors.Is(err, raw.ErrForeign), errors.As(err, &incomplete), errors.As(err, &lost), errors.As(err, &chain), errors.As(err, &conflict), errors.As(err, &gone), errors.As(err, &set), errors.Is(err, embedded.ErrDamaged):
		return exitDataLoss
	case errors.Is(err, broker.ErrDenied), errors.Is(err, fs.ErrPermission), errors.Is(err, awsclient.ErrNoCredentials), errors.As(err, &errno) && (errno == syscall.EACCES || errno == syscall.EPERM || errno == syscall.EROFS):
		return exitDenied
	case errors.As(err, &delivery), errors.Is(err, broker.ErrUnreachable), errors.Is(err, broker.ErrStorage),
		errors.Is(err, awsclient.ErrUnreachable), errors.Is(err, awsclient.ErrThrottled), errors.Is(err, awsclient.ErrNoBucket), errors.Is(err, s3.ErrUnfit):
		return exitUnreachable
	case errors.Is(err, context.Canceled), errors.Is(err, os.ErrProcessDone):
		return exitInterrupted
	}
	return exitUnexpected
}
