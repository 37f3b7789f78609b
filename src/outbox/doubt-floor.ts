/**
 * How long an attempt whose answer was lost may still be running at its upstream, and
 * must be left alone, in milliseconds. Two overlapping POSTs of one callback are taken
 * twice (MEASURED with orchestrator-core 5.3.0, which took 2.3 s for 8 MiB).
 */
export const doubtFloorMs: Readonly<Record<string, number>> = {
  orchestra: 250,
  orchestrator: 5000,
  aidbox: 250,
};
