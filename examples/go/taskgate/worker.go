package taskgate

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
)

// Worker says which tasks of Aidbox to do, and how.
type Worker struct {
	Definitions []string
	MaxInFlight int32
	// Limit is after how many tasks to end; 0 is never.
	Limit int
	// Handle does a task. Its result is written by encoding/json; with an error the
	// attempt has failed. The context ends when nobody waits for the result.
	Handle func(context.Context, *pb.Task) (any, error)
}

// Work does tasks until the context ends and all that has begun is done. It
// returns how many were done.
func (c *Client) Work(ctx context.Context, worker Worker) (int, error) {
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	s := &workSession{
		client: c, worker: worker, stopped: ctx.Done(),
		attempts: map[string]*attempt{}, outcomes: make(chan *pb.WorkRequest),
	}
	err := c.keepOpen(working, s.carry)
	return s.done, err
}

type attempt struct {
	task *pb.Task
	// A start or an outcome that the gateway has not acknowledged.
	frame *pb.WorkRequest
	// Set once it has begun.
	cancel context.CancelFunc
}

// workSession carries the streams of a worker, one after the other.
type workSession struct {
	client     *Client
	worker     Worker
	stopped    <-chan struct{}
	isDraining bool
	done       int
	sessionID  string
	// By exec_id.
	attempts map[string]*attempt
	// Of the handlers.
	outcomes chan *pb.WorkRequest
}

func (s *workSession) carry(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := s.client.OpenWork(ctx)
	if err != nil {
		return err
	}
	// Why a frame could not be sent, receiving tells.
	send := func(frame *pb.WorkRequest) { _ = stream.Send(frame) }
	send(s.subscribe(s.sessionID))

	answers, ended := receive(ctx, stream)
	// Nothing is sent before the gateway is ready.
	var outcomes <-chan *pb.WorkRequest
	var beat <-chan time.Time
	isReady, isClosed := false, false
	for {
		if isReady && s.isDrained() && !isClosed {
			isClosed = true
			_ = stream.CloseSend()
		}
		select {
		case <-s.stopped:
			s.drain(send)
		case outcome := <-outcomes:
			if held := s.attempts[execIDOf(outcome.RequestId)]; held != nil {
				held.frame = outcome
				send(outcome)
			}
		case <-beat:
			send(s.heartbeat())
		case answer := <-answers:
			if ready := answer.GetReady(); ready != nil {
				ticker := time.NewTicker(ready.HeartbeatInterval.AsDuration())
				defer ticker.Stop()
				isReady, beat, outcomes = true, ticker.C, s.outcomes
			}
			s.take(answer, send)
		case err := <-ended:
			switch {
			case err == nil && s.isDrained():
				return nil
			case err == nil:
				// The gateway goes away, and had nothing of ours any more.
				return errOpenAgain
			case s.client.IsNotFound(err) && s.sessionID != "":
				// The session is over, and what it held is another's.
				s.sessionID = ""
				for execID := range s.attempts {
					s.drop(execID)
				}
				return errOpenAgain
			}
			return err
		}
	}
}

func (s *workSession) subscribe(sessionID string) *pb.WorkRequest {
	maxInFlight := s.worker.MaxInFlight
	if s.isDraining {
		maxInFlight = 0
	}
	return &pb.WorkRequest{Frame: &pb.WorkRequest_Subscribe{Subscribe: &pb.WorkSubscribe{
		TaskDefinitions: s.worker.Definitions, MaxInFlight: &maxInFlight, SessionId: sessionID,
	}}}
}

// heartbeat names the tasks that are at work. Without any it still says that the
// worker is there and wants some.
func (s *workSession) heartbeat() *pb.WorkRequest {
	var tasks []*pb.TaskAttempt
	for execID, held := range s.attempts {
		if held.cancel != nil {
			tasks = append(tasks, &pb.TaskAttempt{Id: held.task.Id, ExecId: execID})
		}
	}
	return &pb.WorkRequest{Frame: &pb.WorkRequest_Heartbeat{Heartbeat: &pb.WorkHeartbeat{Tasks: tasks}}}
}

func (s *workSession) take(answer *pb.WorkResponse, send func(*pb.WorkRequest)) {
	switch frame := answer.Frame.(type) {
	case *pb.WorkResponse_Ready:
		s.sessionID = frame.Ready.SessionId
		for _, held := range s.attempts {
			if held.frame == nil {
				continue
			}
			if slices.Contains(frame.Ready.AcceptedRequestIds, held.frame.RequestId) {
				s.acknowledged(held.frame.RequestId, send)
			} else {
				send(held.frame)
			}
		}
	case *pb.WorkResponse_Task:
		task := frame.Task
		if s.attempts[task.ExecId] != nil {
			// Pushed again after a break; its start is on its way.
			return
		}
		start := &pb.WorkRequest{
			RequestId: "start " + task.ExecId,
			Frame:     &pb.WorkRequest_Start{Start: &pb.WorkStart{Id: task.Id, ExecId: task.ExecId}},
		}
		s.attempts[task.ExecId] = &attempt{task: task, frame: start}
		send(start)
	case *pb.WorkResponse_Ack:
		s.acknowledged(answer.RequestId, send)
	case *pb.WorkResponse_Failure:
		slog.Error("taskgate refused a frame", "frame", answer.RequestId, "why", frame.Failure.Message)
		s.drop(execIDOf(answer.RequestId))
	case *pb.WorkResponse_Directive:
		if frame.Directive.Directive == pb.Directive_DIRECTIVE_CANCEL {
			s.drop(frame.Directive.ExecId)
		}
	}
}

func (s *workSession) acknowledged(requestID string, send func(*pb.WorkRequest)) {
	held := s.attempts[execIDOf(requestID)]
	// An outcome is acknowledged twice: when it is stored, which is enough, and when
	// Aidbox has it.
	if held == nil || held.frame == nil || held.frame.RequestId != requestID {
		return
	}
	if held.frame.GetStart() != nil {
		ctx, cancel := context.WithCancel(context.Background())
		held.frame, held.cancel = nil, cancel
		go s.handle(ctx, held.task)
		return
	}
	s.drop(held.task.ExecId)
	s.done++
	if s.done == s.worker.Limit {
		s.drain(send)
	}
}

func (s *workSession) handle(ctx context.Context, task *pb.Task) {
	var text []byte
	result, err := s.worker.Handle(ctx, task)
	if err == nil {
		text, err = json.Marshal(result)
	}
	outcome := &pb.WorkRequest{RequestId: "outcome " + task.ExecId}
	if err == nil {
		outcome.Frame = &pb.WorkRequest_Succeed{Succeed: &pb.WorkSucceed{
			Id: task.Id, ExecId: task.ExecId, Outcome: &pb.WorkSucceed_ResultJson{ResultJson: string(text)},
		}}
	} else {
		text, _ = json.Marshal(map[string]string{"message": err.Error()})
		outcome.Frame = &pb.WorkRequest_Fail{Fail: &pb.WorkFail{
			Id: task.Id, ExecId: task.ExecId, Reason: &pb.WorkFail_ErrorJson{ErrorJson: string(text)},
		}}
	}
	select {
	case s.outcomes <- outcome:
	case <-ctx.Done():
	}
}

// drop stops what nobody waits for.
func (s *workSession) drop(execID string) {
	held := s.attempts[execID]
	delete(s.attempts, execID)
	if held != nil && held.cancel != nil {
		held.cancel()
	}
}

func (s *workSession) drain(send func(*pb.WorkRequest)) {
	s.stopped = nil
	s.isDraining = true
	send(s.subscribe(""))
}

func (s *workSession) isDrained() bool {
	return s.isDraining && len(s.attempts) == 0
}

func execIDOf(requestID string) string {
	_, execID, _ := strings.Cut(requestID, " ")
	return execID
}
