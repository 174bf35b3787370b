import { PostHog } from "posthog-node";

export function open({ host, key, user, lost }) {
  const posthog = new PostHog(key, { host, flushAt: 5, flushInterval: 100, fetchRetryDelay: 500 });
  posthog.on("error", lost);
  return {
    track: (n) => posthog.capture({ distinctId: user, event: "Sent", properties: { n } }),
    kinds: (old) => {
      posthog.identify({ distinctId: user, properties: { plan: "pro" } });
      posthog.capture({ distinctId: user, event: "$pageview", properties: { path: "/" } });
      posthog.capture({ distinctId: user, event: "$screen", properties: { $screen_name: "Start" } });
      posthog.groupIdentify({ distinctId: user, groupType: "company", groupKey: "g1", properties: { size: 3 } });
      posthog.alias({ distinctId: old, alias: user });
    },
    close: () => posthog.shutdown(60_000),
  };
}
