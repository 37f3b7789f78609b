import { createGivenSettings, type SettingSources } from "./given-settings.ts";
import { type SettingName, settings } from "./settings.ts";

/** The files that hold secrets, as the settings name them. */
export function secretFiles(sources: SettingSources<SettingName>): string[] {
  const given = createGivenSettings(settings, sources, []);
  const names = Object.keys(settings) as SettingName[];
  const secrets = names.filter((name) => settings[name].kind === "secret");
  const key = given.find("tlsKey")?.text;
  return [...secrets.flatMap((name) => given.find(name)?.path ?? []), ...(key === undefined ? [] : [key])];
}
