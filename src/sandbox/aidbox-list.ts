import type { Meta } from "./aidbox-resource.ts";
import { formatJson, isJsonObject, type JsonObject } from "./json.ts";

interface Listed {
  readonly definition: string;
  readonly status: string;
  readonly outcome?: string;
  readonly meta: Meta;
}

/**
 * Filters and sorts resources. FACT: the parameters. UNKNOWN: what `ilike` looks at (here the whole resource, as
 * JSON text), and the order when none is asked for (here that of creation).
 */
export function listResources<T extends Listed>(resources: readonly T[], { filter, sort }: JsonObject): T[] {
  const wanted = isJsonObject(filter) ? filter : {};
  const found = resources.filter((resource) => matches(resource, wanted));
  if (!isJsonObject(sort)) {
    return found;
  }
  const field = "lastUpdated" in sort ? "lastUpdated" : "createdAt";
  const direction = sort[field] === "desc" ? -1 : 1;
  return found.sort((a, b) => direction * compare(a.meta[field], b.meta[field]));
}

function matches(resource: Listed, filter: JsonObject): boolean {
  const { includeDefinitions, excludeDefinitions, status, outcome, ilike } = filter;
  if (Array.isArray(includeDefinitions) && !includeDefinitions.includes(resource.definition)) {
    return false;
  }
  if (Array.isArray(excludeDefinitions) && excludeDefinitions.includes(resource.definition)) {
    return false;
  }
  if (status !== undefined && status !== resource.status) {
    return false;
  }
  if (outcome !== undefined && outcome !== resource.outcome) {
    return false;
  }
  if (typeof ilike !== "string") {
    return true;
  }
  return formatJson(resource).toLowerCase().includes(ilike.toLowerCase());
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
