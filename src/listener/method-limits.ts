import { pathOf, type Route } from "../model/route.ts";

/** The largest message of a call that everybody may make, in bytes: the name of a service. */
export const maxPublicMessageBytes = 4 * 1024;

/** What the calls of a method may use. */
export interface MethodLimits {
  /** Nobody needs a token for it. */
  isPublic: boolean;
  maxMessageBytes: number;
}

/** What the calls of each method may use, by its path. */
export function createMethodLimits(
  routes: readonly Route[],
  maxMessageBytes: number,
): ReadonlyMap<string, MethodLimits> {
  return new Map(
    routes.flatMap((route) => {
      const limits = methodLimitsOf(route, maxMessageBytes);
      return route.service.methods.map(({ name }) => [pathOf(route.service, name), limits] as const);
    }),
  );
}

/**
 * What the calls of a route's methods may use. A service that has methods for the
 * public takes small messages only: what nobody has a token for must not use up the
 * room that those who have one share.
 */
export function methodLimitsOf({ service, access }: Route, maxMessageBytes: number): MethodLimits {
  const isPublic = service.methods.some(({ name }) => access(name) === "public");
  return {
    isPublic,
    maxMessageBytes: isPublic ? Math.min(maxMessageBytes, maxPublicMessageBytes) : maxMessageBytes,
  };
}
