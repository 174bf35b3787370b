import { jitsuAnalytics } from "@jitsu/js";

export async function open({ host, key, user, lost }) {
  const jitsu = jitsuAnalytics({ host, writeKey: key });
  await jitsu.identify(user, { plan: "pro" });
  const heard = [];
  return {
    track: (n) => heard.push(jitsu.track("Sent", { n }).catch(lost)),
    kinds: () => {
      heard.push(jitsu.page({ name: "Home", category: "Docs", path: "/" }).catch(lost));
      heard.push(jitsu.group("g1", { size: 3 }).catch(lost));
    },
    close: () => Promise.all(heard),
  };
}
