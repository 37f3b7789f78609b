// The gateway by connect-go, in the Connect protocol.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"connectrpc.com/connect"

	"example.com/taskgate-worker/demo"
	pb "example.com/taskgate-worker/gen/taskgate/v1"
	"example.com/taskgate-worker/gen/taskgate/v1/taskgatev1connect"
	"example.com/taskgate-worker/taskgate"
)

type clients struct {
	taskStatus taskgatev1connect.TaskStatusServiceClient
	callback   taskgatev1connect.CallbackServiceClient
	executor   taskgatev1connect.ExecutorServiceClient
}

var commands = map[string]func(context.Context, clients) error{
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
		return fmt.Errorf("usage: connect report | errors | callback | track | die | work")
	}
	url, httpClient := "http://"+os.Getenv("TASKGATE_ADDRESS"), newHTTPClient()
	options := connect.WithInterceptors(retry, bearer(os.Getenv("TASKGATE_TOKEN")))
	return commands[args[0]](ctx, clients{
		taskStatus: taskgatev1connect.NewTaskStatusServiceClient(httpClient, url, options),
		callback:   taskgatev1connect.NewCallbackServiceClient(httpClient, url, options),
		executor:   taskgatev1connect.NewExecutorServiceClient(httpClient, url, options),
	})
}

// Streams in both directions need HTTP/2, which without TLS has to be asked for.
func newHTTPClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	pings := &http.HTTP2Config{SendPingTimeout: 20 * time.Second, PingTimeout: 20 * time.Second}
	return &http.Client{Transport: &http.Transport{Protocols: protocols, HTTP2: pings}}
}

func withStreams(use func(context.Context, *taskgate.Client) error) func(context.Context, clients) error {
	return func(ctx context.Context, clients clients) error {
		return use(ctx, &taskgate.Client{
			OpenRun: func(ctx context.Context) (taskgate.Stream[pb.TrackRunRequest, pb.TrackRunResponse], error) {
				return stream[pb.TrackRunRequest, pb.TrackRunResponse]{clients.taskStatus.TrackRun(ctx)}, nil
			},
			OpenWork: func(ctx context.Context) (taskgate.Stream[pb.WorkRequest, pb.WorkResponse], error) {
				return stream[pb.WorkRequest, pb.WorkResponse]{clients.executor.Work(ctx)}, nil
			},
			// A connection that broke may show as any code; only the gateway's own words count.
			IsUnavailable: func(err error) bool {
				return err != nil && (!connect.IsWireError(err) || connect.CodeOf(err) == connect.CodeUnavailable)
			},
			IsNotFound: func(err error) bool { return connect.IsWireError(err) && connect.CodeOf(err) == connect.CodeNotFound },
		})
	}
}

// stream has the names of grpc-go.
type stream[Request, Response any] struct {
	*connect.BidiStreamForClient[Request, Response]
}

func (s stream[Request, Response]) Recv() (*Response, error) { return s.Receive() }

func (s stream[Request, Response]) CloseSend() error { return s.CloseRequest() }
