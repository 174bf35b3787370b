import { DittofeedSdk } from "@dittofeed/sdk-node";

export async function open({ host, key, user, lost }) {
  process.on("unhandledRejection", lost);
  const writeKey = `Basic ${btoa(`${key}:`)}`;
  await DittofeedSdk.init({ host, writeKey, batchSize: 2, flushInterval: 50 });
  return {
    track: (n) => DittofeedSdk.track({ userId: user, event: "Sent", properties: { n } }),
    kinds: () => {
      DittofeedSdk.identify({ userId: user, traits: { plan: "pro" } });
      DittofeedSdk.page({ userId: user, name: "Home", properties: { path: "/" } });
      DittofeedSdk.screen({ userId: user, name: "Start" });
    },
    close: () => DittofeedSdk.flush(),
  };
}
