/**
 * Encodes headers for a HEADERS frame (HPACK, RFC 7541): every field a literal
 * that the receiver keeps no memory of, so that one block serves every call.
 */
export function encodeHeaderBlock(headers: readonly (readonly [name: string, value: string])[]): Buffer {
  const literalWithoutIndexing = Buffer.of(0x00);
  return Buffer.concat(
    headers.flatMap(([name, value]) => [literalWithoutIndexing, encodeString(name), encodeString(value)]),
  );
}

// A length and the text, without Huffman's code.
function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  const length = [];
  let rest = bytes.length;
  if (rest < 0x7f) {
    length.push(rest);
  } else {
    length.push(0x7f);
    for (rest -= 0x7f; rest >= 0x80; rest = Math.floor(rest / 0x80)) {
      length.push((rest % 0x80) | 0x80);
    }
    length.push(rest);
  }
  return Buffer.concat([Buffer.from(length), bytes]);
}

// `grpc-status` in Huffman's code, and a plain `0`: as Node writes the field to a
// client whose header table has no room, where it must write it out each time.
const statusOk = Buffer.from("0088" + "9acac8b21234da8f" + "0130", "hex");

/**
 * Says whether a block of headers has `grpc-status: 0`. Only for a server on Node,
 * and a client that announced a header table of 0 bytes.
 */
export function hasStatusOk(block: Buffer): boolean {
  return block.includes(statusOk);
}
