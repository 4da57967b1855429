// A real OpenID provider with its own sign-in and consent pages: node idp.mjs SETTINGS (JSON).
import https from "node:https";
import fs from "node:fs";
import { createRequire } from "node:module";

const settings = JSON.parse(process.argv[2]);
const { default: Provider } = await import(createRequire(settings.modules + "/").resolve("oidc-provider"));

const provider = new Provider(settings.issuer, {
	clients: settings.clients,
	claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "preferred_username"] },
	// Whoever signs in as NAME is NAME@example.com.
	findAccount: (ctx, id) => ({
		accountId: id,
		claims: () => ({
			sub: id,
			name: `${id} of the provider`,
			email: `${id}@example.com`,
			email_verified: true,
			preferred_username: `${id}@example.com`,
		}),
	}),
	cookies: { keys: ["of a test"] },
	pkce: { required: () => true },
});

const tls = { cert: fs.readFileSync(settings.cert), key: fs.readFileSync(settings.key) };
https.createServer(tls, provider.callback()).listen(settings.port, "127.0.0.1", () => console.log("listening"));
