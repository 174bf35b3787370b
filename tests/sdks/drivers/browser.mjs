// browser.mjs PROGRAM [settings]: a program, or a driver if there are settings, in a page of a real Chromium.
//
// The page comes from an origin of its own, as a shop's would. It stays open until standard input ends, as a page does
// until its visitor leaves; whatever went wrong in it is told on standard error.
import { createServer } from "node:http";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const [program, settings] = process.argv.slice(2);
const here = dirname(fileURLToPath(import.meta.url));
const entry = settings
  ? `import { open } from ${JSON.stringify(program)}; import { loop } from "./loop.mjs";
     loop(open, ${settings}).then(() => console.info("sent"), (error) => console.error(error));`
  : `import ${JSON.stringify(program)}`;
const { outputFiles } = await build({
  stdin: { contents: entry, resolveDir: here },
  bundle: true,
  write: false,
  format: "esm",
  nodePaths: [`${here}/../node_modules`],
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  logLevel: "error",
});
const page = `<!doctype html><title>A shop</title><script type="module" src="/script.js"></script>`;
const site = createServer((request, response) => {
  const script = request.url === "/script.js";
  response.setHeader("Content-Type", script ? "text/javascript" : "text/html");
  response.end(script ? outputFiles[0].text : page);
});
await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.SDK_CHROMIUM,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
try {
  // Headless Chromium says that it is driven, and posthog-js sends nothing for robots.
  const { 0: version } = browser.version().split(".");
  const userAgent = `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/${version}.0.0.0 Safari/537.36`;
  const tab = await browser.newPage({ userAgent });
  await tab.addInitScript(() => {
    Object.defineProperty(Navigator.prototype, "webdriver", { get: () => false });
    Object.defineProperty(Navigator.prototype, "userAgentData", { get: () => undefined });
  });
  tab.on("console", (message) => console.error(`${message.type()}: ${message.text()}`));
  tab.on("pageerror", (error) => console.error(`pageerror: ${error.message}`));
  await tab.goto(`http://127.0.0.1:${site.address().port}/`);
  process.stdin.resume();
  await new Promise((resolve) => process.stdin.once("end", resolve));
} finally {
  await browser.close();
  site.close();
}
process.exit(0);
