// Passkeys (WebAuthn) for the forms that ask for them. What the browser makes goes into hidden fields, and the form
// is sent as any other; without this file the forms stay hidden, and the other ways to sign in work.
"use strict";

const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const toText = (buffer) =>
	btoa(String.fromCharCode(...new Uint8Array(buffer)))
		.replace(/\+/g, "-")
		.replace(/\//g, "_")
		.replace(/=+$/, "");

const makers = {
	async get(form, challenge) {
		const made = await navigator.credentials.get({
			publicKey: { challenge, rpId: form.dataset.rp, userVerification: "required", timeout: 120000 },
		});
		return {
			credential: toText(made.rawId),
			client_data: toText(made.response.clientDataJSON),
			auth_data: toText(made.response.authenticatorData),
			signature: toText(made.response.signature),
		};
	},
	async create(form, challenge) {
		const known = form.dataset.known.split(" ").filter(Boolean);
		const made = await navigator.credentials.create({
			publicKey: {
				challenge,
				rp: { id: form.dataset.rp, name: form.dataset.brand },
				user: {
					id: new TextEncoder().encode(form.dataset.user),
					name: form.dataset.email,
					displayName: form.dataset.email,
				},
				pubKeyCredParams: [-7, -8, -257].map((alg) => ({ type: "public-key", alg })),
				excludeCredentials: known.map((id) => ({ type: "public-key", id: toBytes(id) })),
				authenticatorSelection: { residentKey: "required", userVerification: "required" },
				attestation: "none",
				timeout: 120000,
			},
		});
		return {
			client_data: toText(made.response.clientDataJSON),
			auth_data: toText(made.response.getAuthenticatorData()),
		};
	},
};

function prepare(form) {
	const problem = form.querySelector("[role=alert]");
	const button = form.querySelector("button");

	form.hidden = false;
	form.addEventListener("submit", async (event) => {
		event.preventDefault();
		problem.hidden = true;
		button.disabled = true;
		try {
			const made = await makers[form.dataset.passkey](form, toBytes(form.dataset.challenge));
			for (const [name, value] of Object.entries(made)) form.elements[name].value = value;
			form.submit();
		} catch {
			problem.hidden = false;
			button.disabled = false;
		}
	});
}

if (window.PublicKeyCredential) document.querySelectorAll("form[data-passkey]").forEach(prepare);
