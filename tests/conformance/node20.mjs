// The suite imports `globSync` of `fs`, which Node 20 lacks, for a command that is not used here (`tier-check`).
// Nothing else of the suite or of Node is touched.
import { register } from "node:module";

const files = `export * from "node:fs"; export { default } from "node:fs"; export const globSync = undefined;`;
const hook = `
export function resolve(name, context, next) {
  const isSuites = name === "fs" && (context.parentURL ?? "").includes("/@modelcontextprotocol/conformance/");
  return isSuites ? { url: ${JSON.stringify("data:text/javascript," + encodeURIComponent(files))}, shortCircuit: true } : next(name, context);
}`;
register("data:text/javascript," + encodeURIComponent(hook));
