package main

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"
)

// bearer shows a token with every call, where there is one.
type bearer string

func (b bearer) sign(header http.Header) {
	if b != "" {
		header.Set("Authorization", "Bearer "+string(b))
	}
}

func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		b.sign(request.Header())
		return next(ctx, request)
	}
}

func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		b.sign(conn.RequestHeader())
		return conn
	}
}

func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// retry makes unary calls again that the gateway surely did not take; whatever
// changes something has a request_id, so that repeating it is safe.
var retry = connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, request connect.AnyRequest) (connect.AnyResponse, error) {
		pause := 200 * time.Millisecond
		for attempt := 1; ; attempt++ {
			response, err := next(ctx, request)
			if err == nil || connect.CodeOf(err) != connect.CodeUnavailable || attempt == 5 {
				return response, err
			}
			select {
			case <-ctx.Done():
				return response, err
			case <-time.After(pause):
				pause *= 2
			}
		}
	}
})
