# call SERVICE/METHOD: a unary call with the JSON of standard input, and its answer, also where that is an error.
# Repeats what the gateway says may be repeated (503): give what changes something a requestId.
# Of several tries curl prints each answer; the last one counts. With `pipefail` the call fails where curl does.
# Neither the token nor the request is an argument: arguments can be read by others.
call() {
  curl --silent --show-error --fail-with-body --max-time 60 --retry 5 --retry-connrefused \
    --header @<(printf 'authorization: Bearer %s\n' "${TASKGATE_TOKEN:-}") \
    --header 'content-type: application/json' --data-binary @- \
    "http://$TASKGATE_ADDRESS/taskgate.v1.$1" | jq --compact-output --slurp 'last // empty'
}
