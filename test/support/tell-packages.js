import { registerHooks } from "node:module";

// Tells on standard error which packages a process loads that observe it.
registerHooks({
  load(url, context, nextLoad) {
    const [, name] = /node_modules\/(@opentelemetry\/[^/]+|@prometheus-io\/client)\//.exec(url) ?? [];
    if (name !== undefined) {
      process.stderr.write(`loaded ${name}\n`);
    }
    return nextLoad(url, context);
  },
});
