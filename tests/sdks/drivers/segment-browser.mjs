import { AnalyticsBrowser } from "@segment/analytics-next";

export const open = openWith({});

export function openWith(destination) {
  return (place) => opened(place, { integrations: { "Segment.io": destination } });
}

async function opened({ host, key, user }, options) {
  const analytics = AnalyticsBrowser.load({ cdnURL: host, writeKey: key }, options);
  await analytics.identify(user, { plan: "pro" });
  return {
    track: (n) => analytics.track("Sent", { n }),
    kinds: (old) => {
      analytics.page("Docs", "Home", { path: "/" });
      analytics.screen("App", "Start");
      analytics.group("g1", { size: 3 });
      analytics.alias(user, old);
    },
    close: () => undefined, // the page stays open
  };
}
