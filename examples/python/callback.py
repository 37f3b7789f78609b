"""Answers a callback of the Workflow Orchestrator: progress, then the result."""

import os

import grpc

from gateway import ADDRESS, METADATA, OPTIONS
from taskgate.v1 import callback_pb2 as pb, callback_pb2_grpc, receipt_pb2

route = os.environ["CALLBACK_ROUTE"]

with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
    stub = callback_pb2_grpc.CallbackServiceStub(channel)
    progress = pb.ReportCallbackProgressRequest(callback_route=route, text="half way")
    stub.ReportCallbackProgress(progress, metadata=METADATA, timeout=30)
    result = pb.JobResult(job_id="job-1", return_code=0, status="successful", output=["42 rows"])
    answer = stub.CompleteCallback(
        pb.CompleteCallbackRequest(callback_route=route, result=result), metadata=METADATA, timeout=30
    )
    print(receipt_pb2.DeliveryState.Name(answer.receipt.state))
