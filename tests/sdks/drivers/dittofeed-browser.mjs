import { DittofeedSdk } from "@dittofeed/sdk-web";

export async function open({ host, key, user, lost }) {
  addEventListener("unhandledrejection", (event) => lost(event.reason));
  await DittofeedSdk.init({ host, writeKey: key });
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
