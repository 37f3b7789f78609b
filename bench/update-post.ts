/** The POST of an update, as tasks without a gateway make it with undici. */
export const updatePost = {
  path: "/",
  method: "POST",
  headers: { authorization: "Bearer key-of-the-benchmark", "content-type": "application/json" },
  body: JSON.stringify({
    event_type: "UPDATE_STATUS",
    metadata: {},
    task_run_id: "1d876307-8c0a-42a1-8299-af0516223652",
    status: "RUNNING",
    message: "half of the rows",
  }),
} as const;
