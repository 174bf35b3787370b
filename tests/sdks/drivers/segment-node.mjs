import { Analytics } from "@segment/analytics-node";

export function open({ host, key, user, lost }) {
  const analytics = new Analytics({ host, writeKey: key, flushAt: 5, flushInterval: 100 });
  analytics.on("error", lost);
  return {
    track: (n) => analytics.track({ userId: user, event: "Sent", properties: { n } }),
    close: () => analytics.closeAndFlush({ timeout: 60_000 }),
  };
}
