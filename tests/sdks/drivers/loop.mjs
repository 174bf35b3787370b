// What every driver in JavaScript does: send `count` events of one customer, one after the other with a pause, and
// deliver them; or, with `kinds`, make one call of each kind that the SDK has. A driver exports
// `open({host, key, user, lost})`, which returns `{track(n), kinds(old), close()}`; `old` is an id that the customer had,
// and `lost` is told of whatever the SDK itself gives up.
export async function loop(open, { host, key, user, count, pause, kinds }) {
  const losses = [];
  const sdk = await open({ host, key, user, lost: (error) => losses.push(String(error?.message ?? error)) });
  if (kinds) sdk.kinds(`old-${user}`);
  for (let n = 0; n < count; n += 1) {
    sdk.track(n);
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  await sdk.close();
  if (losses.length > 0) throw new Error(`the SDK gave up: ${losses.join("; ")}`);
}
