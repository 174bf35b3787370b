import { Analytics } from "@segment/analytics-node";

export function open({ host, key, user, lost }) {
  const analytics = new Analytics({ host, writeKey: key, flushAt: 5, flushInterval: 100 });
  analytics.on("error", lost);
  return {
    track: (n) => analytics.track({ userId: user, event: "Sent", properties: { n } }),
    kinds: (old) => {
      analytics.identify({ userId: user, traits: { plan: "pro" } });
      analytics.page({ userId: user, category: "Docs", name: "Home", properties: { path: "/" } });
      analytics.screen({ userId: user, name: "Start" });
      analytics.group({ userId: user, groupId: "g1", traits: { size: 3 } });
      analytics.alias({ previousId: old, userId: user });
    },
    close: () => analytics.closeAndFlush({ timeout: 60_000 }),
  };
}
