#!/usr/bin/env bash
# A task that will be killed: the gateway says FAILED for it when its heartbeats stop.
set -euo pipefail
export TASKGATE_GATEWAY=http://$TASKGATE_ADDRESS TASKGATE_AUTH_TOKEN=${TASKGATE_TOKEN:-}

exec taskgate run --task-run-id "${ORCHESTRA_TASK_RUN_ID:?}" --on-lost fail -- sh -c 'echo tracking; sleep 300'
