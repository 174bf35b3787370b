import Analytics from "analytics-node";

export function open({ host, key, user, lost }) {
  const analytics = new Analytics(key, { host, flushAt: 5, flushInterval: 100, errorHandler: lost });
  const heard = [];
  return {
    track: (n) =>
      heard.push(
        new Promise((resolve) => {
          analytics.track({ userId: user, event: "Sent", properties: { n } }, resolve);
        }),
      ),
    kinds: (old) => {
      analytics.identify({ userId: user, traits: { plan: "pro" } });
      analytics.page({ userId: user, category: "Docs", name: "Home", properties: { path: "/" } });
      analytics.screen({ userId: user, name: "Start" });
      analytics.group({ userId: user, groupId: "g1", traits: { size: 3 } });
      analytics.alias({ previousId: old, userId: user });
    },
    close: async () => {
      await analytics.flush(); // of the last batch only; the callbacks tell of them all
      await Promise.all(heard);
    },
  };
}
