"""Workflows that hand a job to a remote service and wait for its callback."""

import json
import os
import time

import requests

from orchestrator.core.targets import Target
from orchestrator.core.utils.errors import ProcessFailureError
from orchestrator.core.workflow import StepList, callback_step, done, init, step, workflow
from pydantic_forms.types import State


def submit(callback_route: str, job: str) -> None:
    answer = requests.post(
        os.environ["JOBS_URL"], json={"callback_route": callback_route, "job": job}, timeout=10
    )
    answer.raise_for_status()


def judge(process_id: object, job: str, result: dict) -> None:
    # Each run of the validation leaves a line, however the process goes on.
    with open(os.environ["VALIDATIONS_FILE"], "a") as file:
        file.write(json.dumps({"process": str(process_id), "job": job, "result": result}) + "\n")
    if result.get("return_code") != 0:
        raise ProcessFailureError("the job failed", result)


@step("Submit the job")
def submit_job(callback_route: str) -> State:
    submit(callback_route, "first")
    return {}


@step("Submit the job slowly")
def submit_slowly(callback_route: str) -> State:
    submit(callback_route, "first")
    time.sleep(4)
    return {}


@step("Submit another job")
def submit_another(callback_route: str) -> State:
    submit(callback_route, "second")
    return {}


@step("Judge the job")
def judge_job(process_id: str, callback_result: dict) -> State:
    judge(process_id, "first", callback_result)
    return {"judged": True}


@step("Judge the other job")
def judge_another(process_id: str, callback_result: dict) -> State:
    judge(process_id, "second", callback_result)
    return {"judged_again": True}


@step("After the callback")
def after(judged: bool) -> State:
    return {"ran_on": judged}


@workflow(target=Target.SYSTEM)
def one_callback() -> StepList:
    return init >> callback_step("Remote job", submit_job, judge_job) >> after >> done


@workflow(target=Target.SYSTEM)
def slow_submit() -> StepList:
    return init >> callback_step("Remote job", submit_slowly, judge_job) >> after >> done


@workflow(target=Target.SYSTEM)
def two_callbacks() -> StepList:
    return (
        init
        >> callback_step("Remote job", submit_job, judge_job)
        >> callback_step("Another job", submit_another, judge_another)
        >> after
        >> done
    )
