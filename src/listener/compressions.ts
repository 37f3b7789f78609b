import { compressionBrotli, compressionGzip } from "@connectrpc/connect-node";

/** The codings that Connect's handlers take and give, the preferred one first. */
export const compressions = [compressionGzip, compressionBrotli];
