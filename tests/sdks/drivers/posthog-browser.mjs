import posthog from "posthog-js";

export async function open({ host, key, user }) {
  await new Promise((resolve) => {
    posthog.init(key, { api_host: host, loaded: resolve, request_queue_config: { flush_interval_ms: 250 } });
  });
  posthog.identify(user, { plan: "pro" });
  return {
    track: (n) => posthog.capture("Sent", { n }),
    kinds: (old) => {
      posthog.capture("$pageview", { path: "/" });
      posthog.group("company", "g1", { size: 3 });
      posthog.alias(user, old);
    },
    close: () => undefined,
  };
}
