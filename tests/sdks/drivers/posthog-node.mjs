import { PostHog } from "posthog-node";

export function open({ host, key, user, lost }) {
  const posthog = new PostHog(key, { host, flushAt: 5, flushInterval: 100, fetchRetryDelay: 500 });
  posthog.on("error", lost);
  return {
    track: (n) => posthog.capture({ distinctId: user, event: "Sent", properties: { n } }),
    close: () => posthog.shutdown(60_000),
  };
}
