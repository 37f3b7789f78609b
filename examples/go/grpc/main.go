// The gateway by grpc-go.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"example.com/taskgate-worker/demo"
	pb "example.com/taskgate-worker/gen/taskgate/v1"
	"example.com/taskgate-worker/taskgate"
)

var commands = map[string]func(context.Context, *grpc.ClientConn) error{
	"report":   report,
	"errors":   readErrors,
	"callback": callback,
	"track":    withStreams(demo.Track),
	"die":      withStreams(demo.Die),
	"work":     withStreams(demo.Work),
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || commands[args[0]] == nil {
		return fmt.Errorf("usage: grpc report | errors | callback | track | die | work")
	}
	conn, err := dial(os.Getenv("TASKGATE_ADDRESS"), os.Getenv("TASKGATE_TOKEN"))
	if err != nil {
		return err
	}
	defer conn.Close()
	return commands[args[0]](ctx, conn)
}

// Unary calls that the gateway surely did not take are made again; whatever
// changes something has a request_id, so that repeating it is safe.
const serviceConfig = `{"methodConfig": [{
	"name": [{"service": "taskgate.v1.TaskStatusService"}, {"service": "taskgate.v1.CallbackService"}],
	"retryPolicy": {
		"maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
		"retryableStatusCodes": ["UNAVAILABLE"]
	}
}]}`

func dial(address, token string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithPerRPCCredentials(bearer(token)),
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second}),
	)
}

type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	if b == "" {
		return nil, nil
	}
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

// For a gateway on the same machine. With TLS this is true.
func (bearer) RequireTransportSecurity() bool { return false }

func withStreams(use func(context.Context, *taskgate.Client) error) func(context.Context, *grpc.ClientConn) error {
	return func(ctx context.Context, conn *grpc.ClientConn) error {
		runs, executor := pb.NewTaskStatusServiceClient(conn), pb.NewExecutorServiceClient(conn)
		return use(ctx, &taskgate.Client{
			OpenRun: func(ctx context.Context) (taskgate.Stream[pb.TrackRunRequest, pb.TrackRunResponse], error) {
				return runs.TrackRun(ctx)
			},
			OpenWork: func(ctx context.Context) (taskgate.Stream[pb.WorkRequest, pb.WorkResponse], error) {
				return executor.Work(ctx)
			},
			IsUnavailable: func(err error) bool { return status.Code(err) == codes.Unavailable },
			IsNotFound:    func(err error) bool { return status.Code(err) == codes.NotFound },
		})
	}
}
