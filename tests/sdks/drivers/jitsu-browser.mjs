export { open } from "./jitsu.mjs"; // the same package runs in both
