import { DittofeedSdk } from "@dittofeed/sdk-web";

export async function open({ host, key, user, lost }) {
  addEventListener("unhandledrejection", (event) => lost(event.reason));
  await DittofeedSdk.init({ host, writeKey: key });
  return {
    track: (n) => DittofeedSdk.track({ userId: user, event: "Sent", properties: { n } }),
    close: () => DittofeedSdk.flush(),
  };
}
