// People who sign in with a browser: node session.mjs SETTINGS (a file with JSON). One line of JSON for each story, as it
// ends; pictures go to settings.results.
import fs from "node:fs";
import path from "node:path";
import { createRequire } from "node:module";

const settings = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const require = createRequire(settings.modules + "/");
const { chromium } = require("playwright-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const PHONE = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
const DESK = { viewport: { width: 1100, height: 800 } };

const browser = await chromium.launch({
	executablePath: settings.chromium,
	args: ["--no-sandbox", "--disable-gpu", "--disable-quic", `--host-resolver-rules=MAP *.example.com 127.0.0.1`],
	env: { ...process.env, HOME: settings.home },
});

let story = "";

// The person behind one browser window.
class Person {
	static async make(options = {}) {
		const person = new Person();
		person.context = await browser.newContext({ ...DESK, ...options });
		person.context.setDefaultTimeout(settings.patience * 1000);
		person.page = await person.context.newPage();
		person.errors = [];
		// Pages of identity providers are not ours.
		const isOurs = (url) => !url || new URL(url).hostname.endsWith(".example.com");
		person.page.on("console", (m) => {
			if (m.type() === "error" && isOurs(m.location().url)) person.errors.push(`${m.text()} (${m.location().url})`);
		});
		person.page.on("pageerror", (e) => person.errors.push(String(e)));
		person.canScript = options.javaScriptEnabled !== false;
		return person;
	}

	// What the page looks like, and what axe-core says of it.
	async look(name) {
		await this.page.screenshot({ path: path.join(settings.results, `${story}-${name}.png`), fullPage: true });
		if (!this.canScript) return;
		await this.page.evaluate(axe);
		const found = await this.page.evaluate(() => window.axe.run());
		const wrong = found.violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" ")}`);
		if (wrong.length) throw new Error(`axe-core on ${name}: ${wrong.join("\n")}`);
	}

	async says(text) {
		await this.page.getByText(text).first().waitFor();
	}

	async open(url) {
		const answer = await this.page.goto(url);
		return answer.status();
	}

	// At the application, as this person, and over its WebSocket, too.
	async isIn(url, email) {
		await this.page.waitForURL(url);
		await this.says(`Hello ${email}`);
		if (this.canScript) await this.says(`echo of across from ${email}`);
	}

	async password(email, word) {
		const form = this.page.locator("form", { has: this.page.locator('input[type="password"]') });
		await form.getByLabel("E-mail").fill(email);
		await form.getByLabel("Password").fill(word);
		await form.getByRole("button").click();
	}

	// Out, and refused: neither the page nor a request nor a WebSocket gets through.
	async leave(url) {
		await this.open(url + "cdn-cgi/access/logout");
		await this.says("You are signed out");
		await this.look("signed-out");
		await this.open(url);
		await this.says("Sign in to");
		if (!this.canScript) return;
		await this.page.goto(url + "cdn-cgi/access/certs");
		const refused = await this.page.evaluate(async () => {
			const answer = await fetch("/", { headers: { Accept: "application/json" } });
			const socket = new WebSocket(`wss://${location.host}/socket`);
			const opened = await new Promise((done) => {
				socket.onopen = () => done(true);
				socket.onerror = () => done(false);
			});
			return [answer.status, opened];
		});
		if (refused[0] !== 401 || refused[1]) throw new Error(`after leaving: ${refused}`);
	}

	async end() {
		await this.context.close();
		// What a browser would not load or run is a mistake of the page; refused requests are what was wanted.
		const wrong = this.errors.filter((e) => !/40[013]|WebSocket connection to/.test(e));
		if (wrong.length) throw new Error(`in the console: ${wrong.join("\n")}`);
	}
}

const apps = settings.apps;
const pinFor = async (email) => (await fetch(`${settings.helper}/pin?email=${encodeURIComponent(email)}`)).text();

const stories = {
	async pin() {
		const ann = await Person.make({ ...PHONE, colorScheme: "light" });
		await ann.open(apps.all);
		await ann.look("sign-in");
		const form = ann.page.locator("form", { has: ann.page.getByRole("button", { name: "Send me a code" }) });
		await form.getByLabel("E-mail").fill("ann@example.com");
		await form.getByRole("button").click();
		await ann.says("Type in the code");
		await ann.look("code");
		await ann.page.getByLabel("Code").fill("000 000");
		await ann.page.getByRole("button", { name: "Sign in" }).click();
		await ann.says("That code is wrong");
		await ann.look("wrong-code");
		await ann.page.getByLabel("Code").fill(await pinFor("ann@example.com"));
		await ann.page.getByRole("button", { name: "Sign in" }).click();
		await ann.isIn(apps.all, "ann@example.com");
		await ann.look("app");
		await ann.leave(apps.all);
		await ann.end();
	},

	async dark() {
		const ann = await Person.make({ ...PHONE, colorScheme: "dark" });
		await ann.open(apps.all);
		await ann.look("sign-in");
		await ann.end();
		const wide = await Person.make({ colorScheme: "dark" });
		await wide.open(apps.all);
		await wide.look("wide");
		await wide.end();
	},

	async password() {
		const ann = await Person.make({ javaScriptEnabled: false });
		await ann.open(apps.all);
		await ann.look("sign-in");
		await ann.password("ann@example.com", "wrong");
		await ann.says("The e-mail address or the password is wrong.");
		await ann.look("wrong");
		await ann.password("ann@example.com", "sesame");
		await ann.isIn(apps.all, "ann@example.com");
		await ann.leave(apps.all);
		await ann.end();
	},

	async refused() {
		const eve = await Person.make();
		await eve.open(apps.all);
		await eve.password("eve@evil.test", "letmein");
		await eve.says("That account does not have access");
		await eve.look("no-access");
		await eve.page.getByRole("link", { name: "Sign out" }).click();
		await eve.says("You are signed out");
		await eve.end();
	},

	async oidc() {
		const bob = await Person.make();
		for (const kind of ["oidc", "google", "azureAD"]) {
			await bob.open(apps[kind]);
			if (kind === "oidc") await bob.look("sign-in");
			await bob.page.getByRole("button", { name: "Sign in with" }).click();
			// The provider's own pages: who one is, the first time, and whether one agrees.
			const login = bob.page.getByPlaceholder("Enter any login");
			const consent = bob.page.getByRole("button", { name: "Continue" });
			if (kind === "oidc") {
				await login.fill("bob");
				await bob.page.getByPlaceholder("and password").fill("anything");
				await bob.page.getByRole("button", { name: "Sign-in" }).click();
			}
			await consent.click();
			await bob.isIn(apps[kind], "bob@example.com");
			// Only what the provider said is wanted, not that of the one before.
			if (kind !== "azureAD") await bob.open(apps[kind] + "cdn-cgi/access/logout");
		}
		await bob.leave(apps.azureAD);
		// Whoever says no there is told so here.
		await bob.open(apps.oidc);
		await bob.page.getByRole("button", { name: "Sign in with" }).click();
		await bob.isIn(apps.oidc, "bob@example.com");
		await bob.end();
		const cat = await Person.make(PHONE);
		await cat.open(apps.oidc);
		await cat.page.getByRole("button", { name: "Sign in with" }).click();
		await cat.page.getByRole("link", { name: "Cancel" }).click();
		await cat.says("you said no there");
		await cat.look("said-no");
		await cat.end();
	},

	async at_once() {
		const bob = await Person.make();
		await bob.open(apps.atOnce);
		await bob.page.getByPlaceholder("Enter any login").fill("bob");
		await bob.page.getByPlaceholder("and password").fill("anything");
		await bob.page.getByRole("button", { name: "Sign-in" }).click();
		await bob.page.getByRole("button", { name: "Continue" }).click();
		await bob.isIn(apps.atOnce, "bob@example.com");
		await bob.end();
	},

	async github() {
		const ann = await Person.make();
		await ann.open(apps.github);
		await ann.look("sign-in");
		await ann.page.getByRole("button", { name: "Sign in with GitHub" }).click();
		await ann.page.getByRole("button", { name: "Authorize" }).click();
		await ann.isIn(apps.github, "ann@example.com");
		await ann.leave(apps.github);
		await ann.end();
	},

	async passkey() {
		const ann = await Person.make(PHONE);
		const devices = await ann.context.newCDPSession(ann.page);
		await devices.send("WebAuthn.enable");
		const { authenticatorId } = await devices.send("WebAuthn.addVirtualAuthenticator", {
			options: {
				protocol: "ctap2",
				transport: "internal",
				hasResidentKey: true,
				hasUserVerification: true,
				isUserVerified: true,
				automaticPresenceSimulation: true,
			},
		});
		await ann.open(apps.all);
		await ann.password("ann@example.com", "sesame");
		await ann.isIn(apps.all, "ann@example.com");
		await ann.open(settings.control + "/cdn-cgi/access/passkeys");
		await ann.look("none");
		await ann.page.getByLabel("Name").fill("my <phone>");
		await ann.page.getByRole("button", { name: "Add a passkey" }).click();
		await ann.says("my <phone>");
		await ann.look("one");
		await ann.open(settings.control + "/cdn-cgi/access/apps");
		await ann.says("Your applications");
		await ann.look("apps");
		await ann.page.getByRole("link", { name: "Your passkeys" }).click();
		// The same device again: it says that it has one.
		await ann.page.getByLabel("Name").fill("again");
		await ann.page.getByRole("button", { name: "Add a passkey" }).click();
		await ann.says("No passkey was made");
		await ann.leave(apps.all);

		await ann.open(apps.all);
		await ann.page.getByRole("button", { name: "Sign in with Passkey" }).click();
		await ann.isIn(apps.all, "ann@example.com");
		await ann.leave(apps.all);

		// A device that does not make sure who holds it.
		await devices.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
		await ann.open(apps.all);
		await ann.page.getByRole("button", { name: "Sign in with Passkey" }).click();
		await ann.says("That passkey was not used");
		await ann.look("refused");

		// A copy of the key, with an older counter: refused, and the counter in use goes on.
		await devices.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });
		const { credentials } = await devices.send("WebAuthn.getCredentials", { authenticatorId });
		await devices.send("WebAuthn.removeCredential", { authenticatorId, credentialId: credentials[0].credentialId });
		await devices.send("WebAuthn.addCredential", { authenticatorId, credential: { ...credentials[0], signCount: 0 } });
		await ann.open(apps.all);
		await ann.page.getByRole("button", { name: "Sign in with Passkey" }).click();
		await ann.says("That passkey cannot be used here");

		// Removed, it is of no use any more.
		await ann.password("ann@example.com", "sesame");
		await ann.isIn(apps.all, "ann@example.com");
		await ann.open(settings.control + "/cdn-cgi/access/passkeys");
		await ann.page.getByRole("button", { name: "Remove my <phone>" }).click();
		await ann.says("You have none yet");
		await ann.leave(apps.all);
		await ann.open(apps.all);
		await ann.page.getByRole("button", { name: "Sign in with Passkey" }).click();
		await ann.says("That passkey cannot be used here");
		await ann.end();
	},

	// The token of the application is gone, the session does not: on goes the visit, without a word.
	async silent() {
		const ann = await Person.make();
		await ann.open(apps.short);
		await ann.password("ann@example.com", "sesame");
		await ann.isIn(apps.short, "ann@example.com");
		await ann.context.clearCookies({ name: "CF_Authorization", domain: new URL(apps.short).hostname });
		await ann.open(apps.short + "?again");
		await ann.isIn(apps.short + "?again", "ann@example.com");
		await ann.end();
	},

	// Why somebody comes: asked once, also of those whose browser runs no scripts.
	async purpose() {
		for (const options of [{ ...PHONE, colorScheme: "dark" }, { colorScheme: "light" }, { javaScriptEnabled: false }]) {
			const ann = await Person.make(options);
			await ann.open(apps.why);
			await ann.password("ann@example.com", "sesame");
			await ann.says("Which ticket is it for?");
			await ann.look(`asked-${options.colorScheme ?? "plain"}`);
			const reason = ann.page.getByRole("textbox", { name: "Your reason", description: /Which ticket is it for/ });
			await reason.fill(" \n ");
			await ann.page.getByRole("button", { name: "Continue" }).click();
			await ann.says("Write a few words");
			await ann.look(`asked-again-${options.colorScheme ?? "plain"}`);
			await reason.fill("Ticket <17>");
			await ann.page.getByRole("button", { name: "Continue" }).click();
			await ann.isIn(apps.why, "ann@example.com");
			await ann.open(apps.why);
			await ann.isIn(apps.why, "ann@example.com");
			await ann.end();
		}
	},
};

for (const [name, tell] of Object.entries(stories)) {
	const began = Date.now();
	let problem = null;
	story = name;
	try {
		await tell();
	} catch (e) {
		problem = String(e.stack || e);
		for (const [i, context] of browser.contexts().entries())
			for (const page of context.pages()) {
				await page.screenshot({ path: path.join(settings.results, `${name}-failed-${i}.png`) }).catch(() => {});
				problem += `\nat ${page.url()}: ${(await page.innerText("body").catch(() => "")).slice(0, 600)}`;
			}
	}
	for (const context of browser.contexts()) await context.close();
	console.log(JSON.stringify({ story: name, problem, ms: Date.now() - began }));
}
await browser.close();
