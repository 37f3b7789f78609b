// The gateway from C++, with gRPC's synchronous stubs.
#include <cstdlib>
#include <exception>
#include <iostream>
#include <stdexcept>
#include <string>

#include <signal.h>

#include "commands.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr) {
    throw std::runtime_error(std::string(name) + " is not set");
  }
  return value;
}

// Before there are threads: none of them takes it, and one waits for it.
void block_sigterm() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

void run(const std::string& command) {
  if (command == "work") {
    block_sigterm();
  }
  const auto* token = std::getenv("TASKGATE_TOKEN");
  const auto gateway = connect(variable("TASKGATE_ADDRESS"), token == nullptr ? "" : token);
  if (command == "report") {
    report(gateway, variable("ORCHESTRA_TASK_RUN_ID"));
  } else if (command == "errors") {
    errors(gateway);
  } else if (command == "callback") {
    callback(gateway, variable("CALLBACK_ROUTE"));
  } else if (command == "track") {
    track(gateway, variable("ORCHESTRA_TASK_RUN_ID"));
  } else if (command == "die") {
    die(gateway, variable("ORCHESTRA_TASK_RUN_ID"));
  } else if (command == "work") {
    do_work(gateway, variable("AIDBOX_DEFINITION"), std::stoi(variable("AIDBOX_TASKS")));
  } else {
    throw std::runtime_error("usage: taskgate-example report | errors | callback | track | die | work");
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    run(count == 2 ? arguments[1] : "");
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
