// What the program can do.
#pragma once

#include <string>

#include "gateway.h"

// A whole task run by single calls.
void report(const Gateway& gateway, const std::string& run);
// Reads why a call was refused from the details of its status.
void errors(const Gateway& gateway);
// Answers a callback of the Workflow Orchestrator.
void callback(const Gateway& gateway, const std::string& route);

// A task run that beats: three messages, then SUCCEEDED.
void track(const Gateway& gateway, const std::string& run);
// A task that will be killed: the gateway says FAILED for it when its heartbeats
// stop.
void die(const Gateway& gateway, const std::string& run);
// Does so many tasks of a definition, or stops at SIGTERM.
void do_work(const Gateway& gateway, const std::string& definition, int limit);
