import { create, toBinary } from "@bufbuild/protobuf";
import { GatewayService } from "../gen/taskgate/v1/gateway_pb.ts";

const method = GatewayService.method.getInfo;

/** `GetInfo` as it is on the wire: the call that asks no upstream. */
export const getInfoCall = {
  path: `/${GatewayService.typeName}/${method.name}`,
  request: toBinary(method.input, create(method.input)),
};
