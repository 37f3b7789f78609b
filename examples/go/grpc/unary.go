package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	pb "example.com/taskgate-worker/gen/taskgate/v1"
)

const callTimeout = 30 * time.Second

// report reports a whole task run: RUNNING, an output, SUCCEEDED.
func report(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := pb.NewTaskStatusServiceClient(conn)
	run := os.Getenv("ORCHESTRA_TASK_RUN_ID")

	running, err := client.UpdateTask(ctx, &pb.UpdateTaskRequest{
		TaskRunId: run, RequestId: run + "-1",
		Status: pb.TaskRunStatus_TASK_RUN_STATUS_RUNNING, Message: "loading",
	})
	if err != nil {
		return err
	}
	fmt.Println(running.Receipt.State)
	output, err := client.SetOutput(ctx, &pb.SetOutputRequest{
		TaskRunId: run, RequestId: run + "-2",
		Name: "rows", Output: &pb.SetOutputRequest_ValueJson{ValueJson: "42"},
	})
	if err != nil {
		return err
	}
	fmt.Println(output.Receipt.State)
	succeeded, err := client.UpdateTask(ctx, &pb.UpdateTaskRequest{
		TaskRunId: run, RequestId: run + "-3", Status: pb.TaskRunStatus_TASK_RUN_STATUS_SUCCEEDED,
	})
	if err != nil {
		return err
	}
	fmt.Println(succeeded.Receipt.State)
	return nil
}

// callback answers a callback of the Workflow Orchestrator.
func callback(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	client := pb.NewCallbackServiceClient(conn)
	route := os.Getenv("CALLBACK_ROUTE")

	_, err := client.ReportCallbackProgress(ctx, &pb.ReportCallbackProgressRequest{
		Target:   &pb.ReportCallbackProgressRequest_CallbackRoute{CallbackRoute: route},
		Progress: &pb.ReportCallbackProgressRequest_Text{Text: "half way"},
	})
	if err != nil {
		return err
	}
	completed, err := client.CompleteCallback(ctx, &pb.CompleteCallbackRequest{
		Target: &pb.CompleteCallbackRequest_CallbackRoute{CallbackRoute: route},
		Payload: &pb.CompleteCallbackRequest_Result{Result: &pb.JobResult{
			JobId: "job-1", ReturnCode: new(int32), Status: "successful", Output: []string{"42 rows"},
		}},
	})
	if err != nil {
		return err
	}
	fmt.Println(completed.Receipt.State)
	return nil
}

// readErrors reads why a call was refused from the details of its status.
func readErrors(ctx context.Context, conn *grpc.ClientConn) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	request := &pb.UpdateTaskRequest{TaskRunId: "not-a-uuid", Message: "hello"}
	_, err := pb.NewTaskStatusServiceClient(conn).UpdateTask(ctx, request)
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
	for _, each := range status.Convert(err).Details() {
		if message, ok := each.(Message); ok {
			return message
		}
	}
	return found
}
