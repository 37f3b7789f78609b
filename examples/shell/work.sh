#!/usr/bin/env bash
# Does tasks of Aidbox, one after the other. Whoever needs less than a second between them uses `Work`, which is a stream.
set -euo pipefail
source "$(dirname "$0")/call.sh"

done=0
while ((done < AIDBOX_TASKS)); do
  tasks=$(jq --null-input --arg definition "${AIDBOX_DEFINITION:?}" \
    '{taskDefinitions: [$definition], maxBatchSize: 4, timeout: "20s"}' | call ExecutorService/LongPollTasks)
  while read -r task; do
    # With onLost the gateway fails the attempt when this script falls silent; work that is
    # longer than a lease beats with HeartbeatTask meanwhile.
    jq '{id, execId, onLost: "ON_LOST_FAIL"}' <<<"$task" | call ExecutorService/StartTask >/dev/null
    jq '{id, execId, requestId: .execId, result: {square: (.params.number * .params.number)}}' <<<"$task" |
      call ExecutorService/SucceedTask >/dev/null
    ((done += 1))
  done < <(jq --compact-output '.tasks[]?' <<<"$tasks")
done
echo "done $done"
