import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { grpcClient } from "../support/clients.ts";
import { streamClients } from "../support/streams.ts";
import { useDirectory } from "../support/use-directory.ts";
import { useGateway } from "../support/use-gateway.ts";
import { useSandbox } from "../support/use-sandbox.ts";

const rpc = ExecutorService.method;

/** A gateway to a sandbox's Aidbox with callers of all kinds. */
async function useCallers() {
  const directory = useDirectory();
  const names = ["anna", "limited", "decider", "boss"];
  for (const name of names) {
    writeFileSync(join(directory, name), `token-of-${name}`);
  }
  const file = `
callers:
  anna: {roles: [worker, client], tokenFile: ${directory}/anna}
  limited: {roles: [worker, client], tokenFile: ${directory}/limited, taskDefinitions: [a/mine]}
  decider: {roles: worker, tokenFile: ${directory}/decider, workflowDefinitions: [w/mine]}
  boss: {roles: operator, tokenFile: ${directory}/boss}
`;
  const sandbox = await useSandbox();
  const { url } = await useGateway({}, sandboxSettings(sandbox), file);
  const headersOf = (name: string) => ({ authorization: `Bearer token-of-${name}` });
  return { url, headersOf, as: (name: string) => grpcClient.connect(url, headersOf(name)) };
}

test("each caller may do what its roles say", async () => {
  const { as } = await useCallers();
  const poll = { taskDefinitions: ["a/mine"] };
  expect(await as("anna").call(rpc.pollTasks, poll)).toMatchObject({ tasks: [] });
  expect(await as("boss").fail(rpc.pollTasks, poll)).toMatchObject({ code: Code.PermissionDenied });
  expect(await as("decider").fail(rpc.listTasks, {})).toMatchObject({ code: Code.PermissionDenied });
  expect(await as("anna").fail(GatewayService.method.listSessions, {})).toMatchObject({
    code: Code.PermissionDenied,
    message: "the call needs the role operator",
  });
  expect(await as("boss").call(GatewayService.method.listSessions, {})).toMatchObject({ sessions: [] });
  expect(await as("nobody").fail(rpc.pollTasks, poll)).toMatchObject({
    code: Code.Unauthenticated,
    reason: "TOKEN_INVALID",
  });
});

test("a caller that is limited takes tasks of its own definitions, and no others", async () => {
  const { as } = await useCallers();
  const refused = { code: Code.PermissionDenied, reason: "NOT_PERMITTED" };
  const others = { taskDefinitions: ["a/mine", "a/other"] };
  expect(await as("limited").fail(rpc.pollTasks, others)).toMatchObject({
    ...refused,
    message: "the caller may not have to do with task definition a/other",
  });
  expect(await as("limited").fail(rpc.longPollTasks, others)).toMatchObject(refused);
  const workflows = { workflowDefinitions: ["w/mine"] };
  expect(await as("limited").fail(rpc.pollTasks, workflows)).toMatchObject(refused);
  expect(await as("decider").call(rpc.pollTasks, workflows)).toMatchObject({ tasks: [] });
  expect(await as("decider").fail(rpc.pollTasks, { taskDefinitions: ["a/mine"] })).toMatchObject(refused);
  expect(await as("limited").call(rpc.pollTasks, { taskDefinitions: ["a/mine"] })).toMatchObject({
    tasks: [],
  });
});

test.each(streamClients)(
  "a worker that is limited gets no others on its stream, over $name",
  async (client) => {
    const { url, headersOf, as } = await useCallers();
    const refused = client.open(url, rpc.work, headersOf("limited"));
    refused.send({ requestId: "1", frame: { case: "subscribe", value: { taskDefinitions: ["a/other"] } } });
    await expect(refused.next()).rejects.toMatchObject({ code: Code.PermissionDenied });
    const stream = client.open(url, rpc.work, headersOf("limited"));
    stream.send({ requestId: "1", frame: { case: "subscribe", value: { taskDefinitions: ["a/mine"] } } });
    expect((await stream.next())?.frame.case).toBe("ready");
    for (const definition of ["a/other", "a/mine"]) {
      await as("anna").call(rpc.createTask, { definition });
    }
    expect((await stream.next())?.frame).toMatchObject({ case: "task", value: { definition: "a/mine" } });
    stream.cancel();
  },
);

test("for a client that is limited, what has other definitions does not exist", async () => {
  const { as } = await useCallers();
  const limited = as("limited");
  const { task: other } = await as("anna").call(rpc.createTask, { definition: "a/other" });
  const { task: mine } = await limited.call(rpc.createTask, { definition: "a/mine" });
  expect(await limited.fail(rpc.createTask, { definition: "a/other" })).toMatchObject({
    code: Code.PermissionDenied,
  });
  expect(await limited.fail(rpc.createWorkflow, { definition: "w/mine" })).toMatchObject({
    code: Code.PermissionDenied,
  });
  const unknown = { code: Code.NotFound, reason: "TASK_UNKNOWN" };
  const id = other?.id ?? "";
  expect(await limited.fail(rpc.getTask, { id })).toMatchObject(unknown);
  expect(await limited.fail(rpc.cancelTask, { id })).toMatchObject(unknown);
  expect((await as("anna").call(rpc.getTask, { id })).task).toMatchObject({
    definition: "a/other",
    outcome: "",
  });
  expect((await limited.call(rpc.listTasks, {})).tasks.map((task) => task.id)).toEqual([mine?.id]);
  expect((await as("anna").call(rpc.listTasks, {})).tasks).toHaveLength(2);
  expect((await limited.call(rpc.cancelTask, { id: mine?.id ?? "" })).task?.outcome).toBe("canceled");
});

test("the same holds for workflows", async () => {
  const { as } = await useCallers();
  const { workflow } = await as("anna").call(rpc.createWorkflow, { definition: "w/other" });
  const id = workflow?.id ?? "";
  const limited = as("limited");
  expect(await limited.fail(rpc.getWorkflow, { id })).toMatchObject({ code: Code.NotFound });
  expect(await limited.fail(rpc.cancelWorkflow, { id })).toMatchObject({ code: Code.NotFound });
  expect((await limited.call(rpc.listWorkflows, {})).workflows).toEqual([]);
  expect((await as("anna").call(rpc.listWorkflows, {})).workflows).toHaveLength(1);
});
