#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <grpcpp/generic/generic_stub.h>

#include <future>
#include <iostream>
#include <stdexcept>

#include "commands.h"
#include "taskgate/v1/callback.pb.h"
#include "taskgate/v1/task_status.grpc.pb.h"

namespace pb = taskgate::v1;

namespace {

void check(const grpc::Status& status) {
  if (!status.ok()) {
    throw RpcError(status);
  }
}

void print(const pb::Receipt& receipt) { std::cout << pb::DeliveryState_Name(receipt.state()) << std::endl; }

void update(const Gateway& gateway, pb::TaskStatusService::Stub& stub, const pb::UpdateTaskRequest& request) {
  pb::UpdateTaskResponse answer;
  check(stub.UpdateTask(gateway.unary_context().get(), request, &answer));
  print(answer.receipt());
}

// Calls CallbackService, for which there is no stub (CMakeLists.txt says why).
template <class Response, class Request>
Response call_callback_service(const Gateway& gateway, const std::string& method, const Request& request) {
  const auto context = gateway.unary_context();
  Response response;
  std::promise<grpc::Status> ended;
  grpc::TemplatedGenericStub<Request, Response>(gateway.channel)
      .UnaryCall(context.get(), "/taskgate.v1.CallbackService/" + method, {}, &request, &response,
                 [&ended](grpc::Status status) { ended.set_value(std::move(status)); });
  check(ended.get_future().get());
  return response;
}

// The detail of that type, or an empty one.
template <class Message>
Message detail_of(const google::rpc::Status& status) {
  Message found;
  for (const auto& detail : status.details()) {
    if (detail.UnpackTo(&found)) {
      return found;
    }
  }
  return {};
}

}  // namespace

void report(const Gateway& gateway, const std::string& run) {
  const auto stub = pb::TaskStatusService::NewStub(gateway.channel);
  pb::UpdateTaskRequest running;
  running.set_task_run_id(run);
  running.set_request_id(run + "-1");
  running.set_status(pb::TASK_RUN_STATUS_RUNNING);
  running.set_message("loading");
  update(gateway, *stub, running);

  pb::SetOutputRequest rows;
  rows.set_task_run_id(run);
  rows.set_request_id(run + "-2");
  rows.set_name("rows");
  rows.set_value_json("42");
  pb::SetOutputResponse answer;
  check(stub->SetOutput(gateway.unary_context().get(), rows, &answer));
  print(answer.receipt());

  pb::UpdateTaskRequest succeeded;
  succeeded.set_task_run_id(run);
  succeeded.set_request_id(run + "-3");
  succeeded.set_status(pb::TASK_RUN_STATUS_SUCCEEDED);
  update(gateway, *stub, succeeded);
}

void callback(const Gateway& gateway, const std::string& route) {
  pb::ReportCallbackProgressRequest progress;
  progress.set_callback_route(route);
  progress.set_text("half way");
  call_callback_service<pb::ReportCallbackProgressResponse>(gateway, "ReportCallbackProgress", progress);

  pb::CompleteCallbackRequest complete;
  complete.set_callback_route(route);
  complete.mutable_result()->set_job_id("job-1");
  complete.mutable_result()->set_return_code(0);
  complete.mutable_result()->set_status("successful");
  complete.mutable_result()->add_output("42 rows");
  print(call_callback_service<pb::CompleteCallbackResponse>(gateway, "CompleteCallback", complete).receipt());
}

void errors(const Gateway& gateway) {
  pb::UpdateTaskRequest request;
  request.set_task_run_id("not-a-uuid");
  request.set_message("hello");
  pb::UpdateTaskResponse answer;
  const auto stub = pb::TaskStatusService::NewStub(gateway.channel);
  const auto status = stub->UpdateTask(gateway.unary_context().get(), request, &answer);
  if (status.ok()) {
    throw std::runtime_error("a task run id that is none was accepted");
  }
  google::rpc::Status rich;
  rich.ParseFromString(status.error_details());
  const auto reason = detail_of<google::rpc::ErrorInfo>(rich).reason();
  if (reason != "INVALID_REQUEST") {
    throw RpcError(status);
  }
  const auto bad_request = detail_of<google::rpc::BadRequest>(rich);
  for (const auto& violation : bad_request.field_violations()) {
    std::cout << "reason=" << reason << " field=" << violation.field() << std::endl;
  }
}
