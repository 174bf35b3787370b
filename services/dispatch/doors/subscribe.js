/* dangolWebPush({worker: "/dangol-worker.js", identify: (traits) => analytics.identify(traits)})
   Call it when a button is pressed; resolves to the subscription, or null if permission was refused. */
const dangolBase = new URL(".", document.currentScript.src).href;
async function dangolWebPush({ worker = "/dangol-worker.js", identify }) {
  if (!("serviceWorker" in navigator) || !("PushManager" in window)) return null;
  if ((await Notification.requestPermission()) !== "granted") return null;
  const registration = await navigator.serviceWorker.register(worker);
  const key = (await (await fetch(dangolBase + "key")).json()).key;
  const padded = key.replace(/-/g, "+").replace(/_/g, "/") + "=".repeat((4 - (key.length % 4)) % 4);
  const bytes = Uint8Array.from(atob(padded), (sign) => sign.charCodeAt(0));
  const subscription = await registration.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: bytes });
  const found = subscription.toJSON();
  identify({ web_push: { endpoint: found.endpoint, keys: found.keys } });
  return subscription;
}
