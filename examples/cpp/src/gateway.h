// The connection to the gateway.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <stdexcept>
#include <string>

struct Gateway {
  std::shared_ptr<grpc::Channel> channel;
  std::string token;

  // For a stream: the token goes with every call.
  std::unique_ptr<grpc::ClientContext> context() const;
  // For a single call, which has half a minute.
  std::unique_ptr<grpc::ClientContext> unary_context() const;
};

Gateway connect(const std::string& address, const std::string& token);

// A call that failed.
struct RpcError : std::runtime_error {
  explicit RpcError(grpc::Status failed)
      : std::runtime_error("gRPC status " + std::to_string(failed.error_code()) + ": " + failed.error_message()),
        status(std::move(failed)) {}
  grpc::Status status;
};
