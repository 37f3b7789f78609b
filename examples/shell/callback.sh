#!/usr/bin/env bash
# Answers a callback of the Workflow Orchestrator: progress, then the result.
set -euo pipefail
source "$(dirname "$0")/call.sh"
route=${CALLBACK_ROUTE:?}

jq --null-input --arg route "$route" '{callbackRoute: $route, text: "half way"}' |
  call CallbackService/ReportCallbackProgress >/dev/null
jq --null-input --arg route "$route" \
  '{callbackRoute: $route, result: {jobId: "job-1", returnCode: 0, status: "successful", output: ["42 rows"]}}' |
  call CallbackService/CompleteCallback | jq --raw-output .receipt.state
