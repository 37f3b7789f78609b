import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { LimitsSchema } from "../../gen/taskgate/v1/session_pb.ts";
import type { Limits } from "../model/limits.ts";

/** The limits as clients are told of them. */
export function limitsMessage(limits: Limits): MessageInitShape<typeof LimitsSchema> {
  return {
    maxMessageBytes: BigInt(limits.maxMessageBytes),
    maxPayloadBytes: BigInt(limits.maxPayloadBytes),
    maxLogBytes: BigInt(limits.maxLogBytes),
    maxPayloadDepth: limits.maxPayloadDepth,
    maxCallDuration: durationFromMs(limits.maxWaitMs),
    defaultCallDuration: durationFromMs(limits.defaultWaitMs),
  };
}
