// The published suite against the server of this folder; run by `conformance.mjs`, which names the address.
import { runConformanceTests } from '@durable-streams/server-conformance-tests';

// Not `BASE_URL`, which vitest sets itself.
runConformanceTests({ baseUrl: process.env.STREAMS_URL, longPollTimeoutMs: Number(process.env.LONG_POLL_MS), subscriptions: false });
