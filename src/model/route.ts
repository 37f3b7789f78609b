import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import type { Access } from "./access.ts";

/** A service with its implementation, and who may call its methods. */
export interface Route {
  service: DescService;
  implementation: Partial<ServiceImpl<DescService>>;
  /** By the method's name, for example `UpdateTask`. */
  access: (method: string) => Access;
}

/** Pairs a service with an implementation that fits it. */
export function createRoute<Service extends DescService>(
  service: Service,
  implementation: Partial<ServiceImpl<Service>>,
  access: Access | ((method: string) => Access),
): Route {
  return {
    service,
    implementation: implementation as Route["implementation"],
    access: typeof access === "function" ? access : () => access,
  };
}

/** The path under which a method is called. */
export function pathOf(service: DescService, method: string): string {
  return `/${service.typeName}/${method}`;
}
