import { createHmac, timingSafeEqual } from "node:crypto";

/** Makes and recognises session ids. */
export interface SessionIds {
  /** A new id for what is named. */
  create(name: string): string;
  /** Whether the id was once given for what is named, by this gateway or one before it on the same store. */
  isGenuine(id: string, name: string): boolean;
}

const randomLength = 16;

/**
 * Session ids that tell by themselves what they were given for, so that an old one
 * can be told from an invented one without being remembered.
 *
 * @param key the store's secret
 * @param randomText gives that many characters of base64url
 */
export function createSessionIds(key: string, randomText: (length: number) => string): SessionIds {
  const sign = (random: string, name: string) =>
    createHmac("sha256", key).update(`${random}\n${name}`).digest("base64url").slice(0, randomLength);
  return {
    create(name) {
      const random = randomText(randomLength);
      return random + sign(random, name);
    },
    isGenuine(id, name) {
      const given = Buffer.from(id.slice(randomLength));
      const expected = Buffer.from(sign(id.slice(0, randomLength), name));
      return given.length === expected.length && timingSafeEqual(given, expected);
    },
  };
}
