import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

export async function open({ host, key, user }) {
  const rudder = new RudderAnalytics();
  rudder.load(key, host, { configUrl: host });
  await new Promise((resolve) => rudder.ready(resolve));
  rudder.identify(user, { plan: "pro" });
  return {
    track: (n) => rudder.track("Sent", { n }),
    close: () => undefined,
  };
}
