import { timestampDate } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import type { Delivery } from "../../gen/taskgate/v1/gateway_pb.ts";
import { DeliveryState, DeliveryStateSchema } from "../../gen/taskgate/v1/receipt_pb.ts";
import type { DeliveryFilter } from "../model/delivery-desk.ts";
import { messageOf } from "../model/error-message.ts";
import { type CliContext, exitCodes } from "./cli-context.ts";
import { type OutboxAccess, openOutboxAccess } from "./outbox-access.ts";
import { readCommandLine } from "./read-config.ts";

const usage = `usage: taskgate outbox list [--upstream NAME] [--state STATE] [--task ID]
       taskgate outbox retry DELIVERY_ID...
       taskgate outbox discard DELIVERY_ID...
`;

/**
 * `taskgate outbox`: shows and moves what is stored, through the gateway that runs
 * or, when none does, in its directory.
 */
export async function runOutbox(context: CliContext): Promise<number> {
  const [action = "", ...args] = context.args;
  const line = await readCommandLine(
    { ...context, args },
    { flags: ["upstream", "state", "task"], allowPositionals: true },
  );
  if (line === undefined) {
    return exitCodes.usage;
  }
  const { config, flags, positionals } = line;
  const isList = action === "list";
  const state = flags.state === undefined ? undefined : stateOf(flags.state);
  const isWrong = isList
    ? positionals.length > 0 || (flags.state !== undefined && state === undefined)
    : !["retry", "discard"].includes(action) || positionals.length === 0;
  if (isWrong) {
    context.printError(usage);
    return exitCodes.usage;
  }
  let access: OutboxAccess | undefined;
  try {
    access = await openOutboxAccess(config);
    if (access.damage !== undefined) {
      context.printError(`taskgate: ${access.damage}\n`);
    }
    if (isList) {
      const { upstream, task: taskId } = flags;
      await list(context, access, { upstream, taskId, states: state === undefined ? undefined : [state] });
      return exitCodes.ok;
    }
    return await move(context, access, action as "retry" | "discard", positionals);
  } catch (error) {
    const message = error instanceof ConnectError ? error.rawMessage : messageOf(error);
    context.printError(`taskgate: ${message}\n`);
    return exitCodes.startFailed;
  } finally {
    await access?.close();
  }
}

async function list(context: CliContext, access: OutboxAccess, filter: DeliveryFilter): Promise<void> {
  let token = "";
  do {
    const page = await access.list(filter, token);
    context.print(page.deliveries.map(lineOf).join(""));
    token = page.nextToken;
  } while (token !== "");
}

async function move(
  context: CliContext,
  access: OutboxAccess,
  action: "retry" | "discard",
  ids: readonly string[],
): Promise<number> {
  let code: number = exitCodes.ok;
  for (const id of ids) {
    const result = await access[action](id);
    if (result.kind === "moved") {
      context.print(lineOf(result.delivery));
    } else {
      const why = result.kind === "unknown" ? "there is no such delivery" : result.why;
      context.printError(`taskgate: ${id}: ${why}\n`);
      code = exitCodes.startFailed;
    }
  }
  return code;
}

function lineOf(delivery: Delivery): string {
  const { receipt, upstream, operation, taskId, taskAttempt } = delivery;
  const time = receipt?.createTime === undefined ? "" : timestampDate(receipt.createTime).toISOString();
  const words = [
    receipt?.deliveryId,
    time,
    `${stateName(receipt?.state)}${receipt?.inDoubt === true ? " (in doubt)" : ""}`,
    upstream,
    operation,
    taskAttempt === "" ? taskId : `${taskId} attempt ${taskAttempt}`,
    `${receipt?.attempts} attempts`,
    receipt?.failure?.message ?? "",
  ];
  return `${words.join("  ").trimEnd()}\n`;
}

function stateOf(name: string): DeliveryState | undefined {
  const value = DeliveryStateSchema.values.find(({ localName }) => localName === name.toUpperCase());
  return value === undefined || value.number === DeliveryState.UNSPECIFIED
    ? undefined
    : (value.number as DeliveryState);
}

function stateName(state: DeliveryState | undefined): string {
  return DeliveryStateSchema.value[state ?? 0]?.localName ?? "";
}
