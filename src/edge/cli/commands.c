/* The table of commands, and the help that is made from it. */
#include <stdio.h>
#include <string.h>

#include "edge/cli/command.h"

static int help(struct cli *c);

const struct command cli_commands[] = {
	{ "init",
	  "",
	  "create the state of an edge, or complete it",
	  "Creates the database, the master key, the built-in CA (DIR/ca.pem), a zone and the first\n"
	  "administrator, with a link to sign in once. What is there already stays as it is, so it may be\n"
	  "run again. With a new --control HOST the control host changes; a running edge must be restarted\n"
	  "then. Settings given here shape what is printed; those to keep belong in DIR/edge.yml.",
	  0,
	  0,
	  true,
	  false,
	  false,
	  { { "zone", "ZONE", "domain whose hostnames this edge serves, like example.com" },
	    { "control", "HOST", "where the API and the pages live (adit.ZONE)" },
	    { "admin", "EMAIL", "first administrator (admin@ZONE)" } },
	  cli_init },
	{ "run",
	  "",
	  "serve, in the foreground",
	  "Serves until SIGTERM or SIGINT, then lets requests in flight finish. Flags win over DIR/edge.yml,\n"
	  "which holds the same names without dashes (\"https: 0.0.0.0:8443\"; a list where a flag may be\n"
	  "given more than once). SIGUSR2 makes it start its own successor, for upgrades without loss.",
	  0,
	  0,
	  true,
	  true,
	  false,
	  { { "takeover", NULL,
	      "be the successor of the edge that runs on this state: take its sockets, let it finish" } },
	  cli_run },
	{ "check",
	  "",
	  "validate configuration, state and certificates",
	  "Starts nothing and changes nothing. Says what is wrong, with file, line and column.",
	  0,
	  0,
	  true,
	  true,
	  false,
	  { { 0 } },
	  cli_check },
	{ "status",
	  "",
	  "how the edge is doing",
	  "Ends with 0 when the edge is running, and with 1 when it is not: for health checks.",
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_status },
	{ "cert",
	  "",
	  "print a login certificate (cert.pem)",
	  "Prints what `adit tunnel login` would fetch, for scripts and hosts without a browser. Whoever has\n"
	  "it can create tunnels and route hostnames of the zone: keep it readable by its owner only.",
	  0,
	  0,
	  true,
	  false,
	  false,
	  { { "zone", "ZONE", "zone the certificate is for; may be left out when there is one" } },
	  cli_cert },
	{ "zone add",
	  "ZONE",
	  "serve another domain",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_zone_add },
	{ "zone list",
	  "",
	  "domains that are served",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_zone_list },
	{ "zone remove",
	  "ZONE",
	  "forget a domain that has no routes",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_zone_remove },
	{ "zone set",
	  "ZONE SETTING=VALUE…",
	  "how its visitors are served: HSTS, TLS version, certificates of clients",
	  "  hsts=max-age=31536000,includeSubDomains,preload    Strict-Transport-Security in answers;\n"
	  "                  off, or the parts one wants (RFC 6797)\n"
	  "  min-tls=1.3     or 1.2, the default: what handshakes must offer\n"
	  "  client-cert=require     certificates of clients (mTLS): or optional, or off\n"
	  "  client-ca=FILE  who may have issued those, PEM\n"
	  "inherit takes a setting back. All hostnames of the zone are served like that, but for those that\n"
	  "have settings of their own (`adit-edge route set`); the control host asks nobody for a\n"
	  "certificate unless that is set for itself.",
	  2,
	  6,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_zone_set },
	{ "zone show",
	  "ZONE",
	  "how its visitors are served",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_zone_show },
	{ "route set",
	  "HOSTNAME SETTING=VALUE…",
	  "the same for one hostname",
	  "  hsts=max-age=31536000,includeSubDomains,preload    Strict-Transport-Security in answers;\n"
	  "                  off, or the parts one wants (RFC 6797)\n"
	  "  min-tls=1.3     or 1.2, the default: what handshakes must offer\n"
	  "  client-cert=require     certificates of clients (mTLS): or optional, or off\n"
	  "  client-ca=FILE  who may have issued those, PEM\n"
	  "  passthrough=on  TLS ends at the service, which has the certificate: this edge passes the bytes on and\n"
	  "                  never sees what is in them; the other settings have no effect then. off is the default\n"
	  "inherit takes a setting back. What is not set for a hostname is as in its zone. It stays set when the route\n"
	  "goes.",
	  2,
	  7,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_route_set },
	{ "route show",
	  "HOSTNAME",
	  "how visitors of a hostname are served",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_route_show },
	{ "route remove",
	  "HOSTNAME",
	  "a hostname leads to no tunnel any more",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_route_remove },
	{ "dns add",
	  "NAME TYPE DATA…",
	  "add a record to a zone",
	  "  adit-edge dns add example.com MX 10 mail.example.net\n"
	  "  adit-edge dns add www.example.com A 203.0.113.7\n"
	  "  adit-edge dns add example.com TXT 'v=spf1 mx -all'\n"
	  "  adit-edge dns add _sip._tcp.example.com SRV 10 5 5060 sip.example.com\n"
	  "  adit-edge dns add example.com CAA 0 issue letsencrypt.org\n"
	  "TYPE is A, AAAA, CNAME, MX, TXT, SRV or CAA. Names stand in full. Hostnames that are routed to a tunnel\n"
	  "have their addresses already. It counts where this edge answers for the zone (the setting dns).",
	  3,
	  8,
	  true,
	  false,
	  true,
	  { { "ttl", "SECONDS", "how long it may be kept (300)" } },
	  cli_dns_add },
	{ "dns list",
	  "[ZONE]",
	  "records of zones, routed hostnames among them",
	  NULL,
	  0,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dns_list },
	{ "dns remove",
	  "NAME [TYPE [DATA…]]",
	  "remove records of a name",
	  "All of them, those of a type, or one. Routes stay: see `adit-edge route remove`.",
	  1,
	  8,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_dns_remove },
	{ "dns ds",
	  "[ZONE]",
	  "what the registrar needs for DNSSEC",
	  "Prints the DS record that belongs into the parent zone. The key is made when there is none yet, and stays.",
	  0,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dns_ds },
	{ "dns dnssec status",
	  "[ZONE]",
	  "keys of zones, and how far their rolls are",
	  "What the parent zone should have, and what is waited for until when.",
	  0,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dnssec_status },
	{ "dns dnssec roll",
	  "ZONE",
	  "a new DNSSEC key takes the place of the old one",
	  "First it is published beside the old one, for as long as resolvers keep keys (dns-ttl). Then it signs, and\n"
	  "the DS record at the parent has to be replaced: `adit-edge dns dnssec status` shows it. Once it is there\n"
	  "(this edge asks its resolver, or `adit-edge dns dnssec ds-seen` says so), the old key stays for as long as\n"
	  "resolvers keep the old DS record (dns-ds-ttl), and goes. Nothing has to be done but for the DS record.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dnssec_roll },
	{ "dns dnssec ds-seen",
	  "ZONE",
	  "say that the parent zone has the new DS record",
	  "On all its name servers. Where the edge's resolver sees it, this is not needed.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dnssec_seen },
	{ "dns dnssec cancel",
	  "ZONE",
	  "end a roll whose new key does not sign yet",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dnssec_cancel },
	{ "dns key add",
	  "NAME",
	  "make a key shared with another name server (TSIG)",
	  "Prints it once, as BIND and NSD have it in their configuration. With --stdin an existing secret (base64)\n"
	  "is read from standard input instead.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "algorithm", "NAME",
	      "hmac-sha256, hmac-sha384, hmac-sha512 or hmac-sha1 (hmac-sha256)" },
	    { "stdin", NULL, "read the secret, print nothing of it" },
	    { "output", "FILE", "write the key there instead, readable by its owner only" } },
	  cli_dns_key_add },
	{ "dns key list",
	  "",
	  "keys, without their secrets",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dns_key_list },
	{ "dns key remove",
	  "NAME",
	  "forget a key",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_dns_key_remove },
	{ "dns secondary add",
	  "IP[:PORT]",
	  "let another name server have the zones",
	  "Whoever signs with the key may transfer all zones (AXFR, IXFR), from any address; IP:PORT is told of\n"
	  "changes (NOTIFY).",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "key", "NAME", "of `adit-edge dns key add`" } },
	  cli_dns_secondary_add },
	{ "dns secondary list",
	  "",
	  "other name servers of the zones",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_dns_secondary_list },
	{ "dns secondary remove",
	  "IP[:PORT]",
	  "that one no longer",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_dns_secondary_remove },
	{ "dns update-to",
	  "[ZONE [SERVER|off]]",
	  "tell the name server that keeps a zone of our hostnames",
	  "For zones that cannot be delegated to this edge: SERVER (IP or IP:PORT) gets their A and AAAA records by\n"
	  "updates (RFC 2136) as routes come and go. Its other records are left alone; where some are in the way,\n"
	  "`adit-edge status` says so, and `adit tunnel route dns --overwrite-dns` replaces them. Without words, shows\n"
	  "which zones there are; off ends it, and what is there stays.",
	  0,
	  2,
	  true,
	  false,
	  true,
	  { { "key", "NAME", "signs updates: a key of `adit-edge dns key add`" },
	    { "target", "HOSTNAME", "CNAME records of it instead of addresses" },
	    { "ttl", "SECONDS", "of the records (300)" } },
	  cli_dns_update_to },
	{ "access protect",
	  "PLACE",
	  "let only those in who are allowed to",
	  "Guards a hostname, or a path of one (app.example.com/admin): visitors say who they are first. Whatever\n"
	  "else Access can do is in a document: `adit-edge access export` shows it, `adit-edge access apply` puts it\n"
	  "in place.\n"
	  "\n"
	  "  adit-edge access protect app.example.com --allow me@example.com --allow @example.org",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "allow", "WHO",
	      "e-mail address, @domain, network, or everyone who signs in (more than once)" },
	    { "session", "DURATION", "how long a sign-in lasts: 30m, 24h" },
	    { "ask-reason", NULL, "whoever comes says why; it is kept in the audit log" } },
	  cli_access_protect },
	{ "access apply",
	  "FILE",
	  "put a document in place",
	  "Organisation, identity providers, groups, policies, service tokens and applications, as\n"
	  "`adit-edge access export` shows them; all of it is put in place, or nothing. Objects are known by name.\n"
	  "What the document does not name stays, unless --prune is given. \"client_secret: file:PATH\" and\n"
	  "\"env:NAME\" keep secrets out of it. - is standard input.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "dry-run", NULL, "only say what would happen" },
	    { "prune", NULL, "remove what the document does not name" } },
	  cli_access_apply },
	{ "access export",
	  "",
	  "print the document",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_export },
	{ "access list",
	  "[KIND]",
	  "what there is: app (unless said), policy, group, idp, token",
	  NULL,
	  0,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_list },
	{ "access show",
	  "KIND NAME",
	  "one object, as the API has it",
	  NULL,
	  2,
	  2,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_show },
	{ "access remove",
	  "KIND NAME",
	  "remove an app, policy, group, idp or token",
	  "An application that is removed is open to everybody if it has a route.",
	  2,
	  2,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_remove },
	{ "access test",
	  "",
	  "who would be let in, and which rule says so",
	  "Nothing is changed and nobody is asked. Exit status 0 if they are let in.\n"
	  "\n"
	  "  adit-edge access test --app app.example.com --email me@example.com --ip 203.0.113.7",
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { "app", "APP", "its name, or a place in it: app.example.com/admin" },
	    { "email", "EMAIL", "who has signed in; none: nobody has" },
	    { "idp", "NAME", "by which identity provider" },
	    { "group", "NAME", "that it says they are in (more than once)" },
	    { "ip", "ADDR", "where from" },
	    { "token", "NAME", "with this service token" },
	    { "common-name", "NAME", "with a client certificate of this name" } },
	  cli_access_test },
	{ "access revoke",
	  "APP",
	  "ask everybody again who was let into an application",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_revoke },
	{ "access rotate-keys",
	  "",
	  "sign tokens with the next key",
	  "Keys change by themselves every six weeks. The next one is published before it signs, so that nobody who\n"
	  "checks tokens is surprised by it; if it has not been yet, it is now, and signs two minutes later. When a\n"
	  "key may be in wrong hands: --withdraw.",
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { "now", NULL, "do not wait: a key that nobody has seen yet signs at once" },
	    { "withdraw", NULL,
	      "so it does, and all that was signed before is void: everybody signs in again" } },
	  cli_access_rotate },
	{ "access ssh-ca",
	  "APP",
	  "print the SSH authority of an application",
	  "For sshd: TrustedUserCAKeys. It is made when it is first asked for.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_ssh_ca },
	{ "access token add",
	  "NAME",
	  "make a service token",
	  "For programs: they send its two parts in CF-Access-Client-Id and CF-Access-Client-Secret.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "duration", "DURATION", "how long it is good (8760h); forever" } },
	  cli_access_token_add },
	{ "access token rotate",
	  "NAME",
	  "give a service token a new secret",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "grace", "DURATION", "how long the old one stays good (24h)" } },
	  cli_access_token_rotate },
	{ "access api-token add",
	  "NAME",
	  "print a token for the API that administers Access",
	  "For accounts/ID/access/… of the API, and for nothing else; tokens of tunnels are not good for that. It is\n"
	  "shown this once.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_api_add },
	{ "access api-token list",
	  "",
	  "which of these there are",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_api_list },
	{ "access api-token remove",
	  "NAME",
	  "remove one of them",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_api_remove },
	{ "access user add",
	  "EMAIL",
	  "add somebody who signs in with a password or a passkey",
	  "People who sign in by code or by an identity provider need not be added. Policies say who may pass.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "name", "NAME", "as they are called" } },
	  cli_access_user_add },
	{ "access user list",
	  "",
	  "who has signed in, or was added",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_user_list },
	{ "access user password",
	  "EMAIL",
	  "set a password",
	  "Asks for it on a terminal, else reads one line of standard input.",
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_user_password },
	{ "access user revoke",
	  "EMAIL",
	  "sign somebody out everywhere",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_user_revoke },
	{ "access user remove",
	  "EMAIL",
	  "forget somebody, with password and passkeys",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_user_remove },
	{ "access user passkeys list",
	  "EMAIL",
	  "the passkeys somebody signs in with",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_access_passkey_list },
	{ "access user passkeys remove",
	  "EMAIL ID",
	  "take one away, by its id or its name",
	  "For a device that is lost. An id that begins with a dash goes behind `--`. Who is signed in with it stays so until `adit-edge access user revoke`.",
	  2,
	  2,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_access_passkey_remove },
	{ "user add",
	  "EMAIL",
	  "add an administrator",
	  "Prints a link to sign in once; `adit-edge user password` sets a password.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_user_add },
	{ "user list", "", "administrators", NULL, 0, 0, true, false, true, { { 0 } }, cli_user_list },
	{ "user password",
	  "EMAIL",
	  "set a password",
	  "Asks for it on a terminal, else reads one line of standard input.",
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_user_password },
	{ "user link",
	  "EMAIL",
	  "print a link to sign in once",
	  NULL,
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_user_link },
	{ "tunnel list",
	  "",
	  "tunnels, and how they and their services are",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_tunnel_list },
	{ "tunnel routes",
	  "",
	  "hostnames and their tunnels",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_tunnel_routes },
	{ "tunnel balance",
	  "NAME",
	  "how requests are shared by replicas",
	  "NAME is a tunnel or a routed hostname; a hostname's own policy wins over its tunnel's. Without\n"
	  "flags, shows what is set. The policies:\n"
	  "  least        fewest requests in flight (the default)\n"
	  "  round-robin  in turn\n"
	  "  client-hash  by the visitor's address: the same replica as long as it is there\n"
	  "  cookie       the same replica for one browser, by a cookie\n"
	  "Weights, labels and backups are said by the replicas: `adit tunnel run --weight 3 --backup`. A\n"
	  "replica whose service cannot be reached is left out for a while; with --eject-on-5xx one whose\n"
	  "service answers 502, 503 or 504, too.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "policy", "POLICY", "one of the above, or inherit" },
	    { "eject-on-5xx", "yes|no", "or inherit" } },
	  cli_tunnel_balance },
	{ "port list",
	  "",
	  "public ports of tunnels, and whether they are open",
	  "Which ports tunnels may have say ports-allow and ports-bind in DIR/edge.yml; `adit tunnel route\n"
	  "port` routes them. A port that cannot be listened on is tried again every ten seconds.",
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_port_list },
	{ "audit",
	  "",
	  "who signed in, was refused, or changed what",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { "limit", "N", "the last N of them (50)" },
	    { "since", "TIME", "since then, as in 2026-11-01T10:00:00Z" } },
	  cli_access_audit },
	{ "tls list",
	  "",
	  "certificates, who issued them, and what keeps others from being",
	  "Those that people imported win over those of the ACME authority, which win over those of the\n"
	  "built-in CA.",
	  0,
	  0,
	  true,
	  false,
	  true,
	  { { 0 } },
	  cli_tls_list },
	{ "tls renew",
	  "[NAME]",
	  "order certificates from the ACME authority now",
	  "NAME is one of the certificate's hostnames; without it, all are ordered. Waits, and says how it\n"
	  "went. Nobody has to do this: certificates are renewed after two thirds of their life, or when\n"
	  "their authority asks for it.",
	  0,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_tls_renew },
	{ "tls import",
	  "FILE",
	  "serve a certificate of your own",
	  "FILE is PEM text: the server's own certificate, those that signed it, and the private key, unless\n"
	  "that has a file of its own. It replaces the one imported before under its first name, and is served\n"
	  "at once; renewing it is yours to do.",
	  1,
	  1,
	  true,
	  false,
	  true,
	  { { "key", "FILE", "the private key" } },
	  cli_tls_import },
	{ "tls remove",
	  "NAME",
	  "forget a certificate that was imported or ordered",
	  "NAME is one of its hostnames. The ACME authority's, or the built-in CA's, is served again then.",
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_tls_remove },
	{ "service install",
	  "",
	  "start the edge now and with this machine",
	  "As root, on a state that `adit-edge init` has made: by systemd where it runs, else OpenRC, else SysV. With\n"
	  "systemd it runs as a user of its own, which may do nothing but serve, and DIR is a folder of /var/lib; a\n"
	  "reload is an upgrade without loss. Settings given here stay those of the service. Raises what the kernel\n"
	  "lets UDP sockets hold.",
	  0,
	  0,
	  true,
	  false,
	  false,
	  { { "credential", "NAME=FILE",
	      "root's file that settings read as credential:NAME (systemd; may be repeated)" } },
	  cli_service_install },
	{ "service uninstall",
	  "",
	  "stop the edge, and start it no more; its state stays",
	  NULL,
	  0,
	  0,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_service_uninstall },
	{ "backup",
	  "FILE",
	  "write database and key to one file",
	  "A running edge goes on meanwhile. FILE holds the master key: keep it as safe as DIR itself.",
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_backup },
	{ "restore",
	  "FILE",
	  "make a state directory from a backup",
	  "DIR must be empty or missing, and no edge may run on it.",
	  1,
	  1,
	  true,
	  false,
	  false,
	  { { 0 } },
	  cli_restore },
	{ "completion",
	  "bash|zsh|fish",
	  "print what a shell needs to complete command lines",
	  "  source <(adit-edge completion bash)\n"
	  "Packages have these files already.",
	  1,
	  1,
	  false,
	  false,
	  false,
	  { { 0 } },
	  cli_completion },
	{ "man",
	  "DIR",
	  "write manual pages and completions",
	  "DIR is laid out as /usr/share is: man, bash-completion, zsh, fish.",
	  1,
	  1,
	  false,
	  false,
	  false,
	  { { 0 } },
	  cli_man },
	{ "version", "", "print the version", NULL, 0, 0, false, false, false, { { 0 } }, cli_version },
	{ "help", "[COMMAND]", "explain a command", NULL, 0, 3, false, false, false, { { 0 } }, help },
};
const size_t cli_command_count = ARRAY_LEN(cli_commands);
_Static_assert(ARRAY_LEN(cli_commands) <= CLI_COMMANDS_MAX, "did-you-mean does not know all");

/* "zone" is the group of "zone add". */
static bool is_in_group(const char *path, const char *group)
{
	size_t len = strlen(group);

	return !strncmp(path, group, len) && path[len] == ' ';
}

/* The first word of one is the first word of the other. */
static bool are_kin(const struct command *a, const struct command *b)
{
	size_t len = strcspn(a->path, " ");

	return len == strcspn(b->path, " ") && !strncmp(a->path, b->path, len);
}

/* All of them without their arguments, which the help of each has. Kin stand together. */
static void print_commands(FILE *out, const char *group)
{
	const struct command *last = NULL;
	bool was_kin = false;

	for (size_t i = 0; i < cli_command_count; i++) {
		const struct command *command = &cli_commands[i];
		char left[64];

		if (group && !is_in_group(command->path, group))
			continue;
		bool is_kin = i + 1 < cli_command_count && are_kin(command, &cli_commands[i + 1]);
		if (last && !are_kin(last, command) && (was_kin || is_kin))
			fputc('\n', out);
		was_kin = is_kin || (last && are_kin(last, command));
		last = command;
		int width = group ? 34 : 28;
		if (group)
			snprintf(left, sizeof(left), "%s %s", command->path, command->argument);
		else
			snprintf(left, sizeof(left), "%s", command->path);
		for (const char *s = left; *s; s++)
			width += ((uint8_t)*s & 0xc0) == 0x80; /* "…" is three bytes */
		fprintf(out, "  %-*s  %s\n", width, left, command->summary);
	}
}

static void print_flag(FILE *out, const char *name, const char *argument, const char *text,
		       const char *preset)
{
	char left[64];

	snprintf(left, sizeof(left), "--%s%s%s", name, argument ? " " : "",
		 argument ? argument : "");
	fprintf(out, "  %-26s  %s", left, text);
	if (preset)
		fprintf(out, " (%s)", preset);
	fputc('\n', out);
}

static void print_command(FILE *out, const struct command *command)
{
	const struct edge_setting *settings;
	size_t count;

	fprintf(out, "adit-edge %s: %s\n\nUsage: adit-edge %s%s%s%s\n", command->path,
		command->summary, command->path, command->takes_data ? " [flags]" : "",
		command->argument[0] ? " " : "", command->argument);
	if (command->details)
		fprintf(out, "\n%s\n", command->details);
	if (!command->takes_data)
		return;
	fprintf(out, "\nFlags:\n");
	for (size_t i = 0; i < COMMAND_FLAGS_MAX && command->flags[i].name; i++)
		print_flag(out, command->flags[i].name, command->flags[i].argument,
			   command->flags[i].help, NULL);
	print_flag(out, "data", "DIR", "state directory ($ADIT_EDGE_DATA, else /var/lib/adit-edge)",
		   NULL);
	print_flag(out, "config", "FILE", "settings (DIR/edge.yml if it is there)", NULL);
	if (command->takes_json)
		print_flag(out, "json", "", "print JSON", NULL);
	if (!command->shows_settings) {
		fprintf(out,
			"\nAny setting of `adit-edge run` may be given too; see `adit-edge help run`.\n");
		return;
	}
	fprintf(out, "\nSettings, as flags or in the settings file:\n");
	settings = edge_settings(&count);
	for (size_t i = 0; i < count; i++)
		print_flag(out, settings[i].key, settings[i].argument, settings[i].help,
			   settings[i].preset);
	fprintf(out,
		"\nADDR is IP:PORT, [IPv6]:PORT, :PORT for all addresses, or unix:PATH. ADDR and HOST:PORT "
		"may be\ngiven more than once.\n");
}

void cli_help(FILE *out, const char *topic)
{
	if (topic && topic[0]) {
		for (size_t i = 0; i < cli_command_count; i++)
			if (!strcmp(cli_commands[i].path, topic)) {
				print_command(out, &cli_commands[i]);
				return;
			}
		fprintf(out, "Usage: adit-edge %s COMMAND [flags]\n\n", topic);
		print_commands(out, topic);
		return;
	}
	fprintf(out, "adit-edge: the public side of your own tunnels\n\n"
		     "Usage: adit-edge COMMAND [flags]\n\n");
	print_commands(out, NULL);
	fprintf(out, "\n`adit-edge COMMAND --help` says more about one.\n"
		     "Exit status: 0 done, 1 it failed, 2 the command line was not understood.\n");
}

static int help(struct cli *c)
{
	char topic[64] = "";
	bool is_known = c->word_count == 0;

	for (size_t i = 0; i < c->word_count; i++) {
		size_t len = strlen(topic);
		snprintf(topic + len, sizeof(topic) - len, "%s%s", i ? " " : "", c->words[i]);
	}
	for (size_t i = 0; i < cli_command_count; i++)
		is_known |= !strcmp(cli_commands[i].path, topic) ||
			    is_in_group(cli_commands[i].path, topic);
	if (!is_known)
		return cli_usage_error(NULL, "there is no command '%s'", topic);
	cli_help(stdout, topic);
	return EXIT_DONE;
}

int cli_version(struct cli *c)
{
	(void)c;
	printf("adit-edge version %s (built %s)\n", ADIT_VERSION, ADIT_BUILD_TIME);
	return EXIT_DONE;
}
