package taskgate.example;

import io.grpc.Channel;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.CompletableFuture;
import taskgate.example.SessionStream.Until;
import taskgate.v1.DeliveryState;
import taskgate.v1.Directive;
import taskgate.v1.Heartbeat;
import taskgate.v1.OnLost;
import taskgate.v1.Receipt;
import taskgate.v1.TaskRunStatus;
import taskgate.v1.TaskStatusServiceGrpc;
import taskgate.v1.TrackRunFinish;
import taskgate.v1.TrackRunOpen;
import taskgate.v1.TrackRunRequest;
import taskgate.v1.TrackRunResponse;
import taskgate.v1.TrackRunUpdate;

/** A run that the gateway reports as failed should this process die. */
final class TrackedRun {
  private final CompletableFuture<Void> cancelled = new CompletableFuture<>();
  private final SessionStream<TrackRunRequest, TrackRunResponse> stream;

  /** Opens a run and reports it as RUNNING. */
  TrackedRun(Channel channel, String taskRunId) {
    stream = new SessionStream<>(new Run(channel, taskRunId));
    stream.closed().exceptionally(
        error -> {
          cancelled.complete(null);
          return null;
        });
    stream.start();
    stream.ready().join();
  }

  /** Completes when nobody waits for the run any more. */
  CompletableFuture<Void> cancelled() {
    return cancelled;
  }

  /** Returns when the gateway has the message on disk. */
  void update(String message) {
    TrackRunUpdate update = TrackRunUpdate.newBuilder().setMessage(message).build();
    stream
        .send(
            Until.ACCEPTED,
            id -> TrackRunRequest.newBuilder().setRequestId(id).setUpdate(update).build())
        .join();
  }

  /** Returns when the outcome is settled; throws when Orchestra has refused it. */
  void finish(TaskRunStatus status, String message) {
    TrackRunFinish finish =
        TrackRunFinish.newBuilder().setStatus(status).setMessage(message).build();
    CompletableFuture<Receipt> settled =
        stream.send(
            Until.SETTLED,
            id -> TrackRunRequest.newBuilder().setRequestId(id).setFinish(finish).build());
    stream.end();
    Receipt receipt = settled.join();
    if (receipt.getState() == DeliveryState.DELIVERY_STATE_REJECTED) {
      throw new IllegalStateException(receipt.getFailure().getMessage());
    }
    stream.closed().join();
  }

  private final class Run implements SessionStream.Kind<TrackRunRequest, TrackRunResponse> {
    private final TaskStatusServiceGrpc.TaskStatusServiceStub taskStatus;
    private final String taskRunId;

    Run(Channel channel, String taskRunId) {
      this.taskStatus = TaskStatusServiceGrpc.newStub(channel);
      this.taskRunId = taskRunId;
    }

    @Override
    public StreamObserver<TrackRunRequest> call(StreamObserver<TrackRunResponse> answers) {
      // The run takes as long as it takes: no deadline.
      return taskStatus.trackRun(answers);
    }

    @Override
    public TrackRunRequest open(String sessionId) {
      TrackRunOpen open =
          TrackRunOpen.newBuilder()
              .setTaskRunId(taskRunId)
              .setOnLost(OnLost.ON_LOST_FAIL)
              .setSessionId(sessionId)
              .build();
      return TrackRunRequest.newBuilder().setOpen(open).build();
    }

    @Override
    public TrackRunRequest heartbeat() {
      return TrackRunRequest.newBuilder().setHeartbeat(Heartbeat.getDefaultInstance()).build();
    }

    @Override
    public boolean endsWithLease() {
      return true;
    }

    @Override
    public SessionStream.Answer read(TrackRunResponse frame) {
      return new SessionStream.Answer(
          frame.getRequestId(),
          frame.hasReady() ? frame.getReady() : null,
          frame.hasFailure() ? frame.getFailure() : null,
          frame.hasReceipt() ? frame.getReceipt() : null);
    }

    @Override
    public void onAnswer(TrackRunResponse frame) {
      if (frame.getDirective().getDirective() == Directive.DIRECTIVE_CANCEL) {
        cancelled.complete(null);
      }
    }
  }
}
