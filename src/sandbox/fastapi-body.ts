import {
  decodeUtf8,
  type HttpAnswer,
  type HttpRequest,
  jsonAnswer,
  mediaType,
  textAnswer,
} from "./http-message.ts";
import { isJsonObject, type Json, type JsonObject, parseJson } from "./json.ts";
import { pythonJsonProblem } from "./python-json-problem.ts";

/** One entry of a FastAPI 422. FACT: all of it, compared with the real one by `npm run interop`. */
export interface ValidationError {
  readonly type: string;
  readonly loc: readonly (string | number)[];
  readonly msg: string;
  readonly input: Json;
  readonly ctx?: { readonly error: string };
}

export type DecodedBody =
  | { readonly kind: "absent" }
  | { readonly kind: "json"; readonly value: Json }
  /** FACT: any other content type, and none at all, leaves the bytes as they are; `text` if they are UTF-8. */
  | { readonly kind: "raw"; readonly text: string | undefined }
  | { readonly kind: "refused"; readonly answer: HttpAnswer };

/** What became of an input: a value, or what is wrong with it. */
export type Checked<T> =
  | { readonly value: T; readonly errors?: undefined }
  | { readonly value?: undefined; readonly errors: readonly ValidationError[] };

export function validationAnswer(errors: readonly ValidationError[]): HttpAnswer {
  return jsonAnswer(422, { detail: errors });
}

/** FACT: what an exception that nobody handles ends in. */
export function unhandledError(): HttpAnswer {
  return textAnswer(500, "text/plain; charset=utf-8", "Internal Server Error");
}

/** Reads a body as FastAPI does since 0.132 (strict content type), before any dependency of the route is asked. */
export function decodeBody({ headers, body }: HttpRequest): DecodedBody {
  if (body.length === 0) {
    return { kind: "absent" };
  }
  const isJson = /^application\/([^/]*\+)?json$/.test(mediaType(headers));
  if (!isJson) {
    return { kind: "raw", text: decodeUtf8(body) };
  }
  const text = decodeUtf8(body);
  if (text === undefined) {
    return { kind: "refused", answer: unparsable() };
  }
  try {
    const value = parsePythonJson(text);
    return value === null ? { kind: "absent" } : { kind: "json", value };
  } catch (error) {
    return { kind: "refused", answer: refusal(text, error) };
  }
}

function refusal(text: string, error: unknown): HttpAnswer {
  try {
    return error instanceof RangeError ? unparsable() : invalidJson(text);
  } catch (deepError) {
    if (deepError instanceof RangeError) {
      return unparsable();
    }
    throw deepError;
  }
}

function unparsable(): HttpAnswer {
  return jsonAnswer(400, { detail: "There was an error parsing the body" });
}

function invalidJson(text: string): HttpAnswer {
  const { position, message } = pythonJsonProblem(text) ?? { position: 0, message: "Expecting value" };
  const loc = ["body", position];
  return jsonAnswer(422, {
    detail: [{ type: "json_invalid", loc, msg: "JSON decode error", input: {}, ctx: { error: message } }],
  });
}

/** JSON, and the literals that Python adds to it. FACT: NaN is stored as null. INFERENCE: so are the infinities. */
function parsePythonJson(text: string): Json {
  try {
    return parseJson(text);
  } catch (error) {
    const plain = text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|NaN|-?Infinity/gs, (token) =>
      token.startsWith('"') ? token : "null",
    );
    if (error instanceof RangeError || plain === text) {
      throw error;
    }
    return parseJson(plain);
  }
}

/** FACT: a final callback is a JSON object and nothing else. */
export function requireObject(body: DecodedBody): Checked<JsonObject> {
  if (body.kind === "json" && isJsonObject(body.value)) {
    return { value: body.value };
  }
  return { errors: [body.kind === "absent" ? missing() : notAnObject(["body"], inputOf(body))] };
}

/** FACT: progress is a JSON object, a JSON string, or raw text. */
export function requireObjectOrText(body: DecodedBody): Checked<Json> {
  if (body.kind === "absent") {
    return { errors: [missing()] };
  }
  const value = inputOf(body);
  if (typeof value === "string" || isJsonObject(value)) {
    return { value };
  }
  const notText = {
    type: "string_type",
    loc: ["body", "str"],
    msg: "Input should be a valid string",
    input: value,
  };
  return { errors: [notText, notAnObject(["body", "dict[str,any]"], value)] };
}

function missing(): ValidationError {
  return { type: "missing", loc: ["body"], msg: "Field required", input: null };
}

function notAnObject(loc: string[], input: Json): ValidationError {
  return { type: "dict_type", loc, msg: "Input should be a valid dictionary", input };
}

function inputOf(body: DecodedBody): Json {
  if (body.kind === "json") {
    return body.value;
  }
  return body.kind === "raw" ? (body.text ?? null) : null;
}

const uuidText =
  /^(?:urn:uuid:)?([0-9a-f]{8})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{4})-?([0-9a-f]{12})$/i;

/** The canonical form of a UUID path parameter. FACT: upper case is taken, and the other forms that Pydantic knows. */
export function readUuid(name: string, text: string): Checked<string> {
  const parts = uuidText.exec(text.replace(/^\{(.*)\}$/, "$1"));
  if (parts !== null) {
    return { value: parts.slice(1).join("-").toLowerCase() };
  }
  const error = uuidProblem(text);
  const msg = `Input should be a valid UUID, ${error}`;
  return { errors: [{ type: "uuid_parsing", loc: ["path", name], msg, input: text, ctx: { error } }] };
}

const groupLengths = [8, 4, 4, 4, 12];

/** FACT: the words of the parser that Pydantic uses, without those for a URN or braces around what is wrong. */
function uuidProblem(text: string): string {
  const [, prefix = "", bare = ""] = /^(urn:uuid:|\{(?=.*\}$))?(.*?)\}?$/s.exec(text) ?? [];
  const position = Array.from(bare).findIndex((letter) => !/^[0-9a-fA-F-]$/.test(letter));
  if (position >= 0) {
    return `invalid character: found \`${Array.from(bare)[position]}\` at ${prefix.length + position + 1}`;
  }
  const groups = bare.split("-");
  if (groups.length === 1 && prefix === "") {
    return `invalid length: expected length 32 for simple format, found ${text.length}`;
  }
  if (groups.length !== groupLengths.length) {
    return `invalid group count: expected 5, found ${groups.length}`;
  }
  const at = groups.findIndex((group, each) => group.length !== groupLengths[each]);
  return `invalid group length in group ${at}: expected ${groupLengths[at]}, found ${groups[at]?.length}`;
}
