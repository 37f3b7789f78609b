import type { Config } from "./config/config.ts";
import type { GatewaySecrets } from "./gateway-secrets.ts";
import type { Listener, ListenerTls } from "./listener/listener.ts";

/** What a listener needs of the configuration to speak TLS. */
export function tlsTexts(tls: Config["tls"]): ListenerTls | undefined {
  return tls && { cert: tls.cert.text(), key: tls.key.text(), clientCa: tls.clientCa?.text() };
}

/** Gives the listener other certificates when their files change. Connections that are there stay. */
export function followTls(tls: Config["tls"], secrets: GatewaySecrets, listener: Listener): void {
  if (tls !== undefined) {
    const { cert, key, clientCa } = tls;
    secrets.onChange([cert, key, ...(clientCa ? [clientCa] : [])], ([newCert = "", newKey = "", newCa]) =>
      listener.replaceTls({ cert: newCert, key: newKey, clientCa: newCa }),
    );
  }
}
