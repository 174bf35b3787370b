// The newer protocol, which posthog-node takes from its environment.
import * as driver from "./posthog-node.mjs";

export function open(place) {
  process.env.POSTHOG_CAPTURE_MODE = "v1";
  return driver.open(place);
}
