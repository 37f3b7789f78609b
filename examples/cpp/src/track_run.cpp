#include "track_run.h"

#include <algorithm>
#include <exception>
#include <future>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "session_stream.h"
#include "taskgate/v1/task_status.grpc.pb.h"

namespace pb = taskgate::v1;

namespace {

constexpr auto finish_timeout = std::chrono::seconds(60);

class Tracker : SessionStream<pb::TrackRunRequest, pb::TrackRunResponse> {
 public:
  Tracker(const Gateway& gateway, pb::TrackRunOpen open)
      : SessionStream(gateway),
        stub_(pb::TaskStatusService::NewStub(gateway.channel)),
        open_(std::move(open)),
        // All that it uses is declared before it.
        tracked_(std::async(std::launch::async, [this] { track(); })) {}

  // Left before its end, it beats no more.
  ~Tracker() override {
    post([this] { leave(); });
  }

  // Throws when there never was a session.
  void wait_until_ready() { ready_.get_future().get(); }

  void report(pb::TrackRunRequest request) {
    post([this, request = std::move(request)]() mutable { number(std::move(request)); });
  }

  std::stop_token stop_token() const { return stop_.get_token(); }

  // Waits until the outcome is settled; throws why it is not.
  void wait() { tracked_.get(); }

 private:
  void track() {
    try {
      keep_open();
    } catch (...) {
      stop_.request_stop();
      if (!has_been_ready_) {
        ready_.set_exception(std::current_exception());
      }
      throw;
    }
  }

  std::unique_ptr<Stream> call(grpc::ClientContext* context) override { return stub_->TrackRun(context); }

  pb::TrackRunRequest open() override {
    pb::TrackRunRequest request;
    *request.mutable_open() = open_;
    request.mutable_open()->set_session_id(session_id());
    return request;
  }

  pb::TrackRunRequest heartbeat() override {
    pb::TrackRunRequest request;
    request.mutable_heartbeat();
    return request;
  }

  void number(pb::TrackRunRequest request) {
    request.set_request_id(std::to_string(++frame_count_));
    if (request.has_finish()) {
      finish_id_ = request.request_id();
      finish_end_ = Clock::now() + finish_timeout;
    }
    unanswered_.push_back(request);
    send(request);
  }

  void resume(const pb::Ready& ready) override {
    for (const auto& accepted : ready.accepted_request_ids()) {
      is_stored_ = is_stored_ || accepted == finish_id_;
      answered(accepted);
    }
    for (const auto& request : unanswered_) {
      send(request);
    }
    lease_duration_ = to_duration(ready.lease_duration());
    if (!std::exchange(has_been_ready_, true)) {
      ready_.set_value();
    }
    if (is_stored_) {
      half_close();
    }
  }

  void take(const pb::TrackRunResponse& answer) override {
    lease_end_ = Clock::now() + lease_duration_;
    const bool is_finish = !answer.request_id().empty() && answer.request_id() == finish_id_;
    if (answer.has_directive() && answer.directive().directive() == pb::DIRECTIVE_CANCEL && !is_stored_) {
      give_up("the run is over: " + pb::ErrorReason_Name(answer.directive().cause()));
    } else if (answer.has_failure()) {
      answered(answer.request_id());
      if (is_finish) {
        give_up("the outcome was refused: " + answer.failure().message());
      } else {
        std::cerr << "taskgate refused a frame: " << answer.failure().message() << '\n';
      }
    } else if (answer.has_receipt()) {
      answered(answer.request_id());
      is_stored_ = is_stored_ || is_finish;
      // The outcome is answered twice: when it is stored, and when Orchestra has it.
      if (is_finish && answer.receipt().state() != pb::DELIVERY_STATE_STORED) {
        half_close();
      }
    }
  }

  void tick() override {
    if (finish_id_.empty() && Clock::now() > lease_end_) {
      give_up("the gateway was not heard for a whole lease");
    } else if (!finish_id_.empty() && Clock::now() > finish_end_) {
      give_up("the outcome is not reported in time");
    }
  }

  bool is_over(const grpc::Status& status) override {
    if (is_stored_) {
      return true;
    }
    if (!problem_.empty()) {
      throw std::runtime_error(problem_);
    }
    if (status.ok() || status.error_code() == grpc::StatusCode::UNAVAILABLE) {
      return false;
    }
    throw RpcError(status);
  }

  void answered(const std::string& request_id) {
    std::erase_if(unanswered_, [&](const auto& request) { return request.request_id() == request_id; });
  }

  void give_up(std::string problem) {
    problem_ = std::move(problem);
    leave();
  }

  std::unique_ptr<pb::TaskStatusService::Stub> stub_;
  pb::TrackRunOpen open_;
  std::promise<void> ready_;
  bool has_been_ready_ = false;
  std::stop_source stop_;
  Clock::duration lease_duration_ = std::chrono::seconds(30);
  Clock::time_point lease_end_ = Clock::now() + lease_duration_;
  int frame_count_ = 0;
  // What the gateway may not have; it is sent again with the session.
  std::vector<pb::TrackRunRequest> unanswered_;
  std::string finish_id_;
  Clock::time_point finish_end_;
  // The outcome is on the gateway's disk, and will be delivered.
  bool is_stored_ = false;
  std::string problem_;
  std::future<void> tracked_;
};

}  // namespace

void Run::message(const std::string& text) {
  pb::TrackRunRequest request;
  request.mutable_update()->set_message(text);
  report_(std::move(request));
}

void Run::set_output(const std::string& name, const std::string& json) {
  pb::TrackRunRequest request;
  request.mutable_output()->set_name(name);
  request.mutable_output()->set_value_json(json);
  report_(std::move(request));
}

void track_run(const Gateway& gateway, const pb::TrackRunOpen& open,
               const std::function<void(Run&, std::stop_token)>& work) {
  Tracker tracker(gateway, open);
  tracker.wait_until_ready();
  Run run([&tracker](pb::TrackRunRequest request) { tracker.report(std::move(request)); });
  pb::TrackRunRequest request;
  std::exception_ptr problem;
  try {
    work(run, tracker.stop_token());
    request.mutable_finish()->set_status(pb::TASK_RUN_STATUS_SUCCEEDED);
  } catch (const std::exception& error) {
    problem = std::current_exception();
    request.mutable_finish()->set_status(pb::TASK_RUN_STATUS_FAILED);
    request.mutable_finish()->set_message(error.what());
  }
  tracker.report(std::move(request));
  tracker.wait();
  if (problem) {
    std::rethrow_exception(problem);
  }
}
