"""Reports a whole task run by unary calls: RUNNING, an output, SUCCEEDED."""

import os
import uuid

import grpc

from gateway import ADDRESS, METADATA, OPTIONS
from taskgate.v1 import receipt_pb2, task_status_pb2 as pb, task_status_pb2_grpc

run = os.environ["ORCHESTRA_TASK_RUN_ID"]

with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
    stub = task_status_pb2_grpc.TaskStatusServiceStub(channel)

    def call(method, request):
        request.task_run_id = run
        request.request_id = str(uuid.uuid4())
        receipt = method(request, metadata=METADATA, timeout=30).receipt
        print(receipt_pb2.DeliveryState.Name(receipt.state))

    call(stub.UpdateTask, pb.UpdateTaskRequest(status=pb.TASK_RUN_STATUS_RUNNING, message="loading"))
    call(stub.SetOutput, pb.SetOutputRequest(name="rows", value_json="42"))
    call(stub.UpdateTask, pb.UpdateTaskRequest(status=pb.TASK_RUN_STATUS_SUCCEEDED))
