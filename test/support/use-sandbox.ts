import { onTestFinished } from "vitest";
import { type Sandbox, type SandboxOptions, startSandbox } from "../../src/sandbox/sandbox.ts";
import { sandboxSettings } from "../../src/sandbox-settings.ts";
import { findSandboxPorts } from "./free-port.ts";
import { type UsedGateway, useGateway } from "./use-gateway.ts";

/** A sandbox of the three systems on free ports, for the running test. */
export async function useSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const sandbox = await startSandbox({ ports: await findSandboxPorts(), ...options });
  onTestFinished(() => sandbox.close());
  return sandbox;
}

/** A gateway that is configured with a sandbox, both for the running test. */
export async function useGatewayWithSandbox(
  env: Record<string, string> = {},
  options: SandboxOptions = {},
  fixed: Parameters<typeof useGateway>[1] = {},
): Promise<UsedGateway & { sandbox: Sandbox }> {
  const sandbox = await useSandbox(options);
  const used = await useGateway(env, { ...sandboxSettings(sandbox), ...fixed });
  return { ...used, sandbox };
}
