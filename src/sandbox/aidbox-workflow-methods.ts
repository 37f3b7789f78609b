import { listResources } from "./aidbox-list.ts";
import { creation, type Method, resourceReply, sort, text } from "./aidbox-method.ts";
import { notFound } from "./aidbox-resource.ts";
import type { TaskRequest } from "./aidbox-tasks.ts";
import type { JsonObject } from "./json.ts";

/** FACT: names, parameters and results. */
export const workflowMethods: Readonly<Record<string, Method>> = {
  "awf.workflow/create-and-execute": {
    params: creation,
    run: ({ workflows }, params) => resourceReply(workflows.create(params as JsonObject & TaskRequest)),
  },
  "awf.workflow/cancel": {
    params: { id: { required: "string" } },
    run: ({ workflows }, params) => resourceReply(workflows.cancel(text(params.id))),
  },
  "awf.workflow/status": {
    params: { id: { required: "string" }, "include-activities?": "boolean", "include-decisions?": "boolean" },
    run({ workflows }, params) {
      const workflowId = text(params.id);
      const resource = workflows.get(workflowId);
      if (resource === undefined) {
        return notFound();
      }
      return {
        result: {
          resource,
          ...(params["include-activities?"] === true && { activities: workflows.activities(workflowId) }),
          ...(params["include-decisions?"] === true && { decisions: workflows.decisions(workflowId) }),
        },
      };
    },
  },
  "awf.workflow/list": {
    params: {
      filter: {
        status: ["created", "in-progress", "done"],
        outcome: ["succeeded", "failed", "canceled"],
        ilike: "string",
      },
      sort,
    },
    run: ({ workflows }, params) => ({ result: { resources: listResources(workflows.list(), params) } }),
  },
};
