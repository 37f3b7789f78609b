package taskgate.example;

import com.google.protobuf.Value;
import io.grpc.Channel;
import io.grpc.stub.StreamObserver;
import java.util.Map;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Function;
import taskgate.example.SessionStream.Until;
import taskgate.v1.Directive;
import taskgate.v1.DirectiveNotice;
import taskgate.v1.ExecutorServiceGrpc;
import taskgate.v1.Task;
import taskgate.v1.TaskAttempt;
import taskgate.v1.WorkFail;
import taskgate.v1.WorkHeartbeat;
import taskgate.v1.WorkRelease;
import taskgate.v1.WorkRequest;
import taskgate.v1.WorkResponse;
import taskgate.v1.WorkStart;
import taskgate.v1.WorkSubscribe;
import taskgate.v1.WorkSucceed;

/** Performs tasks of Aidbox, as many at once as it may. */
final class Worker {
  private final String definition;
  private final int maxInFlight;
  private final Function<Value, String> perform;
  private final ExecutorServiceGrpc.ExecutorServiceStub executor;
  private final ExecutorService threads = Executors.newCachedThreadPool();
  // By attempt: a task that comes back is another one.
  private final Map<TaskAttempt, Future<?>> held = new ConcurrentHashMap<>();
  private final AtomicInteger ended = new AtomicInteger();
  private final SessionStream<WorkRequest, WorkResponse> stream;
  private volatile boolean isDraining;

  /**
   * @param definition the task definition, {@code namespace/name}
   * @param maxInFlight how many tasks are performed at once
   * @param perform makes the result, as JSON text, of a task's parameters; what it throws fails the task, and it is
   *     interrupted when nobody waits any more
   */
  Worker(Channel channel, String definition, int maxInFlight, Function<Value, String> perform) {
    this.definition = definition;
    this.maxInFlight = maxInFlight;
    this.perform = perform;
    this.executor = ExecutorServiceGrpc.newStub(channel);
    this.stream = new SessionStream<>(new Work());
  }

  /** Works until it was drained; returns the number of tasks that it has ended. */
  int run() {
    stream.start();
    try {
      stream.closed().join();
    } finally {
      threads.shutdownNow();
    }
    return ended.get();
  }

  /** Takes no more tasks, and ends when those that it has are done. */
  synchronized void drain() {
    isDraining = true;
    stream.send(Until.ACCEPTED, id -> subscribe().setRequestId(id).build());
    endIfDrained();
  }

  private WorkRequest.Builder subscribe() {
    return WorkRequest.newBuilder()
        .setSubscribe(
            WorkSubscribe.newBuilder()
                .addTaskDefinitions(definition)
                .setMaxInFlight(isDraining ? 0 : maxInFlight));
  }

  private synchronized void take(Task task) {
    TaskAttempt attempt =
        TaskAttempt.newBuilder().setId(task.getId()).setExecId(task.getExecId()).build();
    // After a break a task is pushed again whose start has not come to the gateway.
    if (held.containsKey(attempt)) {
      return;
    }
    if (isDraining) {
      WorkRelease release =
          WorkRelease.newBuilder().setId(task.getId()).setExecId(task.getExecId()).build();
      stream.send(Until.ACCEPTED, id -> WorkRequest.newBuilder().setRequestId(id).setRelease(release).build());
      return;
    }
    held.computeIfAbsent(attempt, key -> threads.submit(() -> work(task, key)));
  }

  private void work(Task task, TaskAttempt attempt) {
    try {
      WorkStart start =
          WorkStart.newBuilder().setId(task.getId()).setExecId(task.getExecId()).build();
      // Refused where another worker has the task by now.
      stream.send(Until.ACCEPTED, id -> WorkRequest.newBuilder().setRequestId(id).setStart(start).build()).join();
      WorkRequest.Builder outcome = outcome(task);
      if (!held.containsKey(attempt)) {
        // Lost with its session: it is another's.
        return;
      }
      stream.send(Until.ACCEPTED, id -> outcome.setRequestId(id).build()).join();
      ended.incrementAndGet();
    } catch (CompletionException refused) {
      System.err.println("task " + task.getId() + ": " + refused.getCause().getMessage());
    } finally {
      held.remove(attempt);
      endIfDrained();
    }
  }

  private WorkRequest.Builder outcome(Task task) {
    WorkRequest.Builder request = WorkRequest.newBuilder();
    try {
      return request.setSucceed(
          WorkSucceed.newBuilder()
              .setId(task.getId())
              .setExecId(task.getExecId())
              .setResultJson(perform.apply(task.getParams())));
    } catch (RuntimeException error) {
      return request.setFail(
          WorkFail.newBuilder()
              .setId(task.getId())
              .setExecId(task.getExecId())
              .setError(Value.newBuilder().setStringValue(error.toString())));
    }
  }

  private synchronized void endIfDrained() {
    if (isDraining && held.isEmpty()) {
      stream.end();
    }
  }

  private final class Work implements SessionStream.Kind<WorkRequest, WorkResponse> {
    @Override
    public StreamObserver<WorkRequest> call(StreamObserver<WorkResponse> answers) {
      // A worker stays: no deadline.
      return executor.work(answers);
    }

    @Override
    public WorkRequest open(String sessionId) {
      WorkRequest.Builder request = subscribe();
      request.getSubscribeBuilder().setSessionId(sessionId);
      return request.build();
    }

    @Override
    public WorkRequest heartbeat() {
      return WorkRequest.newBuilder()
          .setHeartbeat(WorkHeartbeat.newBuilder().addAllTasks(held.keySet()))
          .build();
    }

    @Override
    public boolean endsWithLease() {
      return false;
    }

    @Override
    public void onSessionUnknown() {
      held.values().forEach(work -> work.cancel(true));
      held.clear();
      endIfDrained();
    }

    @Override
    public SessionStream.Answer read(WorkResponse frame) {
      return new SessionStream.Answer(
          frame.getRequestId(),
          frame.hasReady() ? frame.getReady() : null,
          frame.hasFailure() ? frame.getFailure() : null,
          frame.getAck().hasReceipt() ? frame.getAck().getReceipt() : null);
    }

    @Override
    public void onAnswer(WorkResponse frame) {
      DirectiveNotice notice = frame.getDirective();
      if (frame.hasTask()) {
        take(frame.getTask());
      } else if (notice.getDirective() == Directive.DIRECTIVE_CANCEL) {
        Future<?> work =
            held.get(
                TaskAttempt.newBuilder().setId(notice.getTaskId()).setExecId(notice.getExecId()).build());
        if (work != null) {
          work.cancel(true);
        }
      }
    }
  }
}
