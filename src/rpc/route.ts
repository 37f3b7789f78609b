import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

/** A service with its implementation. */
export interface Route {
  service: DescService;
  implementation: Partial<ServiceImpl<DescService>>;
}

/** Pairs a service with an implementation that fits it. */
export function createRoute<Service extends DescService>(
  service: Service,
  implementation: Partial<ServiceImpl<Service>>,
): Route {
  return { service, implementation: implementation as Route["implementation"] };
}
