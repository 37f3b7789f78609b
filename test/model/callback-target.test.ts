import { describe, expect, test } from "vitest";
import { callbackKey, parseCallbackRoute, parseCallbackUrl } from "../../src/model/callback-target.ts";

const processId = "1d876307-8c0a-42a1-8299-af0516223652";
const token = "A-Za-z0-9_abcdefghijklmnopqrstuvwxyz0123456";
const route = `/api/processes/${processId}/callback/${token}`;
const base = "https://orchestrator.example";

const badRoute = {
  problem: "must be /api/processes/<uuid>/callback/<43 characters of a-z, A-Z, 0-9, _ and ->",
};
const badBase = { problem: "must begin with a base URL that the gateway is configured with" };

/** The route with `inserted` at one place after the other. */
function insertEverywhere(inserted: string): string[] {
  return Array.from({ length: route.length + 1 }, (_, at) => route.slice(0, at) + inserted + route.slice(at));
}

/** The route with one `/` after the other replaced. */
function replaceEachSlash(replacement: string): string[] {
  return Array.from(
    route.matchAll(/\//g),
    ({ index }) => route.slice(0, index) + replacement + route.slice(index + 1),
  );
}

/** The vectors that are taken although they must not be. */
function taken(vectors: readonly string[], parse: (text: string) => object): string[] {
  return vectors.filter((vector) => !("problem" in parse(vector)));
}

describe("a route", () => {
  test("W-13 of the exact form is a target of the only base", () => {
    expect(parseCallbackRoute(route, [base])).toEqual({ target: { base, route, processId, token } });
  });

  test("W-15 with an upper-case UUID is kept as it is, and its process is lower case", () => {
    const upper = route.replace(processId, processId.toUpperCase());
    const result = parseCallbackRoute(upper, [base]);
    expect(result).toEqual({ target: { base, route: upper, processId, token } });
  });

  test.each(["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"])(
    "W-13 with the UUID %s is taken",
    (each) => {
      const path = route.replace(processId, each);
      expect(parseCallbackRoute(path, [base])).toEqual({
        target: { base, route: path, processId: each, token },
      });
    },
  );

  test("with a token in which only the case differs is another callback", () => {
    const other = route.replace(token, token.toLowerCase());
    const targets = [route, other].map((each) => parseCallbackRoute(each, [base]));
    const keys = targets.map((each) => ("target" in each ? callbackKey(each.target) : ""));
    expect(keys).toEqual([`${processId}/${token}`, `${processId}/${token.toLowerCase()}`]);
  });

  test.each(["_".repeat(43), "-".repeat(43), "0".repeat(43), `--${"a".repeat(41)}`])(
    "W-13 with the token %s is taken",
    (each) => {
      const path = `/api/processes/${processId}/callback/${each}`;
      expect(parseCallbackRoute(path, [base])).toEqual({
        target: { base, route: path, processId, token: each },
      });
    },
  );

  test.each([
    ["nothing", ""],
    ["only a slash", "/"],
    ["no leading slash", route.slice(1)],
    ["a trailing slash", `${route}/`],
    ["the progress below it", `${route}/progress`],
    ["a sibling below it", `${route}/..`],
    ["an empty query", `${route}?`],
    ["a query", `${route}?a=1`],
    ["an empty fragment", `${route}#`],
    ["a fragment", `${route}#a`],
    ["a matrix parameter", `${route};a=1`],
    ["a trailing newline", `${route}\n`],
    ["a trailing carriage return and newline", `${route}\r\n`],
    ["a leading newline", `\n${route}`],
    ["a trailing blank", `${route} `],
    ["a leading blank", ` ${route}`],
    ["a trailing U+2028", `${route}\u2028`],
    ["a trailing NUL", `${route}\0`],
    ["a second line that would do", `x\n${route}`],
    ["a header behind it", `${route} HTTP/1.1\r\nhost: evil.example`],
    ["an origin without a scheme", `//evil.example${route}`],
    ["an origin behind backslashes", `\\\\evil.example${route}`],
    ["an origin behind a slash and a backslash", `/\\evil.example${route}`],
    ["a whole URL", `https://evil.example${route}`],
    ["the base in front", base + route],
    ["user information", `@evil.example${route}`],
    ["a step up in front", `/..${route}`],
    ["a step up inside", route.replace("/api/", "/api/../api/")],
    ["a step to itself", route.replace("/api/", "/api/./")],
    ["an encoded step up", route.replace("/api/", "/api/%2e%2e/api/")],
    ["an encoded letter", route.replace("/api/", "/%61pi/")],
    ["an encoded hyphen in the UUID", route.replace("-", "%2d")],
    ["an encoded letter in the token", `${route.slice(0, -1)}%36`],
    ["upper case in the path", route.replace("/api/", "/API/")],
    ["title case in the path", route.replace("/processes/", "/Processes/")],
    ["a version in the path", route.replace("/api/", "/api/v1/")],
    ["another path", route.replace("/processes/", "/subscriptions/")],
    ["the singular", route.replace("/processes/", "/process/")],
    ["a route twice", route + route],
    ["a token of 42 characters", route.slice(0, -1)],
    ["a token of 44 characters", `${route}a`],
    ["no token", route.slice(0, -43)],
    ["a padded token", `${route.slice(0, -1)}=`],
    ["a plus from another base64", `${route.slice(0, -1)}+`],
    ["a slash from another base64", `${route.slice(0, -1)}/`],
    ["a point in the token", `${route.slice(0, -1)}.`],
    ["a tilde in the token", `${route.slice(0, -1)}~`],
    ["a percent sign in the token", `${route.slice(0, -1)}%`],
    ["a letter with an accent in the token", `${route.slice(0, -1)}é`],
    ["a full-width letter in the token", `${route.slice(0, -1)}\uff41`],
    ["a Cyrillic letter in the token", `${route.slice(0, -1)}\u0430`],
    ["a long s, which is an s in upper case, in the path", route.replace("processes", "proce\u017f\u017fes")],
    ["a Kelvin sign, which is a k in lower case, in the path", route.replace("callback", "callbac\u212a")],
    ["half a surrogate pair in the token", `${route.slice(0, -1)}\ud83d`],
    ["a UUID without hyphens", route.replace(processId, processId.replaceAll("-", ""))],
    ["a UUID in braces", route.replace(processId, `{${processId}}`)],
    ["a UUID as a URN", route.replace(processId, `urn:uuid:${processId}`)],
    ["a UUID that is one too short", route.replace("1d876307", "1d87630")],
    ["a UUID that is one too long", route.replace("1d876307", "1d8763070")],
    ["a UUID with its hyphens elsewhere", route.replace("1d876307-8c0a", "1d87630-78c0a")],
    ["a UUID with a letter beyond f", route.replace("1d876307", "1d87630g")],
    ["a UUID with an Arabic digit", route.replace("1d876307", "1d87630\u0667")],
    ["a UUID with a full-width digit", route.replace("1d876307", "1d87630\uff17")],
    ["a UUID with a hyphen of Unicode", route.replace("-", "\u2010")],
    ["a UUID with a minus of Unicode", route.replace("-", "\u2212")],
  ])("W-13 with %s is refused", (_, each) => {
    expect(parseCallbackRoute(each, [base])).toEqual(badRoute);
  });

  test.each([
    ["a tab", "\t"],
    ["a newline", "\n"],
    ["a carriage return", "\r"],
    ["a blank", " "],
    ["a slash", "/"],
    ["a backslash", "\\"],
    ["a step to itself", "/."],
    ["a step up", "/.."],
    ["an encoded NUL", "%00"],
    ["a soft hyphen", "\u00ad"],
    ["a zero-width blank", "\u200b"],
    ["a byte order mark", "\ufeff"],
    ["a query", "?"],
    ["a fragment", "#"],
    ["an at sign", "@"],
    ["a colon", ":"],
  ])("W-13 with %s anywhere is refused", (_, inserted) => {
    expect(taken(insertEverywhere(inserted), (each) => parseCallbackRoute(each, [base]))).toEqual([]);
  });

  test.each([
    ["two", "//"],
    ["a backslash", "\\"],
    ["an encoded one", "%2f"],
    ["an encoded one in upper case", "%2F"],
    ["an encoded backslash", "%5c"],
    ["one encoded twice", "%252f"],
    ["a full-width one", "\uff0f"],
    ["a fraction slash", "\u2044"],
    ["a division slash", "\u2215"],
    ["nothing", ""],
  ])("W-13 with %s in the place of a slash is refused", (_, replacement) => {
    expect(taken(replaceEachSlash(replacement), (each) => parseCallbackRoute(each, [base]))).toEqual([]);
  });

  test.each([{ bases: [] }, { bases: [base, "http://other.example"] }])(
    "does not say which of $bases is meant",
    ({ bases }) => {
      expect(parseCallbackRoute(route, bases)).toEqual({
        problem: "does not say which of the configured orchestrators is meant; use callback_url",
      });
    },
  );
});

describe("a URL", () => {
  test.each([
    ["an origin", "https://orchestrator.example"],
    ["a port", "http://127.0.0.1:8080"],
    ["an IPv6 address", "http://[::1]:8080"],
    ["a path", "https://proxy.example/orchestrator"],
    ["a long path", "https://proxy.example/a/b/c"],
  ])("W-14 of a base with %s is its target", (_, each) => {
    expect(parseCallbackUrl(each + route, [base, each])).toEqual({
      target: { base: each, route, processId, token },
    });
  });

  test("W-14 finds the longer of two bases where one begins with the other", () => {
    const longer = `${base}/eu`;
    for (const bases of [
      [base, longer],
      [longer, base],
    ]) {
      expect(parseCallbackUrl(longer + route, bases)).toEqual({
        target: { base: longer, route, processId, token },
      });
      expect(parseCallbackUrl(base + route, bases)).toEqual({ target: { base, route, processId, token } });
    }
  });

  test("W-14 finds the shorter of two bases where the longer one ends like the route begins", () => {
    const longer = `${base}/api`;
    for (const bases of [
      [base, longer],
      [longer, base],
    ]) {
      expect(parseCallbackUrl(base + route, bases)).toEqual({ target: { base, route, processId, token } });
      expect(parseCallbackUrl(longer + route, bases)).toEqual({
        target: { base: longer, route, processId, token },
      });
    }
  });

  test.each([
    ["nothing", ""],
    ["only a base", base],
    ["a route alone", route],
    ["another origin", `https://evil.example${route}`],
    ["another scheme", base.replace("https", "http") + route],
    ["a scheme in upper case", base.replace("https", "HTTPS") + route],
    ["a host in upper case", base.toUpperCase() + route],
    ["no scheme", base.slice("https:".length) + route],
    ["the default port spelled out", `${base}:443${route}`],
    ["another port", `${base}:8443${route}`],
    ["a host that begins like the base", `${base}.evil.example${route}`],
    ["a host that begins like the base, with a hyphen", `${base}-evil.example${route}`],
    ["user information that looks like the base", `${base}@evil.example${route}`],
    ["user information with a password", `${base}:x@evil.example${route}`],
    ["user information in front", `https://user@orchestrator.example${route}`],
    ["a backslash behind the host", `${base}\\@evil.example${route}`],
    ["a root behind the host", `${base}.${route}`],
    ["a blank in front", ` ${base}${route}`],
    ["a newline in front", `\n${base}${route}`],
    ["a tab in the scheme", `ht\ttps://orchestrator.example${route}`],
    ["one slash", `https:/orchestrator.example${route}`],
    ["backslashes behind the scheme", `https:\\\\orchestrator.example${route}`],
    ["an encoded point in the host", base.replace(".", "%2e") + route],
    ["a full-width point in the host", base.replace(".", "\uff0e") + route],
    ["a Cyrillic letter in the host", base.replace("o", "\u043e") + route],
    ["a query in the place of the path", `${base}?${route}`],
    ["a fragment in the place of the path", `${base}#${route}`],
    ["a file", `file://${route}`],
  ])("W-14 with %s is refused", (_, url) => {
    expect(parseCallbackUrl(url, [base])).toEqual(badBase);
  });

  test.each([
    ["two slashes behind the base", `${base}/${route}`],
    ["a path between base and route", `${base}/other${route}`],
    ["a step up behind the base", `${base}/..${route}`],
    ["a query", `${base}${route}?a=1`],
    ["a fragment", `${base}${route}#a`],
    ["the progress", `${base}${route}/progress`],
    ["a trailing newline", `${base}${route}\n`],
    ["an encoded slash", `${base}${route.replace("/callback/", "%2fcallback/")}`],
    ["a token of 42 characters", `${base}${route.slice(0, -1)}`],
    ["a token of 44 characters", `${base}${route}a`],
    ["nothing behind the base's slash", `${base}/`],
  ])("W-14 of the base with %s is refused", (_, url) => {
    expect(parseCallbackUrl(url, [base])).toEqual(badRoute);
  });

  test("W-14 without the base's own path is refused", () => {
    const bases = ["https://proxy.example/orchestrator"];
    expect(parseCallbackUrl(`https://proxy.example${route}`, bases)).toEqual(badBase);
    expect(parseCallbackUrl(`https://proxy.example/orchestrator2${route}`, bases)).toEqual(badBase);
    expect(parseCallbackUrl(`https://proxy.example/orchestrator/..${route}`, bases)).toEqual(badRoute);
  });

  test("is refused where no base is configured", () => {
    expect(parseCallbackUrl(base + route, [])).toEqual(badBase);
  });

  test.each([
    ["a tab", "\t"],
    ["a newline", "\n"],
    ["a slash", "/"],
    ["a backslash", "\\"],
    ["an at sign", "@"],
    ["a soft hyphen", "\u00ad"],
  ])("W-14 with %s anywhere is refused", (_, inserted) => {
    const url = base + route;
    const vectors = Array.from(
      { length: url.length + 1 },
      (_unused, at) => url.slice(0, at) + inserted + url.slice(at),
    );
    expect(taken(vectors, (each) => parseCallbackUrl(each, [base]))).toEqual([]);
  });
});

test("W-15 the key of a callback is its process in lower case and its token, whatever the base is called", () => {
  const upper = route.replace(processId, processId.toUpperCase());
  const targets = [
    parseCallbackRoute(route, [base]),
    parseCallbackRoute(upper, [base]),
    parseCallbackUrl(`http://10.0.0.1${route}`, [base, "http://10.0.0.1"]),
  ];
  expect(targets.map((each) => ("target" in each ? callbackKey(each.target) : each.problem))).toEqual(
    Array(3).fill(`${processId}/${token}`),
  );
});
