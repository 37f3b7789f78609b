"""Reads why a call was refused from the details of its status."""

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from gateway import ADDRESS, METADATA, OPTIONS
from taskgate.v1 import task_status_pb2 as pb, task_status_pb2_grpc


def detail(error: grpc.RpcError, message_type):
    """The detail of that type, or an empty one."""
    found = message_type()
    for packed in rpc_status.from_call(error).details:
        if packed.Unpack(found):
            break
    return found


with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
    stub = task_status_pb2_grpc.TaskStatusServiceStub(channel)
    request = pb.UpdateTaskRequest(task_run_id="not-a-uuid", message="hello")
    try:
        stub.UpdateTask(request, metadata=METADATA, timeout=30)
    except grpc.RpcError as error:
        match detail(error, error_details_pb2.ErrorInfo).reason:
            case "INVALID_REQUEST":
                (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
                print(f"reason=INVALID_REQUEST field={violation.field}")
            case other:
                raise SystemExit(f"another error: {other}: {error.details()}") from error
    else:
        raise SystemExit("a task run id that is none was accepted")
