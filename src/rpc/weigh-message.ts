/** About how many bytes of memory a message holds: those of its texts, and a little for the rest. */
export function weighMessage(message: unknown): number {
  if (typeof message === "string" || message instanceof Uint8Array) {
    return message.length;
  }
  if (typeof message !== "object" || message === null) {
    return 8;
  }
  return Object.values(message).reduce<number>((sum, each) => sum + weighMessage(each), 8);
}
