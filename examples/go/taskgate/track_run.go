package taskgate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"time"

	"google.golang.org/protobuf/proto"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
)

// ErrLost ends the context of a task that was not heard for a whole lease: the
// gateway may have reported it as failed.
var ErrLost = errors.New("taskgate: unheard for a whole lease")

// ErrCancelled ends the context of a task whose result nobody waits for.
var ErrCancelled = errors.New("taskgate: the task is over")

// Run is a task run of Orchestra that is tracked.
type Run struct {
	frames chan *pb.TrackRunRequest
	over   chan struct{}
}

// Message reports a message; the status stays RUNNING.
func (r *Run) Message(text string) {
	r.send(&pb.TrackRunRequest{Frame: &pb.TrackRunRequest_Update{Update: &pb.TrackRunUpdate{Message: text}}})
}

// SetOutput sets an output to anything that encoding/json can write. Names have
// letters, `_` and `-`.
func (r *Run) SetOutput(name string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("output %s: %w", name, err)
	}
	output := &pb.TrackRunOutput{Name: name, Output: &pb.TrackRunOutput_ValueJson{ValueJson: string(text)}}
	r.send(&pb.TrackRunRequest{Frame: &pb.TrackRunRequest_Output{Output: output}})
	return nil
}

func (r *Run) send(frame *pb.TrackRunRequest) {
	select {
	case r.frames <- frame:
	case <-r.over:
	}
}

// TrackRun reports RUNNING, beats while do is at work, and reports SUCCEEDED, or
// FAILED with what do returns. The context of do ends when nobody waits for the
// run any more.
func (c *Client) TrackRun(ctx context.Context, open *pb.TrackRunOpen, do func(context.Context, *Run) error) error {
	const finishTimeout = time.Minute

	working, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Whoever is told to stop still reports how it ended.
	tracking, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()

	run := &Run{frames: make(chan *pb.TrackRunRequest, 100), over: make(chan struct{})}
	t := &tracker{client: c, open: open, run: run, cancel: cancel, ready: make(chan struct{}), leaseDuration: 30 * time.Second}
	t.lease = time.AfterFunc(t.leaseDuration, func() { cancel(ErrLost) })
	defer t.lease.Stop()
	tracked := make(chan error, 1)
	go func() {
		err := c.keepOpen(tracking, t.carry)
		cancel(err)
		close(run.over)
		tracked <- err
	}()

	select {
	case <-t.ready:
	case err := <-tracked:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	problem := do(working, run)
	finish := &pb.TrackRunFinish{Status: pb.TaskRunStatus_TASK_RUN_STATUS_SUCCEEDED}
	if problem != nil {
		finish = &pb.TrackRunFinish{Status: pb.TaskRunStatus_TASK_RUN_STATUS_FAILED, Message: problem.Error()}
	}
	run.send(&pb.TrackRunRequest{Frame: &pb.TrackRunRequest_Finish{Finish: finish}})
	select {
	case err := <-tracked:
		return errors.Join(problem, err)
	case <-time.After(finishTimeout):
		return errors.Join(problem, errors.New("taskgate: the outcome is not reported"))
	}
}

// tracker carries the streams of a run, one after the other.
type tracker struct {
	client        *Client
	open          *pb.TrackRunOpen
	run           *Run
	cancel        context.CancelCauseFunc
	ready         chan struct{}
	lease         *time.Timer
	leaseDuration time.Duration
	sessionID     string
	frameCount    int
	// What the gateway may not have; it is sent again with the session.
	unanswered []*pb.TrackRunRequest
	finishID   string
	// The outcome is on the gateway's disk, and will be delivered.
	isStored bool
}

func (t *tracker) carry(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := t.client.OpenRun(ctx)
	if err != nil {
		return err
	}
	// Why a frame could not be sent, receiving tells.
	send := func(frame *pb.TrackRunRequest) { _ = stream.Send(frame) }
	open := proto.CloneOf(t.open)
	open.SessionId = t.sessionID
	send(&pb.TrackRunRequest{Frame: &pb.TrackRunRequest_Open{Open: open}})

	answers, ended := receive(ctx, stream)
	// Nothing is sent before the gateway is ready.
	var frames <-chan *pb.TrackRunRequest
	var beat <-chan time.Time
	for {
		select {
		case frame := <-frames:
			t.frameCount++
			frame.RequestId = strconv.Itoa(t.frameCount)
			if frame.GetFinish() != nil {
				t.finishID = frame.RequestId
			}
			t.unanswered = append(t.unanswered, frame)
			send(frame)
		case <-beat:
			send(&pb.TrackRunRequest{Frame: &pb.TrackRunRequest_Heartbeat{Heartbeat: &pb.Heartbeat{}}})
		case answer := <-answers:
			t.lease.Reset(t.leaseDuration)
			if ready := answer.GetReady(); ready != nil {
				ticker := time.NewTicker(ready.HeartbeatInterval.AsDuration())
				defer ticker.Stop()
				beat, frames = ticker.C, t.run.frames
				t.resume(ready)
				for _, frame := range t.unanswered {
					send(frame)
				}
			}
			if t.take(answer) {
				_ = stream.CloseSend()
			}
		case err := <-ended:
			switch {
			case t.isStored:
				return nil
			case err == nil:
				return errOpenAgain
			}
			return err
		}
	}
}

func (t *tracker) resume(ready *pb.Ready) {
	if t.sessionID == "" {
		close(t.ready)
	}
	t.sessionID = ready.SessionId
	t.leaseDuration = ready.LeaseDuration.AsDuration()
	t.lease.Reset(t.leaseDuration)
	t.unanswered = slices.DeleteFunc(t.unanswered, func(frame *pb.TrackRunRequest) bool {
		return slices.Contains(ready.AcceptedRequestIds, frame.RequestId)
	})
	t.isStored = t.isStored || slices.Contains(ready.AcceptedRequestIds, t.finishID)
}

// take takes a frame of the gateway, and tells whether the outcome is settled.
func (t *tracker) take(answer *pb.TrackRunResponse) bool {
	isFinish := answer.RequestId != "" && answer.RequestId == t.finishID
	switch frame := answer.Frame.(type) {
	case *pb.TrackRunResponse_Ready:
		return t.isStored
	case *pb.TrackRunResponse_Directive:
		if frame.Directive.Directive == pb.Directive_DIRECTIVE_CANCEL {
			t.cancel(fmt.Errorf("%w: %s", ErrCancelled, frame.Directive.Cause))
		}
	case *pb.TrackRunResponse_Failure:
		slog.Error("taskgate refused a frame", "why", frame.Failure.Message)
		t.answered(answer.RequestId)
		return isFinish
	case *pb.TrackRunResponse_Receipt:
		t.answered(answer.RequestId)
		t.isStored = t.isStored || isFinish
		// The outcome is answered twice: when it is stored, and when Orchestra has it.
		return isFinish && frame.Receipt.State != pb.DeliveryState_DELIVERY_STATE_STORED
	}
	return false
}

func (t *tracker) answered(requestID string) {
	t.unanswered = slices.DeleteFunc(t.unanswered, func(frame *pb.TrackRunRequest) bool {
		return frame.RequestId == requestID
	})
}
