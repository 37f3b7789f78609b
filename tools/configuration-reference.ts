import { envNames, flagName, keyName, kinds, type SettingTable } from "../src/config/setting.ts";
import { configOptions, settingGroups } from "../src/config/settings.ts";

/** Where the reference is kept. */
export const referencePath = "docs/configuration.md";

const head = `# Configuration

<!-- Written by \`npm run generate\` from src/config/settings.ts. -->

Every setting has one name in three spellings: a key in \`taskgate.yaml\`, a variable, a flag.

\`\`\`yaml
leaseDuration: 30s                # TASKGATE_LEASE_DURATION=30s, --lease-duration 30s
orchestraApiKeyFile: /run/secrets/orchestra/key
orchestratorUrl: [https://one.internal, https://two.internal]
\`\`\`

- **What wins.** A flag over a variable, that over the file, that over the default. An empty variable, and a key with nothing behind it, are the same as none.
- **The file.** \`--config PATH\` or \`TASKGATE_CONFIG\`; else \`taskgate.yaml\` in the working directory, where there is one. It is YAML 1.2 without aliases and tags. \`serve\`, \`dev\`, \`doctor\` and \`outbox\` read it; \`run\` does not.
- **Mistakes.** A key, a \`TASKGATE_…\` variable or a flag that there is not is an error, and the nearest name is suggested. All problems are told together, with file and line, and the exit code is 1 before anything listens. Variables with which Kubernetes tells of a service named \`taskgate\` are none.
- **Secrets** have no flag, because arguments can be read by others, and no place in the file, because files like that are copied and committed. Name the file that holds one, or set the variable. What is around it (the line end) is left out.

## Files that change

Secrets, certificates and keys that come from files are read again when they change, without a restart: their directories are watched (Kubernetes swaps a link there), and every 15 s they are looked at in any case. A Kubernetes volume with \`subPath\` never changes.

- After a 401 or 403 of an upstream the file is read at once, and if it holds another credential, the same request is sent again with that.
- What cannot be read or used is told in the log, and what was there before stays in use. To take a token away, replace it; an empty file takes nothing away.
- A certificate and its key are used when they belong together. Connections that are open stay; a TLS session of before is not resumed.
- A call that has begun goes on, also when its token is no longer one.

## Who may call

Without callers everyone on this machine may do everything. An address beyond this machine needs at least one, and TLS. \`authToken\` is the token of the caller \`default\` (worker and client), \`adminToken\` that of \`admin\` (everything); others have names of their own in the file:

\`\`\`yaml
callers:
  etl:
    roles: [worker]                        # worker, client, operator
    tokenFile: /run/secrets/callers/etl    # or a list of files
    taskDefinitions: [etl/extract]         # of Aidbox; without these two, all
    workflowDefinitions: []
  on-call:
    roles: [operator]
    tokenFile: /run/secrets/callers/on-call
\`\`\`

- A token file holds one token a line; all of them count. To rotate one, add the new token, let the callers take it, and remove the old one.
- A caller owns the tasks that it names, by its own name. Whoever is renamed owns them no more.
- A caller that is limited to definitions can take, create, see and cancel nothing else in Aidbox.
- With \`tlsClientCa\` a client must show a certificate besides its token; who it is, its token says.
`;

/** Writes the reference of all settings as Markdown. */
export function configurationReference(): string {
  const groups = [
    { title: "The file", settings: configOptions as SettingTable, hasKeys: false },
    ...settingGroups.map((group) => ({ ...group, hasKeys: true })),
  ];
  return `${[head, ...groups.map(groupText)].join("\n")}`;
}

function groupText({
  title,
  settings,
  hasKeys,
}: {
  title: string;
  settings: SettingTable;
  hasKeys: boolean;
}): string {
  const rows = Object.entries(settings).map(([name, setting]) => {
    const spellings = [
      ...(hasKeys ? [keyName(name, setting)] : []),
      ...envNames(name, setting),
      `--${flagName(name, setting)}`,
    ];
    const byDefault = setting.default === undefined ? "" : `\`${setting.default}\``;
    return `| ${spellings.map(code).join("<br>")} | ${setting.doc} | ${kinds[setting.kind]} | ${byDefault} |`;
  });
  return [
    `## ${title}`,
    "",
    "| setting | what it is | takes | default |",
    "|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}
