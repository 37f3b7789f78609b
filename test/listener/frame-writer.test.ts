import {
  create,
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescService,
  fromJson,
  type JsonObject,
  type Message,
  type MessageInitShape,
  ScalarType,
  toBinary,
} from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import {
  DescriptorProtoSchema,
  DurationSchema,
  FieldDescriptorProtoSchema,
  FileDescriptorProtoSchema,
  file_google_protobuf_wrappers,
  TypeSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import { CallbackService } from "../../gen/taskgate/v1/callback_pb.ts";
import { ExecutorService } from "../../gen/taskgate/v1/executor_pb.ts";
import { GatewayService } from "../../gen/taskgate/v1/gateway_pb.ts";
import { HeartbeatRunResponseSchema, TaskStatusService } from "../../gen/taskgate/v1/task_status_pb.ts";
import { createFrameWriter } from "../../src/listener/frame-writer.ts";

const services: DescService[] = [
  TaskStatusService,
  CallbackService,
  ExecutorService,
  GatewayService,
  Health,
  ServerReflection,
];
// Requests, too: they have what no answer has.
const served = services.flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output]));
// They have what the contract has not: defaults, packed numbers, doubles.
const others = [FileDescriptorProtoSchema, FieldDescriptorProtoSchema, TypeSchema];

// And these what nobody has, one each.
const rare = createFileRegistry(
  fromJson(FileDescriptorProtoSchema, {
    name: "rare.proto",
    dependency: ["google/protobuf/wrappers.proto"],
    messageType: [
      rareMessage("Wrapped", { type: "TYPE_MESSAGE", typeName: ".google.protobuf.StringValue" }),
      rareMessage("Zigzag", { type: "TYPE_SINT32" }),
      rareMessage("Long", { type: "TYPE_INT64", options: { jstype: "JS_STRING" } }),
      rareMessage("Required", { type: "TYPE_STRING", label: "LABEL_REQUIRED" }),
      {
        ...rareMessage("Grouped", { type: "TYPE_GROUP", typeName: ".Grouped.Value" }),
        nestedType: [rareMessage("Value", { type: "TYPE_STRING" })],
      },
    ],
  }),
  () => file_google_protobuf_wrappers,
);

function rareMessage(name: string, field: JsonObject) {
  return { name, field: [{ name: "value", number: 1, label: "LABEL_OPTIONAL", ...field }] };
}

function rareType(name: string): DescMessage {
  const schema = rare.getMessage(name);
  expect(schema).toBeDefined();
  return schema as DescMessage;
}

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.constantFrom("x".repeat(64), "x".repeat(65), "ö".repeat(64), "\ud800", "x".repeat(5000)),
);
const int32 = fc.oneof(fc.integer(), fc.constantFrom(0, 127, 128, 0x7fff_ffff, -0x8000_0000, -1));
const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.constantFrom(0n, 1n, -1n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 31n, 2n ** 32n, 2n ** 63n - 1n),
);

function scalar(type: ScalarType): fc.Arbitrary<unknown> {
  switch (type) {
    case ScalarType.STRING:
      return text;
    case ScalarType.BYTES:
      return fc.uint8Array({ maxLength: 300 });
    case ScalarType.BOOL:
      return fc.boolean();
    case ScalarType.INT64:
      return int64;
    case ScalarType.UINT64:
      return fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    case ScalarType.DOUBLE:
      return fc.double();
    case ScalarType.UINT32:
      return fc.integer({ min: 0, max: 0xffff_ffff });
    case ScalarType.INT32:
      return int32;
    default:
      throw new Error(`no values of ${ScalarType[type]}`);
  }
}

const member = ({ values }: DescEnum) => fc.constantFrom(...values.map(({ number }) => number));

function single(
  of: { message?: DescMessage | undefined; enum?: DescEnum | undefined; scalar?: ScalarType | undefined },
  depth: number,
): fc.Arbitrary<unknown> {
  if (of.message !== undefined) {
    return messages(of.message, depth - 1);
  }
  return of.enum === undefined ? scalar(of.scalar ?? ScalarType.STRING) : member(of.enum);
}

function values(field: DescField, depth: number): fc.Arbitrary<unknown> {
  switch (field.fieldKind) {
    case "list":
      return fc.array(single(field, depth), { maxLength: 4 });
    case "map":
      return fc.dictionary(fc.string(), single(field, depth), { maxKeys: 3 });
    default:
      return single(field, depth);
  }
}

/** Messages of a type, with any of its fields. */
function messages(schema: DescMessage, depth: number): fc.Arbitrary<unknown> {
  if (schema.typeName === ValueSchema.typeName) {
    return fc.jsonValue({ maxDepth: 2 }).map((json) => fromJson(ValueSchema, json as JsonObject));
  }
  if (schema.typeName === "google.protobuf.Struct") {
    return fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 1 }), { maxKeys: 3 });
  }
  const fields = schema.fields.filter(
    // It has fields that must be there, which nothing of ours has.
    ({ message }) => message?.name !== "UninterpretedOption" && (depth > 0 || message === undefined),
  );
  const own = fields.filter(({ oneof }) => oneof === undefined);
  const record = fc.record(
    {
      ...Object.fromEntries(own.map((field) => [field.localName, values(field, depth)])),
      ...Object.fromEntries(
        schema.oneofs
          .map(
            ({ localName, fields: cases }) =>
              [localName, cases.filter((each) => fields.includes(each))] as const,
          )
          .filter(([, cases]) => cases.length > 0)
          .map(([localName, cases]) => [
            localName,
            fc.oneof(
              ...cases.map((each) => values(each, depth).map((value) => ({ case: each.localName, value }))),
            ),
          ]),
      ),
    },
    { requiredKeys: [] },
  );
  return record.map((init) => create(schema, init as MessageInitShape<DescMessage>));
}

function expectSame(frame: Buffer, schema: DescMessage, message: Message): void {
  const expected = Buffer.from(toBinary(schema, message));
  expect(frame.subarray(5)).toEqual(expected);
  expect([frame[0], frame.readUInt32BE(1)]).toEqual([0, expected.length]);
}

describe("createFrameWriter", () => {
  it.each([...new Set([...served, ...others])].map((schema) => [schema.typeName, schema] as const))(
    "writes %s as the library does",
    (_, schema) => {
      const frameOf = createFrameWriter();
      fc.assert(
        fc.property(messages(schema, 3), (message) =>
          expectSame(frameOf(schema, message as Message), schema, message as Message),
        ),
        { numRuns: 50 },
      );
    },
  );

  it.each([
    ["a wrapper", "Wrapped", ""],
    ["a number in zigzag", "Zigzag", -5],
    ["a number that is text", "Long", "-77"],
    ["a required field", "Required", ""],
    ["a group", "Grouped", { $typeName: "Grouped.Value", value: "text" }],
  ])("gives %s to the library", (_, name, value) => {
    const schema = rareType(name);
    const message = create(schema, { value } as MessageInitShape<DescMessage>);
    expect(toBinary(schema, message).length).toBeGreaterThan(0);
    expectSame(createFrameWriter()(schema, message), schema, message);
  });

  it("refuses what a required field lacks", () => {
    const schema = rareType("Required");
    expect(() => createFrameWriter()(schema, create(schema))).toThrow("required field not set");
  });

  it("writes what is long and what is short in turn, into the same memory", () => {
    const frameOf = createFrameWriter();
    for (const length of [1, 127, 128, 4000, 16_384, 70_000, 0, 3_000_000, 5]) {
      const field = [{ name: "x".repeat(length) }];
      const message = create(DescriptorProtoSchema, { nestedType: [{ nestedType: [{ field }] }] });
      expectSame(frameOf(DescriptorProtoSchema, message), DescriptorProtoSchema, message);
    }
  });

  it("leaves a message alone that it has returned", () => {
    const frameOf = createFrameWriter();
    const first = frameOf(DurationSchema, create(DurationSchema, { seconds: 1n }));
    const before = Buffer.from(first);
    frameOf(DurationSchema, create(DurationSchema, { seconds: 2n }));
    expect(first).toEqual(before);
  });

  it("writes fields that are not known", () => {
    const message = create(DurationSchema, { seconds: 1n });
    message.$unknown = [{ no: 99, wireType: WireType.LengthDelimited, data: new Uint8Array([2, 7, 7]) }];
    expectSame(createFrameWriter()(DurationSchema, message), DurationSchema, message);
  });

  it("refuses what is no text", () => {
    const message = { ...create(HeartbeatRunResponseSchema), sessionId: 5 } as unknown as Message;
    expect(() => createFrameWriter()(HeartbeatRunResponseSchema, message)).toThrow(
      /session_id cannot hold 5/,
    );
  });

  it.each([
    ["half a number", { nanos: 0.5 }],
    ["no number", { nanos: Number.NaN }],
    ["a number of more than 32 bits", { nanos: 2 ** 31 }],
    ["a number of more than 64 bits", { seconds: 2n ** 63n }],
  ])("refuses %s, and writes the next message", (_, init) => {
    const frameOf = createFrameWriter();
    const message = create(HeartbeatRunResponseSchema, { sessionId: "before", leaseDuration: init });
    expect(() => toBinary(HeartbeatRunResponseSchema, message)).toThrow();
    expect(() => frameOf(HeartbeatRunResponseSchema, message)).toThrow(/nanos|seconds/);
    const next = create(DurationSchema, { seconds: 3n });
    expectSame(frameOf(DurationSchema, next), DurationSchema, next);
  });
});
