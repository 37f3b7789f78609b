// A worker for tasks of Aidbox, which outlives its connections.
#pragma once

#include <google/protobuf/struct.pb.h>

#include <functional>
#include <stop_token>
#include <string>
#include <vector>

#include "gateway.h"
#include "taskgate/v1/executor.pb.h"

struct WorkOptions {
  std::vector<std::string> definitions;
  int max_in_flight = 1;
  // After how many tasks to end; 0 is never.
  int limit = 0;
  // Does a task, on a thread of its own. Returns its result; with an exception the
  // attempt has failed. A stop is requested when nobody waits for the result.
  std::function<google::protobuf::Value(const taskgate::v1::Task&, std::stop_token)> handle;
};

// Does tasks until a stop is requested, or the limit is reached, and all that has
// begun is done. Returns how many were done.
int work(const Gateway& gateway, const WorkOptions& options, std::stop_token stop);
