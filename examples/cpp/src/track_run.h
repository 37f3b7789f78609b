// A task run of Orchestra that beats, and outlives its connections.
#pragma once

#include <functional>
#include <stop_token>
#include <string>

#include "gateway.h"
#include "taskgate/v1/task_status.pb.h"

// Reports on a run while it is tracked. For any thread.
class Run {
 public:
  explicit Run(std::function<void(taskgate::v1::TrackRunRequest)> report) : report_(std::move(report)) {}

  // Reports a message; the status stays RUNNING.
  void message(const std::string& text);
  // Sets an output to a JSON text. Names have letters, `_` and `-`.
  void set_output(const std::string& name, const std::string& json);

 private:
  std::function<void(taskgate::v1::TrackRunRequest)> report_;
};

// Reports RUNNING, beats on a thread of its own while `work` is at work, and
// reports SUCCEEDED, or FAILED with what `work` throws. A stop is requested of
// `work` when nobody waits for the run any more.
void track_run(const Gateway& gateway, const taskgate::v1::TrackRunOpen& open,
               const std::function<void(Run&, std::stop_token)>& work);
