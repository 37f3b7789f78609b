#!/usr/bin/env bash
# A job that knows nothing of taskgate.
for part in 1 2 3; do
  echo "part $part of 3"
  sleep 1
done
