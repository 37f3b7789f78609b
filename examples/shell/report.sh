#!/usr/bin/env bash
# Reports a whole task run: RUNNING, an output, SUCCEEDED.
set -euo pipefail
source "$(dirname "$0")/call.sh"
run=${ORCHESTRA_TASK_RUN_ID:?}

state() { jq --raw-output .receipt.state; }

jq --null-input --arg run "$run" --arg id "$run-1" \
  '{taskRunId: $run, requestId: $id, status: "TASK_RUN_STATUS_RUNNING", message: "loading"}' |
  call TaskStatusService/UpdateTask | state
jq --null-input --arg run "$run" --arg id "$run-2" \
  '{taskRunId: $run, requestId: $id, name: "rows", value: 42}' |
  call TaskStatusService/SetOutput | state
jq --null-input --arg run "$run" --arg id "$run-3" \
  '{taskRunId: $run, requestId: $id, status: "TASK_RUN_STATUS_SUCCEEDED"}' |
  call TaskStatusService/UpdateTask | state
