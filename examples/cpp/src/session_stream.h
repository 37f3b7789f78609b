// What tracked runs and workers have in common: a stream that beats, and that is
// opened again with its session when it breaks.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "gateway.h"
#include "taskgate/v1/session.pb.h"

using Clock = std::chrono::steady_clock;

// Tasks of several threads for one.
class Inbox {
 public:
  using Task = std::function<void()>;

  void push(Task task) {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    pushed_.notify_one();
  }

  std::optional<Task> pop_until(Clock::time_point end) {
    std::unique_lock lock(mutex_);
    if (!pushed_.wait_until(lock, end, [this] { return !tasks_.empty(); })) {
      return std::nullopt;
    }
    Task task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

 private:
  std::mutex mutex_;
  std::condition_variable pushed_;
  std::deque<Task> tasks_;
};

inline Clock::duration to_duration(const google::protobuf::Duration& given) {
  return std::chrono::seconds(given.seconds()) +
         std::chrono::duration_cast<Clock::duration>(std::chrono::nanoseconds(given.nanos()));
}

// All but `post` belongs to the thread that calls `keep_open`.
template <class Request, class Response>
class SessionStream {
 public:
  virtual ~SessionStream() = default;

 protected:
  using Stream = grpc::ClientReaderWriter<Request, Response>;

  explicit SessionStream(Gateway gateway) : gateway_(std::move(gateway)) {}

  virtual std::unique_ptr<Stream> call(grpc::ClientContext* context) = 0;
  // The frame that opens a stream, with the session where there is one.
  virtual Request open() = 0;
  virtual Request heartbeat() = 0;
  // The gateway is ready for what it has not accepted yet.
  virtual void resume(const taskgate::v1::Ready& ready) = 0;
  virtual void take(const Response& answer) = 0;
  // Comes at least once a second.
  virtual void tick() {}
  // Whether no stream is to follow one that ended so; throws when it failed for good.
  virtual bool is_over(const grpc::Status& status) = 0;

  // Has a task done between two frames. For any thread.
  void post(Inbox::Task task) { inbox_.push(std::move(task)); }

  // Carries one stream after the other.
  void keep_open() {
    constexpr Clock::duration shortest = std::chrono::milliseconds(100), longest = std::chrono::seconds(5);
    auto pause = shortest;
    while (true) {
      const auto opened = Clock::now();
      if (is_over(carry())) {
        return;
      }
      if (Clock::now() - opened > longest) {
        pause = shortest;
      }
      for (const auto end = Clock::now() + pause; Clock::now() < end && !is_leaving_;) {
        work_until(end);
      }
      pause = std::min(2 * pause, longest);
    }
  }

  // Sends a frame if the gateway is ready for it. Why it could not be sent, reading
  // tells.
  void send(const Request& request) {
    if (is_ready_ && !is_closed_) {
      stream_->Write(request);
    }
  }

  void half_close() {
    if (is_ready_ && !is_closed_) {
      is_closed_ = true;
      stream_->WritesDone();
    }
  }

  // Breaks the stream.
  void leave() { is_leaving_ = true; }

  const std::string& session_id() const { return session_id_; }
  void forget_session() { session_id_.clear(); }

 private:
  grpc::Status carry() {
    const auto context = gateway_.context();
    const auto stream = call(context.get());
    stream_ = stream.get();
    is_closed_ = false;
    stream->Write(open());
    bool has_ended = false;
    std::thread reader([this, &stream, &has_ended] {
      for (Response answer; stream->Read(&answer);) {
        post([this, answer] { hear(answer); });
      }
      post([&has_ended] { has_ended = true; });
    });
    while (!has_ended) {
      work_until(is_ready_ ? next_beat_ : Clock::time_point::max());
      if (is_ready_ && Clock::now() >= next_beat_) {
        next_beat_ = Clock::now() + beat_interval_;
        send(heartbeat());
      }
      if (is_leaving_) {
        context->TryCancel();
      }
    }
    reader.join();
    is_ready_ = false;
    return stream->Finish();
  }

  void work_until(Clock::time_point end) {
    if (const auto task = inbox_.pop_until(std::min(end, Clock::now() + std::chrono::seconds(1)))) {
      (*task)();
    }
    tick();
  }

  void hear(const Response& answer) {
    if (answer.has_ready()) {
      session_id_ = answer.ready().session_id();
      beat_interval_ = to_duration(answer.ready().heartbeat_interval());
      next_beat_ = Clock::now() + beat_interval_;
      is_ready_ = true;
      resume(answer.ready());
    }
    take(answer);
  }

  Gateway gateway_;
  Inbox inbox_;
  std::string session_id_;
  Stream* stream_ = nullptr;
  bool is_ready_ = false;
  bool is_closed_ = false;
  bool is_leaving_ = false;
  Clock::duration beat_interval_{};
  Clock::time_point next_beat_;
};
