"""Does with Orchestra's SDK what it reads from stdin, and prints what each call came to."""

import json
import logging
import os
import sys

from orchestra_sdk.enum import TaskRunStatus
from orchestra_sdk.orchestra import OrchestraSDK

logging.disable(logging.CRITICAL)


def perform(step):
    if step["call"] == "update_task":
        arguments = {}
        if "status" in step:
            arguments["status"] = TaskRunStatus[step["status"]]
        if "message" in step:
            arguments["message"] = step["message"]
        return OrchestraSDK(api_key=step["api_key"]).update_task(**arguments)
    if step["call"] == "set_output":
        return OrchestraSDK(api_key=step["api_key"]).set_output(step["name"], json.loads(step["value_json"]))
    if step["call"] == "run":
        options = {}
        if "log" in step:
            with open("orchestra.log", "w") as file:
                file.write(step["log"])
            options["send_logs"] = True
        sdk = OrchestraSDK(api_key=step["api_key"], **options)

        @sdk.run()
        def work():
            if "error" in step:
                raise RuntimeError(step["error"])

        return work()
    raise ValueError(step["call"])


results = []
for scenario in json.load(sys.stdin):
    os.environ["ORCHESTRA_TASK_RUN_ID"] = scenario["task_run_id"]
    for step in scenario["steps"]:
        try:
            results.append(f"returned {perform(step)!r}")
        except Exception as error:
            results.append(f"raised {type(error).__name__}")
json.dump(results, sys.stdout)
