/** What only some versions of the SDK can do. */
export type Ability =
  /** `update_task`: before it there is only the decorator. */
  | "update"
  /** `update_task` without a status. */
  | "message alone"
  /** The decorator sends a log file. */
  | "logs"
  /** The statuses WARNING and CANCELLED. */
  | "all statuses"
  /** `set_output`. */
  | "outputs";

/** Versions that behave alike. */
export interface Generation {
  /** As published; the first is the newest. */
  versions: readonly string[];
  abilities: readonly Ability[];
  /** Every event bears one: local time without a zone. */
  hasTimestamp: boolean;
}

/** All that are published and can be compared, the newest first. */
export const generations: readonly Generation[] = [
  {
    versions: ["0.2.0", "0.1.2", "0.1.1", "0.1.0", "0.1.0a1"],
    abilities: ["update", "logs", "all statuses", "outputs"],
    hasTimestamp: false,
  },
  { versions: ["0.0.23"], abilities: ["update", "logs", "all statuses"], hasTimestamp: false },
  { versions: ["0.0.22"], abilities: ["update", "logs"], hasTimestamp: false },
  {
    versions: ["0.0.21", "0.0.20", "0.0.19", "0.0.18"],
    abilities: ["update", "logs"],
    hasTimestamp: true,
  },
  { versions: ["0.0.17"], abilities: ["update", "message alone", "logs"], hasTimestamp: true },
  { versions: ["0.0.16"], abilities: ["update", "message alone"], hasTimestamp: true },
  { versions: ["0.0.14", "0.0.13", "0.0.12", "0.0.11"], abilities: [], hasTimestamp: true },
];

/** Published, and nothing that could be compared, with what happens when their decorator is imported. */
export const incomparable: Readonly<Record<string, string>> = {
  // It imports itself from a folder of its makers.
  "0.0.10": "ModuleNotFoundError: No module named 'src'",
  // Another protocol: it posts to http://localhost:8000/jobs/sdk/sdk_receive, with Basic credentials.
  "0.0.9": "ModuleNotFoundError: No module named 'orchestra_sdk.decorators'",
};
