// Several events in one request, with the page's cookies.
import { openWith } from "./segment-browser.mjs";

const config = { size: 5, timeout: 200, credentials: "include" };
export const open = openWith({ deliveryStrategy: { strategy: "batching", config } });
