import { Code } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { LaneContext } from "../../src/listener/lane-context.ts";

const method = GatewayService.method.getInfo;

describe("the signal of a call", () => {
  test("that was asked for before its end is aborted by it, once", () => {
    const context = new LaneContext(method, {}, undefined);
    const onAbort = vi.fn();
    context.signal.addEventListener("abort", onAbort);
    context.leave();
    context.leave();
    expect(onAbort).toHaveBeenCalledOnce();
    expect(context.signal.reason).toMatchObject({ code: Code.Canceled });
  });

  test("that is asked for behind its end is aborted already, with the same reason", () => {
    const context = new LaneContext(method, {}, undefined);
    const onEnd = vi.fn();
    context.onEnd = onEnd;
    context.leave();
    expect(onEnd).toHaveBeenCalledOnce();
    expect(context.signal.aborted).toBe(true);
    expect(context.signal.reason).toMatchObject({ code: Code.Canceled });
    expect(context.signal).toBe(context.signal);
  });

  test("says that the deadline has passed, whenever it is asked for", async () => {
    const context = new LaneContext(method, {}, 5);
    await new Promise<void>((resolve) => {
      context.onEnd = resolve;
    });
    expect(context.signal.reason).toMatchObject({ code: Code.DeadlineExceeded });
  });

  test("stays as it is when the call was answered", () => {
    const context = new LaneContext(method, {}, 50);
    context.release();
    context.leave();
    expect(context.signal.aborted).toBe(false);
  });
});
