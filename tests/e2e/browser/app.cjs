// A small application: it greets whom the edge says is there, and echoes over a WebSocket.
const http = require("http");
const { WebSocketServer } = require("ws");

const page = `<!doctype html><html lang="en"><title>App</title><main><h1>Hello WHO</h1><p id="echo">…</p></main><script>
const socket = new WebSocket("wss://" + location.host + "/socket");
const say = (text) => (document.getElementById("echo").textContent = text);
socket.onopen = () => socket.send("across");
socket.onmessage = (event) => say("echo of " + event.data);
socket.onclose = () => say("closed");
</script></html>`;

const server = http.createServer((request, response) => {
	const who = request.headers["cf-access-authenticated-user-email"] || "nobody";
	response.setHeader("Content-Type", "text/html");
	response.end(page.replace("WHO", who));
});
const sockets = new WebSocketServer({ server });
sockets.on("connection", (socket, request) =>
	socket.on("message", (data) => socket.send(`${data} from ${request.headers["cf-access-authenticated-user-email"]}`)),
);
server.listen(0, "127.0.0.1", () => console.log("listening", server.address().port));
