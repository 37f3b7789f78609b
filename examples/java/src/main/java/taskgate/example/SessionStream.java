package taskgate.example;

import com.google.protobuf.Duration;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.stub.StreamObserver;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import taskgate.v1.DeliveryState;
import taskgate.v1.Failure;
import taskgate.v1.Ready;
import taskgate.v1.Receipt;

/**
 * A stream that beats. When its connection breaks, or the gateway goes away, it is opened again with its session, and
 * what was not accepted is sent again. Where the gateway knows the session no more, because its data is gone, another is
 * opened.
 *
 * @param <Q> the frames of the client
 * @param <A> the frames of the gateway
 */
final class SessionStream<Q, A> {
  /** What one kind of stream has of its own. */
  interface Kind<Q, A> {
    StreamObserver<Q> call(StreamObserver<A> answers);

    /** The first frame; the session to resume is empty the first time. */
    Q open(String sessionId);

    Q heartbeat();

    /**
     * Gives up when the gateway was not reached for a whole lease, or knows the session no more; otherwise tries for ever.
     */
    boolean endsWithLease();

    /** The gateway knows the session no more, nor what it held; a new one will be opened. */
    default void onSessionUnknown() {}

    /** Reads a frame of the gateway. */
    Answer read(A frame);

    /** Hears every frame of the gateway, one after the other. */
    void onAnswer(A frame);
  }

  /** What the frames of all kinds have; null where it is not set. */
  record Answer(String requestId, Ready ready, Failure failure, Receipt receipt) {}

  /** How far a frame must have come. */
  enum Until {
    /** The gateway has it. */
    ACCEPTED,
    /** The upstream has taken or refused it. */
    SETTLED
  }

  private record Waiting<Q>(Q frame, Until until, CompletableFuture<Receipt> answered) {}

  private static final Metadata.Key<String> REASON =
      Metadata.Key.of("taskgate-reason", Metadata.ASCII_STRING_MARSHALLER);
  private static final long RETRY_DELAY_MS = 500;

  private final Kind<Q, A> kind;
  private final ScheduledExecutorService timer =
      Executors.newSingleThreadScheduledExecutor(
          task -> {
            Thread thread = new Thread(task, "taskgate-beats");
            thread.setDaemon(true);
            return thread;
          });
  private final CompletableFuture<Void> ready = new CompletableFuture<>();
  private final CompletableFuture<Void> closed = new CompletableFuture<>();
  private final Map<String, Waiting<Q>> waiting = new LinkedHashMap<>();
  private StreamObserver<Q> requests;
  private String sessionId = "";
  private long leaseMs = 30_000;
  private long heardNanos = System.nanoTime();
  private boolean hasEnded;

  SessionStream(Kind<Q, A> kind) {
    this.kind = kind;
  }

  /** Opens it, once. */
  void start() {
    connect();
  }

  /** Completes when the gateway knows the session. */
  CompletableFuture<Void> ready() {
    return ready;
  }

  /** Completes when the gateway has closed the stream, everything settled. */
  CompletableFuture<Void> closed() {
    return closed;
  }

  /**
   * Sends a frame, which is made with its request id. Completes when it has come so far, with the receipt where there
   * is one; exceptionally when the gateway has refused it.
   */
  synchronized CompletableFuture<Receipt> send(Until until, Function<String, Q> frame) {
    String requestId = UUID.randomUUID().toString();
    Waiting<Q> one = new Waiting<>(frame.apply(requestId), until, new CompletableFuture<>());
    if (closed.isDone()) {
      one.answered.completeExceptionally(new IllegalStateException("the stream is closed"));
      return one.answered;
    }
    waiting.put(requestId, one);
    if (requests != null) {
      requests.onNext(one.frame);
    }
    return one.answered;
  }

  /** Says that nothing more will be sent. */
  synchronized void end() {
    if (!hasEnded && requests != null) {
      requests.onCompleted();
    }
    hasEnded = true;
  }

  private synchronized void connect() {
    Connection connection = new Connection();
    connection.requests = kind.call(connection);
    connection.requests.onNext(kind.open(sessionId));
  }

  // What waits for its end is sent again after a break, although it was accepted: that is safe, and answered with the
  // receipt.
  private void accept(String requestId, Receipt receipt) {
    Waiting<Q> one = waiting.get(requestId);
    boolean isSettled = receipt != null && receipt.getState() != DeliveryState.DELIVERY_STATE_STORED;
    if (one != null && (one.until == Until.ACCEPTED || isSettled)) {
      waiting.remove(requestId);
      one.answered.complete(receipt);
    }
  }

  private void close(Throwable problem) {
    timer.shutdown();
    Throwable reason =
        problem != null ? problem : new IllegalStateException("the gateway has closed the stream");
    if (problem == null) {
      closed.complete(null);
    } else {
      closed.completeExceptionally(problem);
    }
    ready.completeExceptionally(reason);
    failWaiting(reason);
  }

  private void failWaiting(Throwable reason) {
    waiting.values().forEach(one -> one.answered.completeExceptionally(reason));
    waiting.clear();
  }

  /** One connection of the stream. */
  private final class Connection implements StreamObserver<A> {
    private StreamObserver<Q> requests;
    private ScheduledFuture<?> beats;

    @Override
    public void onNext(A frame) {
      Answer answer = kind.read(frame);
      synchronized (SessionStream.this) {
        heardNanos = System.nanoTime();
        if (answer.ready != null) {
          resume(answer.ready);
        } else if (answer.failure != null) {
          Waiting<Q> one = waiting.remove(answer.requestId);
          if (one != null) {
            String what = answer.failure.getReason() + ": " + answer.failure.getMessage();
            one.answered.completeExceptionally(new IllegalStateException(what));
          }
        } else {
          accept(answer.requestId, answer.receipt);
        }
      }
      kind.onAnswer(frame);
    }

    @Override
    public void onError(Throwable error) {
      synchronized (SessionStream.this) {
        leave();
        if (kind.endsWithLease() || !isNotFound(error) || sessionId.isEmpty()) {
          long silentMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - heardNanos);
          boolean isLate = kind.endsWithLease() && silentMs > leaseMs;
          if (isBroken(error) && !isLate) {
            connectLater();
          } else {
            close(error);
          }
          return;
        }
        sessionId = "";
        failWaiting(error);
      }
      // Outside the lock: it may call back.
      kind.onSessionUnknown();
      connectLater();
    }

    @Override
    public void onCompleted() {
      synchronized (SessionStream.this) {
        leave();
        if (hasEnded) {
          close(null);
        } else {
          // The gateway goes away.
          connectLater();
        }
      }
    }

    private void resume(Ready ready) {
      sessionId = ready.getSessionId();
      leaseMs = toMillis(ready.getLeaseDuration());
      ready.getAcceptedRequestIdsList().forEach(requestId -> accept(requestId, null));
      waiting.values().forEach(one -> requests.onNext(one.frame));
      SessionStream.this.requests = requests;
      long beatMs = toMillis(ready.getHeartbeatInterval());
      beats = timer.scheduleAtFixedRate(this::beat, beatMs, beatMs, TimeUnit.MILLISECONDS);
      if (hasEnded) {
        requests.onCompleted();
      }
      SessionStream.this.ready.complete(null);
    }

    private void beat() {
      synchronized (SessionStream.this) {
        if (!hasEnded && SessionStream.this.requests == requests) {
          requests.onNext(kind.heartbeat());
        }
      }
    }

    private void connectLater() {
      timer.schedule(SessionStream.this::connect, RETRY_DELAY_MS, TimeUnit.MILLISECONDS);
    }

    private void leave() {
      SessionStream.this.requests = null;
      if (beats != null) {
        beats.cancel(false);
      }
    }
  }

  private static long toMillis(Duration duration) {
    return TimeUnit.SECONDS.toMillis(duration.getSeconds())
        + TimeUnit.NANOSECONDS.toMillis(duration.getNanos());
  }

  private static boolean isNotFound(Throwable error) {
    return Status.fromThrowable(error).getCode() == Status.Code.NOT_FOUND;
  }

  // What the gateway itself says carries a reason, and is final unless it is going away.
  private static boolean isBroken(Throwable error) {
    Metadata trailers = Status.trailersFromThrowable(error);
    return Status.fromThrowable(error).getCode() == Status.Code.UNAVAILABLE
        || trailers == null
        || !trailers.containsKey(REASON);
  }
}
