#include "worker.h"

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <thread>

#include "session_stream.h"
#include "taskgate/v1/executor.grpc.pb.h"

namespace pb = taskgate::v1;

namespace {

struct Attempt {
  pb::Task task;
  // A start or an outcome that the gateway has not acknowledged.
  std::optional<pb::WorkRequest> frame;
  bool has_begun = false;
};

std::string exec_id_of(const std::string& request_id) {
  const auto space = request_id.find(' ');
  return space == std::string::npos ? "" : request_id.substr(space + 1);
}

class Worker : SessionStream<pb::WorkRequest, pb::WorkResponse> {
 public:
  Worker(const Gateway& gateway, const WorkOptions& options)
      : SessionStream(gateway), stub_(pb::ExecutorService::NewStub(gateway.channel)), options_(options) {}

  int run(std::stop_token stop) {
    std::stop_callback on_stop(stop, [this] { post([this] { drain(); }); });
    keep_open();
    return done_;
  }

 private:
  std::unique_ptr<Stream> call(grpc::ClientContext* context) override { return stub_->Work(context); }

  pb::WorkRequest open() override { return subscribe(session_id()); }

  pb::WorkRequest subscribe(const std::string& session_id) const {
    pb::WorkRequest request;
    auto& frame = *request.mutable_subscribe();
    frame.mutable_task_definitions()->Add(options_.definitions.begin(), options_.definitions.end());
    frame.set_max_in_flight(is_draining_ ? 0 : options_.max_in_flight);
    frame.set_session_id(session_id);
    return request;
  }

  // Names the tasks that are at work. Without any it still says that the worker is
  // there and wants some.
  pb::WorkRequest heartbeat() override {
    pb::WorkRequest request;
    auto& frame = *request.mutable_heartbeat();
    for (const auto& [exec_id, attempt] : attempts_) {
      if (attempt.has_begun) {
        auto& task = *frame.add_tasks();
        task.set_id(attempt.task.id());
        task.set_exec_id(exec_id);
      }
    }
    return request;
  }

  void resume(const pb::Ready& ready) override {
    const std::set<std::string> accepted(ready.accepted_request_ids().begin(), ready.accepted_request_ids().end());
    std::vector<pb::WorkRequest> unanswered;
    for (const auto& [exec_id, attempt] : attempts_) {
      if (attempt.frame) {
        unanswered.push_back(*attempt.frame);
      }
    }
    for (const auto& request : unanswered) {
      if (accepted.contains(request.request_id())) {
        acknowledged(request.request_id());
      } else {
        send(request);
      }
    }
    if (is_draining_) {
      drain();
    }
  }

  void take(const pb::WorkResponse& answer) override {
    switch (answer.frame_case()) {
      case pb::WorkResponse::kTask:
        start(answer.task());
        break;
      case pb::WorkResponse::kAck:
        acknowledged(answer.request_id());
        break;
      case pb::WorkResponse::kFailure:
        std::cerr << "taskgate refused the frame " << answer.request_id() << ": " << answer.failure().message() << '\n';
        drop(exec_id_of(answer.request_id()));
        break;
      case pb::WorkResponse::kDirective:
        if (answer.directive().directive() == pb::DIRECTIVE_CANCEL) {
          drop(answer.directive().exec_id());
        }
        break;
      default:
        break;
    }
    close_when_drained();
  }

  bool is_over(const grpc::Status& status) override {
    if (status.ok()) {
      // If it is not drained, the gateway goes away, and had nothing of ours any more.
      return is_drained();
    }
    if (status.error_code() == grpc::StatusCode::NOT_FOUND && !session_id().empty()) {
      // The session is over, and what it held is another's.
      forget_session();
      while (!attempts_.empty()) {
        drop(std::string(attempts_.begin()->first));
      }
      return false;
    }
    if (status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      return false;
    }
    throw RpcError(status);
  }

  void start(const pb::Task& task) {
    const auto [attempt, is_new] = attempts_.try_emplace(task.exec_id());
    if (!is_new) {
      // Pushed again after a break; its start is on its way.
      return;
    }
    pb::WorkRequest request;
    request.set_request_id("start " + task.exec_id());
    request.mutable_start()->set_id(task.id());
    request.mutable_start()->set_exec_id(task.exec_id());
    attempt->second.task = task;
    attempt->second.frame = request;
    send(request);
  }

  void acknowledged(const std::string& request_id) {
    const auto found = attempts_.find(exec_id_of(request_id));
    // An outcome is acknowledged twice: when it is stored, which is enough, and when
    // Aidbox has it.
    if (found == attempts_.end() || !found->second.frame || found->second.frame->request_id() != request_id) {
      return;
    }
    auto& attempt = found->second;
    if (attempt.frame->has_start()) {
      attempt.frame.reset();
      attempt.has_begun = true;
      handlers_[found->first] = std::jthread([this, task = attempt.task](std::stop_token stop) {
        // The last that the thread does, so that joining it takes no time.
        post([this, outcome = handle(task, stop)] { report(outcome); });
      });
      return;
    }
    attempts_.erase(found);
    if (++done_ == options_.limit) {
      drain();
    }
  }

  // On the task's thread.
  pb::WorkRequest handle(const pb::Task& task, std::stop_token stop) const {
    pb::WorkRequest request;
    request.set_request_id("outcome " + task.exec_id());
    try {
      *request.mutable_succeed()->mutable_result() = options_.handle(task, std::move(stop));
      request.mutable_succeed()->set_id(task.id());
      request.mutable_succeed()->set_exec_id(task.exec_id());
    } catch (const std::exception& error) {
      request.mutable_fail()->mutable_error()->set_string_value(error.what());
      request.mutable_fail()->set_id(task.id());
      request.mutable_fail()->set_exec_id(task.exec_id());
    }
    return request;
  }

  void report(const pb::WorkRequest& outcome) {
    const auto exec_id = exec_id_of(outcome.request_id());
    handlers_.erase(exec_id);
    if (const auto found = attempts_.find(exec_id); found != attempts_.end()) {
      found->second.frame = outcome;
      send(outcome);
    }
  }

  // Stops what nobody waits for.
  void drop(const std::string& exec_id) {
    attempts_.erase(exec_id);
    if (const auto found = handlers_.find(exec_id); found != handlers_.end()) {
      found->second.request_stop();
    }
  }

  void drain() {
    is_draining_ = true;
    send(subscribe(""));
    close_when_drained();
  }

  void close_when_drained() {
    if (is_drained()) {
      half_close();
    }
  }

  bool is_drained() const { return is_draining_ && attempts_.empty(); }

  std::unique_ptr<pb::ExecutorService::Stub> stub_;
  const WorkOptions& options_;
  bool is_draining_ = false;
  int done_ = 0;
  // By exec_id.
  std::map<std::string, Attempt> attempts_;
  std::map<std::string, std::jthread> handlers_;
};

}  // namespace

int work(const Gateway& gateway, const WorkOptions& options, std::stop_token stop) {
  return Worker(gateway, options).run(std::move(stop));
}
