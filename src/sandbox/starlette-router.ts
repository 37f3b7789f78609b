import { emptyAnswer, type HttpAnswer, type HttpRequest, jsonAnswer } from "./http-message.ts";

export interface Route<Endpoint> {
  readonly method: string;
  /** With `{}` for each parameter, which takes one segment. */
  readonly path: string;
  readonly endpoint: Endpoint;
}

export type Routed<Endpoint> =
  | { readonly endpoint: Endpoint; readonly params: readonly string[] }
  | { readonly answer: HttpAnswer };

/**
 * Finds the endpoint of a request as Starlette does. FACT: the path is percent-decoded first; another method is 405,
 * a slash too many or too few is 307, anything else 404, with these `allow` and `location` headers.
 */
export function createRouter<Endpoint>(
  routes: readonly Route<Endpoint>[],
): (request: HttpRequest) => Routed<Endpoint> {
  const compiled = routes.map((route) => ({ ...route, pattern: patternOf(route.path) }));
  const matching = (path: string) => compiled.filter(({ pattern }) => pattern.test(path));

  return (request) => {
    const path = percentDecode(request.path);
    const found = matching(path);
    const route = found.find(({ method }) => method === request.method);
    if (route !== undefined) {
      return { endpoint: route.endpoint, params: route.pattern.exec(path)?.slice(1) ?? [] };
    }
    if (found.length > 0) {
      const allow = found.map(({ method }) => method).join(", ");
      return { answer: jsonAnswer(405, { detail: "Method Not Allowed" }, { allow }) };
    }
    const other = path.endsWith("/") ? path.replace(/\/+$/, "") : `${path}/`;
    if (matching(other).length === 0) {
      return { answer: jsonAnswer(404, { detail: "Not Found" }) };
    }
    const query = request.query.size > 0 ? `?${request.query}` : "";
    return {
      answer: emptyAnswer(307, { location: `http://${request.headers.host}${encodeURI(other)}${query}` }),
    };
  };
}

function patternOf(path: string): RegExp {
  return new RegExp(`^${path.replaceAll("{}", "([^/]+)")}$`);
}

function percentDecode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
