import fc from "fast-check";

/** Any character, each length of UTF-8 as often as the others. Never half a surrogate pair. */
const character = fc
  .oneof(
    fc.integer({ min: 0, max: 0x7f }),
    fc.integer({ min: 0x80, max: 0x7ff }),
    fc.integer({ min: 0x800, max: 0xffff }),
    fc.integer({ min: 0x10000, max: 0x10ffff }),
  )
  .map((code) => String.fromCodePoint(code >= 0xd800 && code < 0xe000 ? code - 0x1000 : code));

/** Any text. */
export const arbitraryText = fc.array(character, { maxLength: 10 }).map((characters) => characters.join(""));

/** Any JSON value, four levels deep, with strings and keys such as `text` makes. Never -0. */
export function arbitraryJson(text: fc.Arbitrary<string>): fc.Arbitrary<unknown> {
  const number = fc.oneof(
    fc.integer(),
    fc.bigInt({ min: -(2n ** 80n), max: 2n ** 80n }).map(Number),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      text,
      number.map((each) => (each === 0 ? 0 : each)),
      fc.boolean(),
      fc.constant(null),
      fc.array(tie("value"), { maxLength: 5 }),
      fc.dictionary(text, tie("value"), { maxKeys: 5, noNullPrototype: true }),
    ),
  }));
  return value;
}
