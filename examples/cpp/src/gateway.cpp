#include "gateway.h"

#include <chrono>

namespace {

// Single calls that the gateway surely did not take are made again; whatever
// changes something has a request_id, so that repeating it is safe.
constexpr auto service_config = R"({"methodConfig": [{
  "name": [{"service": "taskgate.v1.TaskStatusService"}, {"service": "taskgate.v1.CallbackService"}],
  "retryPolicy": {
    "maxAttempts": 5, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"]
  }
}]})";

}  // namespace

Gateway connect(const std::string& address, const std::string& token) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(service_config);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5'000);
  return {grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments), token};
}

std::unique_ptr<grpc::ClientContext> Gateway::context() const {
  auto context = std::make_unique<grpc::ClientContext>();
  if (!token.empty()) {
    context->AddMetadata("authorization", "Bearer " + token);
  }
  return context;
}

std::unique_ptr<grpc::ClientContext> Gateway::unary_context() const {
  auto with_deadline = context();
  with_deadline->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  return with_deadline;
}
