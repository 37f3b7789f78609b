"""Does with Orchestra's SDK what it reads from stdin, and prints what each call came to."""

import json
import logging
import os
import sys

try:
    from orchestra_sdk.enum import TaskRunStatus
    from orchestra_sdk.orchestra import OrchestraSDK
except ImportError:
    # Before 0.0.16 there is a decorator and nothing else; it reads the environment.
    from orchestra_sdk.decorators import orchestra_run

    OrchestraSDK = None

logging.disable(logging.CRITICAL)

API_KEY = os.environ["ORCHESTRA_API_KEY"]


def decorate(step, work):
    if OrchestraSDK is None:
        return orchestra_run(work)
    options = {}
    if "log" in step:
        with open("orchestra.log", "w") as file:
            file.write(step["log"])
        options["send_logs"] = True
    return OrchestraSDK(api_key=API_KEY, **options).run()(work)


def perform(step):
    if step["call"] == "update_task":
        arguments = {}
        if "status" in step:
            arguments["status"] = TaskRunStatus[step["status"]]
        if "message" in step:
            arguments["message"] = step["message"]
        return OrchestraSDK(api_key=API_KEY).update_task(**arguments)
    if step["call"] == "set_output":
        return OrchestraSDK(api_key=API_KEY).set_output(step["name"], json.loads(step["value_json"]))
    if step["call"] == "run":

        def work():
            if "error" in step:
                raise RuntimeError(step["error"])

        return decorate(step, work)()
    raise ValueError(step["call"])


def set_environment(name, value):
    os.environ[name] = value
    # 0.0.11 reads them in lower case.
    os.environ[name.lower()] = value


results = []
for name in ["ORCHESTRA_API_KEY", "ORCHESTRA_WEBHOOK_URL", "ORCHESTRA_PIPELINE_RUN_ID"]:
    set_environment(name, os.environ[name])
for scenario in json.load(sys.stdin):
    set_environment("ORCHESTRA_TASK_RUN_ID", scenario["task_run_id"])
    for step in scenario["steps"]:
        try:
            results.append(f"returned {perform(step)!r}")
        except Exception as error:
            results.append(f"raised {type(error).__name__}")
json.dump(results, sys.stdout)
