#!/usr/bin/env bash
# Any command as a task run: RUNNING, heartbeats, its last lines as messages, and the outcome by its exit code.
set -euo pipefail
cd "$(dirname "$0")"
export TASKGATE_GATEWAY=http://$TASKGATE_ADDRESS TASKGATE_AUTH_TOKEN=${TASKGATE_TOKEN:-}

taskgate run --task-run-id "${ORCHESTRA_TASK_RUN_ID:?}" --messages 100ms -- ./job.sh
echo finished
