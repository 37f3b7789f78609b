import type { SettingName } from "./config/settings.ts";
import type { Sandbox } from "./sandbox/sandbox.ts";

/** The settings with which a gateway talks to a sandbox, and to nothing else. */
export function sandboxSettings(
  sandbox: Pick<Sandbox, "orchestra" | "orchestrator" | "aidbox">,
): Partial<Record<SettingName, string>> {
  return {
    orchestraWebhookUrl: sandbox.orchestra.webhookUrl,
    orchestraApiKey: sandbox.orchestra.apiKey,
    orchestratorUrl: sandbox.orchestrator.url,
    orchestratorToken: "",
    aidboxUrl: sandbox.aidbox.url,
    aidboxClientId: sandbox.aidbox.clientId,
    aidboxClientSecret: sandbox.aidbox.clientSecret,
  };
}
