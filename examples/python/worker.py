"""An asyncio worker for tasks of Aidbox.

    async def square(params):
        return {"square": params["number"] ** 2}

    worker = Worker(channel, ["examples/square"], square, max_in_flight=8)
    await worker.run()
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc
from google.protobuf.json_format import MessageToDict

from gateway import METADATA
from taskgate.v1 import executor_pb2 as pb, executor_pb2_grpc, session_pb2

logger = logging.getLogger(__name__)


@dataclass
class _Attempt:
    task: pb.Task
    # A start or an outcome that the gateway has not acknowledged.
    frame: pb.WorkRequest | None = None
    handling: asyncio.Task | None = None


class Worker:
    """Does tasks, each with `handler`, over one stream that is resumed where it breaks."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        definitions: list[str],
        handler: Callable[[dict], Awaitable[object]],
        max_in_flight: int = 8,
    ):
        self.done = 0
        self._stub = executor_pb2_grpc.ExecutorServiceStub(channel)
        self._definitions = definitions
        self._handler = handler
        self._max_in_flight = max_in_flight
        self._limit: int | None = None
        self._session_id = ""
        # By exec_id.
        self._attempts: dict[str, _Attempt] = {}
        # To the stream that is open; None half-closes it.
        self._outbox: asyncio.Queue[pb.WorkRequest | None] | None = None

    async def run(self, limit: int | None = None) -> None:
        """Works until `drain`, or until so many tasks have ended."""
        self._limit = limit
        pause_s = 0.1
        while not self._is_drained():
            try:
                await self._stream()
                pause_s = 0.1
            except grpc.aio.AioRpcError as error:
                logger.warning("the stream broke: %s", error.details())
                if error.code() == grpc.StatusCode.NOT_FOUND and self._session_id:
                    # The session is over, and what it held is another's.
                    self._session_id = ""
                    for exec_id in list(self._attempts):
                        self._drop(exec_id)
                elif error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
            if not self._is_drained():
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, 5)

    def drain(self) -> None:
        """Takes nothing new; `run` returns when all that has begun is done."""
        self._max_in_flight = 0
        self._put(pb.WorkRequest(subscribe=pb.WorkSubscribe(max_in_flight=0)))
        self._close_if_drained()

    async def _stream(self) -> None:
        call = self._stub.Work(metadata=METADATA)
        subscribe = pb.WorkSubscribe(
            task_definitions=self._definitions,
            max_in_flight=self._max_in_flight,
            session_id=self._session_id,
        )
        helpers: list[asyncio.Task] = []
        try:
            await call.write(pb.WorkRequest(subscribe=subscribe))
            async for answer in call:
                match answer.WhichOneof("frame"):
                    case "ready":
                        outbox = self._resume(answer.ready)
                        beat_s = answer.ready.heartbeat_interval.ToTimedelta().total_seconds()
                        helpers.append(asyncio.create_task(_write(call, outbox)))
                        helpers.append(asyncio.create_task(self._beat(beat_s)))
                    case "task":
                        self._start(answer.task)
                    case "ack":
                        self._acknowledged(answer.request_id)
                    case "failure":
                        logger.error("%s was refused: %s", answer.request_id, answer.failure.message)
                        self._drop(answer.request_id.rpartition(" ")[2])
                    case "directive" if answer.directive.directive == session_pb2.DIRECTIVE_CANCEL:
                        self._drop(answer.directive.exec_id)
        finally:
            self._outbox = None
            for helper in helpers:
                helper.cancel()
            call.cancel()

    def _resume(self, ready: session_pb2.Ready) -> asyncio.Queue:
        self._session_id = ready.session_id
        self._outbox = outbox = asyncio.Queue()
        for attempt in list(self._attempts.values()):
            if attempt.frame is None:
                continue
            if attempt.frame.request_id in ready.accepted_request_ids:
                self._acknowledged(attempt.frame.request_id)
            else:
                self._put(attempt.frame)
        self._close_if_drained()
        return outbox

    async def _beat(self, beat_s: float) -> None:
        while True:
            await asyncio.sleep(beat_s)
            # Without tasks it still says that the worker is there and wants some.
            alive = [attempt.task for attempt in self._attempts.values() if attempt.handling]
            tasks = [pb.TaskAttempt(id=task.id, exec_id=task.exec_id) for task in alive]
            self._put(pb.WorkRequest(heartbeat=pb.WorkHeartbeat(tasks=tasks)))

    def _start(self, task: pb.Task) -> None:
        if task.exec_id in self._attempts:
            # Pushed again after a break; its start is on its way.
            return
        self._attempts[task.exec_id] = _Attempt(task)
        self._report(task, "start", start=pb.WorkStart(id=task.id, exec_id=task.exec_id))

    async def _handle(self, task: pb.Task) -> None:
        ids = {"id": task.id, "exec_id": task.exec_id}
        try:
            result = await self._handler(MessageToDict(task.params))
            succeed = pb.WorkSucceed(**ids, result_json=json.dumps(result))
            self._report(task, "outcome", succeed=succeed)
        except Exception as error:
            logger.exception("the handler failed")
            self._report(task, "outcome", fail=pb.WorkFail(**ids, error_json=json.dumps({"message": str(error)})))

    def _report(self, task: pb.Task, kind: str, **frame) -> None:
        request = pb.WorkRequest(request_id=f"{kind} {task.exec_id}", **frame)
        self._attempts[task.exec_id].frame = request
        self._put(request)

    def _acknowledged(self, request_id: str) -> None:
        kind, _, exec_id = request_id.partition(" ")
        attempt = self._attempts.get(exec_id)
        # An outcome is acknowledged twice: when it is stored, which is enough, and when Aidbox has it.
        if attempt is None or attempt.frame is None or attempt.frame.request_id != request_id:
            return
        attempt.frame = None
        if kind == "start":
            attempt.handling = asyncio.create_task(self._handle(attempt.task))
            return
        del self._attempts[exec_id]
        self.done += 1
        if self.done == self._limit:
            self.drain()
        self._close_if_drained()

    def _drop(self, exec_id: str) -> None:
        """Stops what nobody waits for."""
        attempt = self._attempts.pop(exec_id, None)
        if attempt is not None and attempt.handling is not None:
            attempt.handling.cancel()
        self._close_if_drained()

    def _put(self, frame: pb.WorkRequest | None) -> None:
        if self._outbox is not None:
            self._outbox.put_nowait(frame)

    def _is_drained(self) -> bool:
        return self._max_in_flight == 0 and not self._attempts

    def _close_if_drained(self) -> None:
        if self._is_drained():
            self._put(None)


async def _write(call, outbox: asyncio.Queue) -> None:
    try:
        while (frame := await outbox.get()) is not None:
            await call.write(frame)
        await call.done_writing()
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # The stream is over; whoever reads it hears why.
        return
