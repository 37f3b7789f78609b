"""How these programs reach the gateway: TASKGATE_ADDRESS and TASKGATE_TOKEN."""

import json
import os

ADDRESS = os.environ.get("TASKGATE_ADDRESS", "127.0.0.1:7450")
TOKEN = os.environ.get("TASKGATE_TOKEN")

# Goes with every call: stub.UpdateTask(request, metadata=METADATA).
METADATA = [("authorization", f"Bearer {TOKEN}")] if TOKEN else []

# For grpc.insecure_channel and grpc.aio.insecure_channel. Unary calls that the gateway surely did not take are made
# again; whatever changes something has a request_id, so that repeating it is safe.
OPTIONS = [
    ("grpc.keepalive_time_ms", 20_000),
    (
        "grpc.service_config",
        json.dumps(
            {
                "methodConfig": [
                    {
                        "name": [
                            {"service": "taskgate.v1.TaskStatusService"},
                            {"service": "taskgate.v1.CallbackService"},
                        ],
                        "retryPolicy": {
                            "maxAttempts": 5,
                            "initialBackoff": "0.2s",
                            "maxBackoff": "5s",
                            "backoffMultiplier": 2,
                            "retryableStatusCodes": ["UNAVAILABLE"],
                        },
                    }
                ]
            }
        ),
    ),
]
