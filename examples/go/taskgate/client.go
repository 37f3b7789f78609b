// Package taskgate does what a client of the gateway's streams has to: it
// beats, and opens a broken stream again with its session. It works with
// grpc-go and with connect-go.
package taskgate

import (
	"context"
	"errors"
	"io"
	"time"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
)

// Stream is a stream of either library.
type Stream[Request, Response any] interface {
	Send(*Request) error
	Recv() (*Response, error)
	CloseSend() error
}

// Client is what the library in use can do.
type Client struct {
	OpenRun  func(context.Context) (Stream[pb.TrackRunRequest, pb.TrackRunResponse], error)
	OpenWork func(context.Context) (Stream[pb.WorkRequest, pb.WorkResponse], error)
	// IsUnavailable says that the gateway is not there, or was there no more.
	IsUnavailable func(error) bool
	// IsNotFound says that the gateway knows no such session.
	IsNotFound func(error) bool
}

// errOpenAgain ends a stream behind which there is to be another one.
var errOpenAgain = errors.New("taskgate: the gateway ended the stream")

// keepOpen carries one stream after the other, until one ends for good.
func (c *Client) keepOpen(ctx context.Context, carry func(context.Context) error) error {
	const shortest, longest = 100 * time.Millisecond, 5 * time.Second
	pause := shortest
	for {
		opened := time.Now()
		err := carry(ctx)
		if !errors.Is(err, errOpenAgain) && !c.IsUnavailable(err) {
			return err
		}
		if time.Since(opened) > longest {
			pause = shortest
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
		pause = min(2*pause, longest)
	}
}

// receive reads a stream until it ends, and then says how: nil is OK.
func receive[Request, Response any](ctx context.Context, stream Stream[Request, Response]) (<-chan *Response, <-chan error) {
	answers, ended := make(chan *Response), make(chan error, 1)
	go func() {
		for {
			answer, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				err = nil
			} else if err == nil {
				select {
				case answers <- answer:
					continue
				case <-ctx.Done():
					err = ctx.Err()
				}
			}
			ended <- err
			return
		}
	}()
	return answers, ended
}
