import { createPrivateKey, type KeyObject, X509Certificate } from "node:crypto";

import type { Secret } from "../model/secret.ts";

/** PEM texts. */
export interface TlsTexts {
  cert: Secret;
  key: Secret;
  clientCa: Secret | undefined;
}

/** Says what is wrong with certificates and their key, in a sentence each. */
export function tlsProblems({ cert, key, clientCa }: TlsTexts): string[] {
  const problems: string[] = [];
  const certificate = readCertificate(cert.text());
  const privateKey = readKey(key.text());
  if (certificate === undefined) {
    problems.push(`${cert.name} holds no certificate in PEM`);
  }
  if (privateKey === undefined) {
    problems.push(`${key.name} holds no private key in PEM without a passphrase`);
  }
  if (certificate && privateKey && !certificate.checkPrivateKey(privateKey)) {
    problems.push(`${key.name} is not the key of the certificate`);
  }
  if (clientCa !== undefined && readCertificate(clientCa.text()) === undefined) {
    problems.push(`${clientCa.name} holds no certificate in PEM`);
  }
  return problems;
}

/** Reads the first certificate of a PEM text; undefined: there is none. */
export function readCertificate(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function readKey(pem: string): KeyObject | undefined {
  try {
    return createPrivateKey(pem);
  } catch {
    return undefined;
  }
}
