import type { Definition } from "./aidbox-definitions.ts";
import type { Queueable } from "./aidbox-ready-queue.ts";
import type { Stamp, TaskLogEntry, TaskResource } from "./aidbox-resource.ts";
import { type Random, uuid } from "./ids.ts";
import { formatJson, isJsonObject, type Json } from "./json.ts";

/** A task inside the sandbox. */
export interface TaskRecord extends Queueable {
  resource: TaskResource;
  readonly definition: Definition;
  /** Where it waits when it is ready, see `taskQueue` and `decisionQueue`. */
  readonly queue: string;
  /** It holds a place under its definition's concurrency limit. */
  isOut: boolean;
  /** Oldest first. */
  readonly log: TaskLogEntry[];
  /** By execId and call: how often it was accepted and refused. */
  readonly executions: Record<string, Record<string, { accepted: number; refused: number }>>;
  /** Stops the timer of its current status. */
  cancelTimer: () => void;
}

export function taskQueue(definition: string): string {
  return `task ${definition}`;
}

export function decisionQueue(workflowDefinition: string): string {
  return `decision ${workflowDefinition}`;
}

/** FACT: tasks with equal values at `concurrencyPath` share the limit; without a path all of a definition do. */
export function concurrencyGroup({ concurrencyPath = [] }: Definition, params: Json): string {
  let value: Json | undefined = { params };
  for (const key of concurrencyPath) {
    value = isJsonObject(value) ? value[key] : undefined;
  }
  return concurrencyPath.length === 0 ? "" : (formatJson(value) ?? "");
}

export interface Change {
  /** What is recorded as the reason, in the log. */
  readonly action: string;
  readonly actionParams?: Json;
  readonly set: Partial<TaskResource>;
  readonly drop?: readonly ("execId" | "executeAt")[];
}

const longestLog = 1000;

/** Replaces the resource of a record by its next version, and logs why. */
export function changeTask(record: TaskRecord, change: Change, stamp: Stamp, random: Random): void {
  const before = record.resource;
  const next: { -readonly [Key in keyof TaskResource]: TaskResource[Key] } = {
    ...before,
    ...change.set,
    meta: stamp(before.meta),
  };
  for (const field of change.drop ?? []) {
    delete next[field];
  }
  record.resource = next;
  if (record.log.length >= longestLog) {
    record.log.shift();
  }
  record.log.push({
    resourceType: "AidboxTaskLog",
    id: uuid(random),
    action: change.action,
    "action-params": change.actionParams ?? {},
    "status-before": before.status,
    "status-after": next.status,
    subject: { id: next.id, resourceType: "AidboxTask" },
    meta: stamp(),
  });
}

/** Counts a call about an execution, so that a test can prove that each took effect once. */
export function countCall(record: TaskRecord, execId: string, call: string, accepted: boolean): void {
  record.executions[execId] ??= {};
  const calls = record.executions[execId];
  calls[call] ??= { accepted: 0, refused: 0 };
  calls[call][accepted ? "accepted" : "refused"]++;
}
