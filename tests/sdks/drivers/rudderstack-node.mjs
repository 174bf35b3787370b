import Analytics from "@rudderstack/rudder-sdk-node";

export function open({ host, key, user, lost }) {
  const rudder = new Analytics(key, {
    dataPlaneUrl: host,
    flushAt: 5,
    flushInterval: 100,
    errorHandler: lost,
    logLevel: "error",
  });
  const heard = [];
  return {
    track: (n) =>
      heard.push(
        new Promise((resolve) => {
          rudder.track({ userId: user, event: "Sent", properties: { n } }, resolve);
        }),
      ),
    kinds: (old) => {
      rudder.identify({ userId: user, traits: { plan: "pro" } });
      rudder.page({ userId: user, category: "Docs", name: "Home", properties: { path: "/" } });
      rudder.screen({ userId: user, name: "Start" });
      rudder.group({ userId: user, groupId: "g1", traits: { size: 3 } });
      rudder.alias({ previousId: old, userId: user });
    },
    close: async () => {
      await rudder.flush();
      await Promise.all(heard);
    },
  };
}
