// Runs the npm packages `cloudflared` and `untun`, as they are, and prints what their events say, a JSON line each.
//   node tunnels.mjs FOLDER-OF-MODULES PROGRAM STORY [TOKEN]
// A line on standard input ends a tunnel.
import { createRequire } from "node:module";
import { once } from "node:events";
import { pathToFileURL } from "node:url";

const [modules, program, story, token] = process.argv.slice(2);
const require = createRequire(`${modules}/package.json`);
const say = (event, value) => console.log(JSON.stringify({ event, value }));
const asked = () => once(process.stdin, "data");

async function cloudflaredByToken() {
  const { Tunnel, ConfigHandler, use } = require("cloudflared");
  use(program);
  // Of several lines that arrive at once the package reads the first alone: one connection is told reliably.
  const tunnel = Tunnel.withToken(token, { "--no-autoupdate": true, "--ha-connections": 1 });
  new ConfigHandler(tunnel).on("config", (c) => say("config", c));
  for (const event of ["url", "connected", "disconnected", "error"]) tunnel.on(event, (v) => say(event, v));
  const exit = once(tunnel, "exit");
  await asked();
  tunnel.stop();
  say("exit", await exit);
}

async function cloudflaredQuick() {
  const { Tunnel, use } = require("cloudflared");
  use(program);
  const tunnel = Tunnel.quick("http://localhost:1");
  let text = "";
  tunnel.on("url", (v) => say("url", v));
  tunnel.on("stderr", (t) => (text += t));
  const exit = await once(tunnel, "exit");
  say("exit", exit);
  say("stderr", text);
}

const untun = () => import(pathToFileURL(`${modules}/node_modules/untun/dist/index.mjs`));

// It starts TMPDIR/node-untun/cloudflared.VERSION, which the caller has put there.
async function untunQuick() {
  const tunnel = await (await untun()).startTunnel({ port: 1, acceptCloudflareNotice: true });
  say("error", await tunnel.getURL().then(() => null, (e) => e.message));
}

async function untunByToken() {
  const tunnel = await (await untun()).startTunnel({
    url: program,
    acceptCloudflareNotice: true,
    extraArgs: ["run", "--token", token],
  });
  tunnel.getURL().catch((e) => say("ended", e.message));
  say("started", null);
  await asked();
  await tunnel.close();
  say("closed", null);
}

// untun also rejects a promise of connections that it does not hand out.
process.on("unhandledRejection", () => {});

await { cloudflaredByToken, cloudflaredQuick, untunQuick, untunByToken }[story]();
process.stdin.destroy();
