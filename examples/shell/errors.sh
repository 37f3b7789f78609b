#!/usr/bin/env bash
# Reads why a call was refused from the details of the error.
set -euo pipefail
source "$(dirname "$0")/call.sh"

if error=$(call TaskStatusService/UpdateTask <<<'{"taskRunId": "not-a-uuid", "message": "hello"}' 2>/dev/null); then
  echo "a task run id that is none was accepted" >&2
  exit 1
fi

detail() { jq --raw-output --arg type "google.rpc.$1" ".details[] | select(.type == \$type) | .debug | $2" <<<"$error"; }

case $(detail ErrorInfo .reason) in
INVALID_REQUEST) echo "reason=INVALID_REQUEST field=$(detail BadRequest '.fieldViolations[0].field')" ;;
*)
  echo "another error: $error" >&2
  exit 1
  ;;
esac
