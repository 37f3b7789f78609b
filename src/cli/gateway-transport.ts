import { X509Certificate } from "node:crypto";
import net from "node:net";
import type { PeerCertificate } from "node:tls";
import type { Transport } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { GatewayAddress } from "../config/parse-run-config.ts";
import { createSessionManager } from "./session-manager.ts";

/** A way to a gateway. */
export interface GatewayTransport {
  transport: Transport;
  /** Ends its connection, and what is under way there. */
  close: () => void;
}

/** Creates a way to a gateway. Nothing is connected before the first call; a broken connection is made anew. */
export function createGatewayTransport(address: GatewayAddress): GatewayTransport {
  const { baseUrl, options } = connectionOf(address);
  const sessionManager = createSessionManager(baseUrl, options);
  return { transport: createGrpcTransport({ baseUrl, sessionManager }), close: sessionManager.close };
}

type SessionOptions = Parameters<typeof createSessionManager>[1];

function connectionOf(address: GatewayAddress): { baseUrl: string; options: SessionOptions } {
  if (address.kind === "url") {
    return { baseUrl: address.url, options: {} };
  }
  const { listen, cert, key, clientCa } = address;
  if (listen.kind === "unix") {
    const { path } = listen;
    return { baseUrl: "http://localhost", options: { createConnection: () => net.connect(path) } };
  }
  const isAny = listen.host === "0.0.0.0" || listen.host === "::";
  const host = isAny ? "127.0.0.1" : listen.host;
  const authority = `${host.includes(":") ? `[${host}]` : host}:${listen.port}`;
  if (cert === undefined) {
    return { baseUrl: `http://${authority}`, options: {} };
  }
  // It must be the gateway's own certificate, whoever signed it and whatever names are in it.
  const own = new X509Certificate(cert);
  const options = {
    ca: own.toString(),
    allowPartialTrustChain: true,
    checkServerIdentity: (_host: string, { raw }: PeerCertificate) =>
      own.raw.equals(raw) ? undefined : new Error("it shows another certificate"),
    // A gateway that wants one takes its own where the same authority has signed it.
    ...(clientCa === undefined || key === undefined ? {} : { cert, key }),
  };
  return { baseUrl: `https://${authority}`, options };
}
