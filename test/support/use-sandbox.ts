import { onTestFinished } from "vitest";
import { type Sandbox, type SandboxOptions, startSandbox } from "../../src/sandbox/sandbox.ts";
import { type UsedGateway, useGateway } from "./use-gateway.ts";

/** A sandbox of the three systems on free ports, for the running test. */
export async function useSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = await startSandbox(options);
  onTestFinished(() => sandbox.close());
  return sandbox;
}

/** A gateway that is configured with a sandbox, both for the running test. */
export async function useGatewayWithSandbox(
  env: Record<string, string> = {},
  options: SandboxOptions = {},
): Promise<UsedGateway & { sandbox: Sandbox }> {
  const sandbox = await useSandbox(options);
  const used = await useGateway({
    ORCHESTRA_WEBHOOK_URL: sandbox.orchestra.webhookUrl,
    ORCHESTRA_API_KEY: sandbox.orchestra.apiKey,
    TASKGATE_ORCHESTRATOR_URL: sandbox.orchestrator.url,
    TASKGATE_AIDBOX_URL: sandbox.aidbox.url,
    TASKGATE_AIDBOX_CLIENT_ID: sandbox.aidbox.clientId,
    TASKGATE_AIDBOX_CLIENT_SECRET: sandbox.aidbox.clientSecret,
    ...env,
  });
  return { ...used, sandbox };
}
