// A service made of Node's own HTTP server and the ws package: what people really run behind a tunnel.
// Prints the port it listens on.
"use strict";
const http = require("http");
const { WebSocketServer } = require("ws");

const server = http.createServer((request, response) => {
  const path = request.url.split("?")[0];
  if (path === "/sse") {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" });
    let id = Number(request.headers["last-event-id"] || 0);
    // The next event only once the client has said that the last one arrived: nothing may wait for more.
    const send = () => response.write(`id: ${++id}\ndata: ${JSON.stringify({ id })}\n\n`);
    waiting.set(request.url.split("?")[1], { send, end: () => response.end() });
    response.on("close", () => left.push(request.url.split("?")[1]));
    send();
  } else if (path === "/more" || path === "/end") {
    const listener = waiting.get(request.url.split("?")[1]);
    path === "/more" ? listener.send() : listener.end();
    response.end("ok");
  } else if (path === "/left") {
    response.end(JSON.stringify(left));
  } else if (path === "/hints") {
    response.writeEarlyHints({ link: "</style.css>; rel=preload; as=style" });
    setImmediate(() => response.end("hinted"));
  } else if (path === "/trailers") {
    response.writeHead(200, { trailer: "x-checksum" });
    response.write("body");
    response.addTrailers({ "x-checksum": "2a" });
    response.end();
  } else if (path === "/echo") {
    request.pipe(response);
    request.on("end", () => heard.push(request.trailers));
  } else if (path === "/heard") {
    response.end(JSON.stringify(heard));
  } else {
    response.end(`${request.method} ${request.url}`);
  }
});
const waiting = new Map();
const left = [];
const heard = [];

// Only a body that is small enough is invited.
server.on("checkContinue", (request, response) => {
  if (Number(request.headers["content-length"]) > 1000) {
    response.writeHead(413, { "content-type": "text/plain" });
    response.end("too large");
  } else {
    response.writeContinue();
    request.pipe(response);
  }
});

const sockets = new WebSocketServer({
  server,
  path: "/socket",
  perMessageDeflate: { threshold: 100 },
  handleProtocols: (offered) => (offered.has("chat.v2") ? "chat.v2" : false),
});
sockets.on("connection", (socket, request) => {
  socket.send(JSON.stringify({ protocol: socket.protocol, extensions: socket.extensions, cookie: request.headers.cookie }));
  socket.on("message", (data, isBinary) => {
    const text = isBinary ? "" : data.toString();
    if (text === "close") socket.close(4001, "as you wish");
    else if (text === "ping") socket.ping("are you there?");
    else socket.send(data, { binary: isBinary });
  });
  socket.on("pong", (data) => socket.send(`pong ${data}`));
});

server.listen(0, "127.0.0.1", () => console.log(server.address().port));
