// Package demo uses package taskgate, as a task and a worker would.
package demo

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
	"example.com/taskgate-worker/taskgate"
)

// Track is a task run that beats: three messages, then SUCCEEDED.
func Track(ctx context.Context, client *taskgate.Client) error {
	open := &pb.TrackRunOpen{TaskRunId: os.Getenv("ORCHESTRA_TASK_RUN_ID")}
	err := client.TrackRun(ctx, open, func(ctx context.Context, run *taskgate.Run) error {
		for part := 1; part <= 3; part++ {
			run.Message(fmt.Sprintf("part %d of 3", part))
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Second):
			}
		}
		return nil
	})
	if err == nil {
		fmt.Println("finished")
	}
	return err
}

// Die is a task that will be killed: the gateway says FAILED for it when its
// heartbeats stop.
func Die(ctx context.Context, client *taskgate.Client) error {
	open := &pb.TrackRunOpen{TaskRunId: os.Getenv("ORCHESTRA_TASK_RUN_ID"), OnLost: pb.OnLost_ON_LOST_FAIL}
	return client.TrackRun(ctx, open, func(ctx context.Context, _ *taskgate.Run) error {
		fmt.Println("tracking")
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(5 * time.Minute):
			return nil
		}
	})
}

// Work does AIDBOX_TASKS tasks of AIDBOX_DEFINITION.
func Work(ctx context.Context, client *taskgate.Client) error {
	limit, err := strconv.Atoi(os.Getenv("AIDBOX_TASKS"))
	if err != nil {
		return fmt.Errorf("AIDBOX_TASKS: %w", err)
	}
	done, err := client.Work(ctx, taskgate.Worker{
		Definitions: []string{os.Getenv("AIDBOX_DEFINITION")},
		MaxInFlight: 8,
		Limit:       limit,
		Handle: func(_ context.Context, task *pb.Task) (any, error) {
			number := task.Params.GetStructValue().GetFields()["number"].GetNumberValue()
			return map[string]float64{"square": number * number}, nil
		},
	})
	fmt.Println("done", done)
	return err
}
