// run.mjs DRIVER '{"host": …}': a driver in Node.
import { loop } from "./loop.mjs";

const [name, settings] = process.argv.slice(2);
const { open } = await import(`./${name}.mjs`);
await loop(open, JSON.parse(settings));
process.exit(0); // some SDKs keep timers that would hold the process
