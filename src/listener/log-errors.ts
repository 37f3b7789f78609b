import { ConnectError, type Interceptor } from "@connectrpc/connect";
import { pathOf } from "../model/route.ts";

/**
 * Tells of each error that is no `ConnectError`, once: the caller sees only that
 * it is internal, so this is the one place where its cause can be read.
 */
export function logErrors(onUnexpectedError: (error: unknown, path: string) => void): Interceptor {
  return (next) => async (request) => {
    const path = pathOf(request.service, request.method.name);
    function tell(error: unknown): void {
      // What fails because the caller has left is no defect.
      if (!(error instanceof ConnectError) && !request.signal.aborted) {
        onUnexpectedError(error, path);
      }
    }
    try {
      const response = await next(request);
      return response.stream ? { ...response, message: tellOf(response.message, tell) } : response;
    } catch (error) {
      tell(error);
      throw error;
    }
  };
}

async function* tellOf<Item>(items: AsyncIterable<Item>, tell: (error: unknown) => void) {
  try {
    yield* items;
  } catch (error) {
    tell(error);
    throw error;
  }
}
