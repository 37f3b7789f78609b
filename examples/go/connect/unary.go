package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
)

const callTimeout = 30 * time.Second

// report reports a whole task run: RUNNING, an output, SUCCEEDED.
func report(ctx context.Context, clients clients) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, run := clients.taskStatus, os.Getenv("ORCHESTRA_TASK_RUN_ID")

	running, err := client.UpdateTask(ctx, connect.NewRequest(&pb.UpdateTaskRequest{
		TaskRunId: run, RequestId: run + "-1",
		Status: pb.TaskRunStatus_TASK_RUN_STATUS_RUNNING, Message: "loading",
	}))
	if err != nil {
		return err
	}
	fmt.Println(running.Msg.Receipt.State)
	output, err := client.SetOutput(ctx, connect.NewRequest(&pb.SetOutputRequest{
		TaskRunId: run, RequestId: run + "-2",
		Name: "rows", Output: &pb.SetOutputRequest_ValueJson{ValueJson: "42"},
	}))
	if err != nil {
		return err
	}
	fmt.Println(output.Msg.Receipt.State)
	succeeded, err := client.UpdateTask(ctx, connect.NewRequest(&pb.UpdateTaskRequest{
		TaskRunId: run, RequestId: run + "-3", Status: pb.TaskRunStatus_TASK_RUN_STATUS_SUCCEEDED,
	}))
	if err != nil {
		return err
	}
	fmt.Println(succeeded.Msg.Receipt.State)
	return nil
}

// callback answers a callback of the Workflow Orchestrator.
func callback(ctx context.Context, clients clients) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client, route := clients.callback, os.Getenv("CALLBACK_ROUTE")

	_, err := client.ReportCallbackProgress(ctx, connect.NewRequest(&pb.ReportCallbackProgressRequest{
		Target:   &pb.ReportCallbackProgressRequest_CallbackRoute{CallbackRoute: route},
		Progress: &pb.ReportCallbackProgressRequest_Text{Text: "half way"},
	}))
	if err != nil {
		return err
	}
	completed, err := client.CompleteCallback(ctx, connect.NewRequest(&pb.CompleteCallbackRequest{
		Target: &pb.CompleteCallbackRequest_CallbackRoute{CallbackRoute: route},
		Payload: &pb.CompleteCallbackRequest_Result{Result: &pb.JobResult{
			JobId: "job-1", ReturnCode: new(int32), Status: "successful", Output: []string{"42 rows"},
		}},
	}))
	if err != nil {
		return err
	}
	fmt.Println(completed.Msg.Receipt.State)
	return nil
}

// readErrors reads why a call was refused from the details of the error.
func readErrors(ctx context.Context, clients clients) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request := connect.NewRequest(&pb.UpdateTaskRequest{TaskRunId: "not-a-uuid", Message: "hello"})
	_, err := clients.taskStatus.UpdateTask(ctx, request)
	if err == nil {
		return errors.New("a task run id that is none was accepted")
	}
	info, bad := detail[*errdetails.ErrorInfo](err), detail[*errdetails.BadRequest](err)
	switch info.GetReason() {
	case "INVALID_REQUEST":
		for _, violation := range bad.GetFieldViolations() {
			fmt.Printf("reason=%s field=%s\n", info.Reason, violation.Field)
		}
		return nil
	default:
		return err
	}
}

// detail is the detail of that type, or nil.
func detail[Message any](err error) (found Message) {
	var problem *connect.Error
	if !errors.As(err, &problem) {
		return found
	}
	for _, each := range problem.Details() {
		if value, err := each.Value(); err == nil {
			if message, ok := value.(Message); ok {
				return message
			}
		}
	}
	return found
}
