// Several events in one request.
import { openWith } from "./rudderstack-browser.mjs";

export const open = openWith({
  queueOptions: { batch: { enabled: true, maxItems: 3, flushInterval: 200 } },
});
