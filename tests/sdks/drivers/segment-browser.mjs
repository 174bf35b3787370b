import { AnalyticsBrowser } from "@segment/analytics-next";

export async function open({ host, key, user }) {
  const analytics = AnalyticsBrowser.load({ cdnURL: host, writeKey: key });
  await analytics.identify(user, { plan: "pro" });
  return {
    track: (n) => analytics.track("Sent", { n }),
    close: () => undefined, // the page stays open
  };
}
