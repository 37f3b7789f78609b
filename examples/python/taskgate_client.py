"""A function as a task run of Orchestra: RUNNING, heartbeats, messages, outputs, and the outcome.

    taskgate = Taskgate()

    @taskgate.run()
    def load():
        taskgate.message("half way")
        taskgate.set_output("rows", 42)
"""

import functools
import json
import logging
import os
import queue
import threading
import time
import uuid

import grpc

from gateway import ADDRESS, METADATA, OPTIONS
from taskgate.v1 import receipt_pb2, session_pb2, task_status_pb2 as pb, task_status_pb2_grpc

logger = logging.getLogger(__name__)


class Taskgate:
    """One task run, that of ORCHESTRA_TASK_RUN_ID unless another is given."""

    def __init__(self, task_run_id: str | None = None, on_lost: int = session_pb2.ON_LOST_FAIL):
        self.task_run_id = task_run_id or os.environ.get("ORCHESTRA_TASK_RUN_ID", "")
        self.on_lost = on_lost
        # Set when nobody waits for the run any more. A function that takes long looks at it.
        self.cancelled = threading.Event()
        self._tracker: _Tracker | None = None

    def run(self):
        """Decorates a function: it is RUNNING while it runs, FAILED when it raises, else SUCCEEDED."""

        def decorate(function):
            @functools.wraps(function)
            def tracked(*args, **kwargs):
                with grpc.insecure_channel(ADDRESS, OPTIONS) as channel:
                    self._tracker = tracker = _Tracker(channel, self)
                    try:
                        result = function(*args, **kwargs)
                    except BaseException as error:
                        tracker.finish(pb.TASK_RUN_STATUS_FAILED, f"{function.__name__}: {error!r}"[:500])
                        raise
                    tracker.finish(pb.TASK_RUN_STATUS_SUCCEEDED)
                    return result

            return tracked

        return decorate

    def message(self, text: str) -> None:
        """Reports a message; status stays RUNNING."""
        self._send(update=pb.TrackRunUpdate(message=text))

    def set_output(self, name: str, value) -> None:
        """Sets an output to a JSON value. Names have letters, `_` and `-`."""
        self._send(output=pb.TrackRunOutput(name=name, value_json=json.dumps(value)))

    def send_log(self, name: str, text: str) -> None:
        """Sends a whole log file."""
        self._send(log=pb.TrackRunLog(name=name, data=text))

    def _send(self, **frame) -> None:
        if self._tracker is None:
            raise RuntimeError("only within a function that is decorated with run()")
        self._tracker.send(pb.TrackRunRequest(**frame))


class _Tracker:
    """The stream of one run, kept by a thread: it beats, and opens the stream again where it breaks."""

    def __init__(self, channel: grpc.Channel, run: Taskgate):
        self._stub = task_status_pb2_grpc.TaskStatusServiceStub(channel)
        self._run = run
        self._session_id = ""
        # Until the gateway has said so.
        self._beat_s = 1.0
        self._lease_s = 30.0
        self._heard = time.monotonic()
        self._lock = threading.Lock()
        # By request_id: what the gateway may not have. It is sent again when the session is resumed.
        self._unanswered: dict[str, pb.TrackRunRequest] = {}
        # To the stream that is open.
        self._outbox: queue.SimpleQueue | None = None
        self._finish_id = ""
        self._is_ready = threading.Event()
        # The outcome is on the gateway's disk and will be delivered, or it was refused.
        self._is_finished = False
        self._thread = threading.Thread(target=self._keep_open, name="taskgate", daemon=True)
        self._thread.start()
        if not self._is_ready.wait(timeout=10):
            logger.warning("no gateway at %s yet; the task runs on", ADDRESS)

    def send(self, frame: pb.TrackRunRequest) -> None:
        frame.request_id = frame.request_id or str(uuid.uuid4())
        with self._lock:
            self._unanswered[frame.request_id] = frame
            if self._outbox is not None:
                self._outbox.put(frame)

    def finish(self, status: int, message: str = "", timeout_s: float = 60) -> None:
        """Reports the outcome, and waits until it is settled or the time is over."""
        finish = pb.TrackRunFinish(status=status, message=message)
        # Known before it is sent: the answer may be here at once.
        self._finish_id = str(uuid.uuid4())
        self.send(pb.TrackRunRequest(request_id=self._finish_id, finish=finish))
        self._thread.join(timeout_s)
        if not self._is_finished:
            logger.error("the outcome is not reported")

    def _keep_open(self) -> None:
        pause_s = 0.1
        while not self._is_finished:
            opened = time.monotonic()
            try:
                self._stream()
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    # The run has ended, or is another's.
                    logger.error("the run is not tracked any more: %s", error.details())
                    self._run.cancelled.set()
                    self._is_ready.set()
                    return
            if self._session_id and time.monotonic() - self._heard > self._lease_s:
                # Unheard for a whole lease: the gateway may have reported the run as lost. Without a session there is none.
                self._run.cancelled.set()
            pause_s = 0.1 if self._heard > opened else min(2 * pause_s, 5)
            time.sleep(pause_s)

    def _stream(self) -> None:
        outbox = queue.SimpleQueue()
        opening = pb.TrackRunOpen(
            task_run_id=self._run.task_run_id, on_lost=self._run.on_lost, session_id=self._session_id
        )
        outbox.put(pb.TrackRunRequest(open=opening))
        try:
            for answer in self._stub.TrackRun(self._frames(outbox), metadata=METADATA):
                self._heard = time.monotonic()
                if self._take(answer, outbox):
                    outbox.put(None)
        finally:
            with self._lock:
                self._outbox = None
            outbox.put(None)

    def _frames(self, outbox: queue.SimpleQueue):
        # Any frame is a proof of life, so a heartbeat is needed only where there is no other.
        while True:
            try:
                frame = outbox.get(timeout=self._beat_s)
            except queue.Empty:
                frame = pb.TrackRunRequest(heartbeat=session_pb2.Heartbeat())
            if frame is None:
                return
            yield frame

    def _take(self, answer: pb.TrackRunResponse, outbox: queue.SimpleQueue) -> bool:
        """Takes a frame of the gateway; True when the outcome is settled."""
        with self._lock:
            self._unanswered.pop(answer.request_id, None)
        is_finish = answer.request_id != "" and answer.request_id == self._finish_id
        match answer.WhichOneof("frame"):
            case "ready":
                return self._resume(answer.ready, outbox)
            case "directive" if answer.directive.directive == session_pb2.DIRECTIVE_CANCEL:
                self._run.cancelled.set()
            case "failure":
                logger.error("refused: %s", answer.failure.message)
                self._is_finished = self._is_finished or is_finish
                return is_finish
            case "receipt" if is_finish:
                # Answered twice: when it is stored, and when Orchestra has it.
                self._is_finished = True
                return answer.receipt.state != receipt_pb2.DELIVERY_STATE_STORED
        return False

    def _resume(self, ready: session_pb2.Ready, outbox: queue.SimpleQueue) -> bool:
        self._session_id = ready.session_id
        self._beat_s = ready.heartbeat_interval.ToTimedelta().total_seconds()
        self._lease_s = ready.lease_duration.ToTimedelta().total_seconds()
        self._is_finished = self._finish_id in ready.accepted_request_ids
        with self._lock:
            for accepted in ready.accepted_request_ids:
                self._unanswered.pop(accepted, None)
            for frame in self._unanswered.values():
                outbox.put(frame)
            self._outbox = outbox
        self._is_ready.set()
        return self._is_finished
