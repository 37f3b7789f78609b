package taskgate.example;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Value;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import taskgate.v1.CallbackServiceGrpc;
import taskgate.v1.CompleteCallbackRequest;
import taskgate.v1.JobResult;
import taskgate.v1.Receipt;
import taskgate.v1.ReportCallbackProgressRequest;
import taskgate.v1.SetOutputRequest;
import taskgate.v1.TaskRunStatus;
import taskgate.v1.TaskStatusServiceGrpc;
import taskgate.v1.UpdateTaskRequest;

/** What a task says to its gateway, one command each. */
public final class Main {
  private static final int CALL_SECONDS = 30;

  private final ManagedChannel channel;

  private Main(ManagedChannel channel) {
    this.channel = channel;
  }

  public static void main(String[] args) throws Exception {
    ManagedChannel channel =
        GatewayChannel.connect(env("TASKGATE_ADDRESS", "127.0.0.1:7450"), env("TASKGATE_TOKEN", ""));
    Main main = new Main(channel);
    try {
      switch (args.length == 1 ? args[0] : "") {
        case "report" -> main.report(env("ORCHESTRA_TASK_RUN_ID", ""));
        case "errors" -> main.errors();
        case "track" -> main.track(env("ORCHESTRA_TASK_RUN_ID", ""));
        case "die" -> main.die(env("ORCHESTRA_TASK_RUN_ID", ""));
        case "callback" -> main.callback(env("CALLBACK_ROUTE", ""));
        case "work" ->
            main.work(env("AIDBOX_DEFINITION", ""), Integer.parseInt(env("AIDBOX_TASKS", "100")));
        default ->
            throw new IllegalArgumentException("give one of report, errors, track, die, callback, work");
      }
    } finally {
      channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  /** Reports a run by single calls. */
  private void report(String taskRunId) {
    UpdateTaskRequest running =
        UpdateTaskRequest.newBuilder()
            .setTaskRunId(taskRunId)
            .setStatus(TaskRunStatus.TASK_RUN_STATUS_RUNNING)
            .setMessage("extract started")
            // With an id of its own a call may be repeated.
            .setRequestId(UUID.randomUUID().toString())
            .build();
    print(taskStatus().updateTask(running).getReceipt());

    SetOutputRequest output =
        SetOutputRequest.newBuilder()
            .setTaskRunId(taskRunId)
            .setName("row_count")
            .setValue(Value.newBuilder().setNumberValue(1200))
            .setRequestId(UUID.randomUUID().toString())
            .build();
    print(taskStatus().setOutput(output).getReceipt());

    // An outcome waits until Orchestra has it.
    UpdateTaskRequest succeeded =
        UpdateTaskRequest.newBuilder()
            .setTaskRunId(taskRunId)
            .setStatus(TaskRunStatus.TASK_RUN_STATUS_SUCCEEDED)
            .build();
    print(taskStatus().updateTask(succeeded).getReceipt());
  }

  /** Reads why a call was refused. */
  private void errors() throws InvalidProtocolBufferException {
    UpdateTaskRequest request =
        UpdateTaskRequest.newBuilder()
            .setTaskRunId("not-a-uuid")
            .setStatus(TaskRunStatus.TASK_RUN_STATUS_RUNNING)
            .build();
    try {
      taskStatus().updateTask(request);
    } catch (StatusRuntimeException error) {
      String reason = "";
      String field = "";
      for (Any detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          reason = detail.unpack(ErrorInfo.class).getReason();
        } else if (detail.is(BadRequest.class)) {
          field = detail.unpack(BadRequest.class).getFieldViolations(0).getField();
        }
      }
      switch (reason) {
        case "INVALID_REQUEST" -> System.out.println("reason=" + reason + " field=" + field);
        default -> throw error;
      }
      return;
    }
    throw new IllegalStateException("the call was not refused");
  }

  /** Tracks a run: should this process die, the gateway reports it as failed. */
  private void track(String taskRunId) throws InterruptedException {
    TrackedRun run = new TrackedRun(channel, taskRunId);
    for (int part = 1; part <= 3; part++) {
      Thread.sleep(300);
      run.update(part + " of 3 parts");
    }
    run.finish(TaskRunStatus.TASK_RUN_STATUS_SUCCEEDED, "3 parts");
    System.out.println("finished");
  }

  /** Tracks a run that does not end. */
  private void die(String taskRunId) {
    TrackedRun run = new TrackedRun(channel, taskRunId);
    System.out.println("tracking");
    run.cancelled().join();
  }

  /** Gives a process of the Workflow Orchestrator the result that it waits for. */
  private void callback(String route) {
    ReportCallbackProgressRequest progress =
        ReportCallbackProgressRequest.newBuilder()
            .setCallbackRoute(route)
            .setText("3 of 10 hosts")
            .build();
    callbacks().reportCallbackProgress(progress);

    CompleteCallbackRequest result =
        CompleteCallbackRequest.newBuilder()
            .setCallbackRoute(route)
            .setResult(
                JobResult.newBuilder()
                    .setJobId("playbook-7")
                    .addOutput("10 hosts changed")
                    .setReturnCode(0)
                    .setStatus("successful"))
            .build();
    print(callbacks().completeCallback(result).getReceipt());
  }

  /** Performs tasks of Aidbox until there were so many. */
  private void work(String definition, int count) {
    AtomicInteger begun = new AtomicInteger();
    // Drains itself, so it has to know itself.
    Worker[] worker = new Worker[1];
    worker[0] =
        new Worker(
            channel,
            definition,
            4,
            params -> {
              if (begun.incrementAndGet() == count) {
                worker[0].drain();
              }
              long number =
                  (long) params.getStructValue().getFieldsOrThrow("number").getNumberValue();
              return "{\"square\":" + number * number + "}";
            });
    System.out.println("done " + worker[0].run());
  }

  // A deadline begins when it is set, so each call gets its own.
  private TaskStatusServiceGrpc.TaskStatusServiceBlockingStub taskStatus() {
    return TaskStatusServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS);
  }

  private CallbackServiceGrpc.CallbackServiceBlockingStub callbacks() {
    return CallbackServiceGrpc.newBlockingStub(channel)
        .withDeadlineAfter(CALL_SECONDS, TimeUnit.SECONDS);
  }

  private static void print(Receipt receipt) {
    System.out.println(receipt.getState().name().replace("DELIVERY_STATE_", ""));
  }

  private static String env(String name, String otherwise) {
    return System.getenv().getOrDefault(name, otherwise);
  }
}
