#include <chrono>
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <stdexcept>
#include <thread>

#include <signal.h>
#include <time.h>

#include "commands.h"
#include "track_run.h"
#include "worker.h"

namespace pb = taskgate::v1;

namespace {

// Throws when a stop is requested meanwhile.
void sleep(std::stop_token stop, std::chrono::seconds duration) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any().wait_for(lock, stop, duration, [] { return false; });
  if (stop.stop_requested()) {
    throw std::runtime_error("stopped");
  }
}

google::protobuf::Value square(const pb::Task& task, std::stop_token) {
  const auto number = task.params().struct_value().fields().at("number").number_value();
  google::protobuf::Value result;
  (*result.mutable_struct_value()->mutable_fields())["square"].set_number_value(number * number);
  return result;
}

}  // namespace

void track(const Gateway& gateway, const std::string& run_id) {
  pb::TrackRunOpen open;
  open.set_task_run_id(run_id);
  track_run(gateway, open, [](Run& run, std::stop_token stop) {
    for (int part = 1; part <= 3; ++part) {
      run.message("part " + std::to_string(part) + " of 3");
      sleep(stop, std::chrono::seconds(1));
    }
  });
  std::cout << "finished" << std::endl;
}

void die(const Gateway& gateway, const std::string& run_id) {
  pb::TrackRunOpen open;
  open.set_task_run_id(run_id);
  open.set_on_lost(pb::ON_LOST_FAIL);
  track_run(gateway, open, [](Run&, std::stop_token stop) {
    std::cout << "tracking" << std::endl;
    sleep(stop, std::chrono::minutes(5));
  });
}

void do_work(const Gateway& gateway, const std::string& definition, int limit) {
  std::stop_source stop;
  // `main` has blocked the signal for all threads.
  const std::jthread listener([&stop](std::stop_token done) {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    constexpr timespec poll{.tv_sec = 0, .tv_nsec = 100'000'000};
    while (!done.stop_requested()) {
      if (sigtimedwait(&signals, nullptr, &poll) == SIGTERM) {
        stop.request_stop();
      }
    }
  });
  const WorkOptions options{.definitions = {definition}, .max_in_flight = 8, .limit = limit, .handle = square};
  std::cout << "done " << work(gateway, options, stop.get_token()) << std::endl;
}
