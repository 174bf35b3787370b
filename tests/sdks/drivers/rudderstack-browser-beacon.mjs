// Beacons, which carry no headers and hear no answer.
import { openWith } from "./rudderstack-browser.mjs";

export const open = openWith({
  useBeacon: true,
  beaconQueueOptions: { maxItems: 3, flushQueueInterval: 200 },
});
