// A WebSocket client of the ws package: connects to URL through the edge, plays a short piece, prints JSON.
"use strict";
const fs = require("fs");
const crypto = require("crypto");
const WebSocket = require("ws");

const [url, address, ca] = process.argv.slice(2);
const told = { messages: 0, pings: 0 };
const socket = new WebSocket(url, ["chat.v1", "chat.v2"], {
  ca: fs.readFileSync(ca),
  headers: { cookie: "a=b; c=d" },
  lookup: (name, options, done) => done(null, options.all ? [{ address, family: 4 }] : address, 4),
});

const next = () => new Promise((resolve) => socket.once("message", (data, binary) => resolve({ data, binary })));
const echo = async (message) => {
  const reply = next();
  socket.send(message);
  const { data, binary } = await reply;
  const sent = Buffer.isBuffer(message) ? message : Buffer.from(message);
  if (binary !== Buffer.isBuffer(message) || !data.equals(sent)) throw new Error("the echo differs");
  told.messages++;
};

socket.on("ping", () => told.pings++);
socket.on("unexpected-response", (request, response) => {
  console.log(JSON.stringify({ status: response.statusCode }));
  process.exit(0);
});
socket.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
socket.on("close", (code, reason) => {
  Object.assign(told, { code, reason: reason.toString() });
  console.log(JSON.stringify(told));
});
const welcome = next();
socket.on("open", async () => {
  told.welcome = JSON.parse((await welcome).data);
  told.protocol = socket.protocol;
  for (let i = 0; i < 50; i++) await echo(`message ${i} ${"x".repeat(i * 50)}`);
  for (const size of [0, 125, 126, 65535, 65536, 3 << 20]) await echo(crypto.randomBytes(size));
  const pong = next();
  socket.send("ping");
  told.pong = (await pong).data.toString();
  socket.send("close");
});
