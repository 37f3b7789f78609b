/** A credential that may be replaced while the gateway runs. */
export interface Credential<Value = string> {
  /** The one to use now. */
  current(): Value;
  /** Looks at once whether there is another one by now than the one that was refused. */
  isReplaced(refused: Value): Promise<boolean>;
}

/** A credential that stays what it is. */
export function constantCredential<Value>(value: Value): Credential<Value> {
  return { current: () => value, isReplaced: async () => false };
}
