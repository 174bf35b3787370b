import { RudderAnalytics } from "@rudderstack/analytics-js/bundled";

export const open = openWith({});

export function openWith(options) {
  return (place) => opened(place, options);
}

async function opened({ host, key, user }, options) {
  const rudder = new RudderAnalytics();
  rudder.load(key, host, { ...options, configUrl: host });
  await new Promise((resolve) => rudder.ready(resolve));
  rudder.identify(user, { plan: "pro" });
  return {
    track: (n) => rudder.track("Sent", { n }),
    kinds: (old) => {
      rudder.page("Docs", "Home", { path: "/" });
      rudder.group("g1", { size: 3 });
      rudder.alias(user, old);
    },
    close: () => undefined,
  };
}
