import type { CallFailure } from "./call-errors.ts";

/** Tells when the gateway is out of reach, once each time, and when it is back. */
export interface Contact {
  answered: () => void;
  failed: (failure: CallFailure) => void;
}

/** Creates it. */
export function createContact(tell: (line: string) => void): Contact {
  let isLost = false;
  return {
    answered() {
      if (isLost) {
        tell("the gateway answers");
      }
      isLost = false;
    },
    failed({ reason, message }) {
      const isAnswer = reason !== undefined;
      if (!isAnswer && !isLost) {
        tell(`the gateway does not answer, and is tried again while the command goes on: ${message}`);
      }
      isLost = isLost || !isAnswer;
    },
  };
}
