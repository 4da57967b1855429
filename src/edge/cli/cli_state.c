/* Commands that work on the state itself: making it, checking it, serving from it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/access/countries.h"
#include "edge/access_log.h"
#include "edge/certificates.h"
#include "edge/cli/command.h"
#include "edge/dns/settings.h"
#include "edge/edge_keys.h"
#include "edge/edge_sandbox.h"
#include "edge/takeover/launcher.h"
#include "io/address.h"
#include "store/names.h"
#include "store/seal.h"
#include "store/store.h"
#include "tls/authority.h"

#define USEC_PER_DAY (24 * 3600 * USEC_PER_SEC)

/* --- init --------------------------------------------------------------------------------------- */

/* A hostname, or an IP address on a bare LAN. Owned. */
static char *control_host_of(const char *text, struct err *err)
{
	char name[NAME_DNS_BYTES + 1];
	struct address address;

	if (address_from_ip(bytes_str(text), 0, &address))
		return mem_strdup(text);
	if (name_hostname(text, name, err) < 0)
		return NULL;
	if (name[0] == '*') {
		err_set(err, E_INVALID, "%s: the control host is one host, not a wildcard", name);
		return NULL;
	}
	return mem_strdup(name);
}

/* Settles the control host: what --control says, else what is stored, else adit.ZONE. */
static int put_control_host(struct cli *c, struct store *store, const char *zone, bool *ret_changed,
			    struct err *err)
{
	const char *asked = cli_flag(c, "control");
	char *stored = store_setting_get(store, "control.host", NULL);
	char *derived = !asked && !stored && zone ? mem_printf("adit.%s", zone) : NULL;
	char *host = NULL;
	int rc = 0;

	if (asked || derived) {
		host = control_host_of(asked ? asked : derived, err);
		if (!host)
			rc = E_INVALID;
		else if (!stored || strcmp(stored, host) != 0)
			rc = store_setting_put(store, "control.host", host, false, err);
		*ret_changed = rc == 0 && stored && strcmp(stored, host) != 0;
	} else if (!stored) {
		rc = err_set(err, E_INVALID, "--zone ZONE is needed to make a new edge");
	}
	mem_free(stored);
	mem_free(derived);
	mem_free(host);
	return rc;
}

/* What must be there before an edge can be asked anything. */
static int make_state(struct cli *c, bool *ret_host_changed, struct err *err)
{
	const char *zone = cli_flag(c, "zone");
	char zone_name[NAME_DNS_BYTES + 1], account[33];
	struct store *store;
	int rc;

	/* Before anything is written. */
	if (zone && name_zone(zone, zone_name, err) < 0)
		return E_INVALID;
	store = store_open(c->data_dir, zone != NULL, err);
	if (!store) {
		if (err->code == E_NOT_FOUND && !zone)
			err_set(err, E_INVALID,
				"there is no edge in %s yet: --zone ZONE is needed to make one",
				c->data_dir);
		return err->code;
	}
	rc = store_account_first(store, account, err);
	if (rc == 0)
		rc = certificates_init_ca(store, c->data_dir, err);
	if (rc == 0)
		rc = put_control_host(c, store, zone ? zone_name : NULL, ret_host_changed, err);
	if (rc == 0)
		rc = cli_complete_config(c, store, err);
	store_close(store);
	return rc;
}

/* The zone, unless it is there. */
static int make_zone(struct cli *c, struct err *err)
{
	const char *zone = cli_flag(c, "zone");
	int rc = zone ? cli_ask(c, "POST", "/admin/v1/zones", json_pack("{s:s}", "name", zone),
				NULL, err)
		      : 0;

	return rc == E_EXISTS ? 0 : rc;
}

/* The first administrator, or the one asked for. *ret_link is owned, NULL when nobody was added. */
static int make_admin(struct cli *c, json_t **ret_link, struct err *err)
{
	const char *asked = cli_flag(c, "admin"), *zone = cli_flag(c, "zone");
	json_t *users;
	char *email, *path;
	int rc = cli_ask(c, "GET", "/admin/v1/users", NULL, &users, err);
	size_t count;

	*ret_link = NULL;
	if (rc < 0)
		return rc;
	count = json_array_size(users);
	json_decref(users);
	if (!asked && (count > 0 || !zone))
		return 0;
	email = asked ? mem_strdup(asked) : mem_printf("admin@%s", zone);
	rc = cli_ask(c, "POST", "/admin/v1/users", json_pack("{s:s}", "email", email), NULL, err);
	path = cli_path("/admin/v1/users/", email, "/link");
	if (rc == 0 && path)
		rc = cli_ask(c, "POST", path, NULL, ret_link, err);
	if (rc == 0 && *ret_link)
		(void)json_object_set_new(*ret_link, "email", json_string(email));
	mem_free(path);
	mem_free(email);
	return rc == E_EXISTS ? 0 : rc;
}

static void print_zones(struct cli *c)
{
	struct err err = { 0 };
	json_t *zones, *zone;
	size_t i;

	if (cli_ask(c, "GET", "/admin/v1/zones", NULL, &zones, &err) < 0)
		return;
	json_array_foreach(zones, i, zone) printf("  %-15s %s\n", i ? "" : "zones",
						  json_string_value(json_object_get(zone, "name")));
	json_decref(zones);
}

/* A package has brought a unit, for the usual place. */
static void print_start(const struct cli *c)
{
	bool is_packaged = access("/lib/systemd/system/adit-edge.service", F_OK) == 0 &&
			   !strcmp(c->data_dir, "/var/lib/adit-edge");

	printf("  - Start the edge:         adit-edge run --data %s\n", c->data_dir);
	if (is_packaged)
		printf("    or as a service:        systemctl start adit-edge\n");
	else
		printf("    or as a service:        adit-edge service install --data %s\n",
		       c->data_dir);
}

static void print_next_steps(struct cli *c, const json_t *link, bool host_changed)
{
	const char *zone = cli_flag(c, "zone");

	printf("The edge in %s is ready.\n\n", c->data_dir);
	print_zones(c);
	printf("  %-15s %s\n", "control host", c->config.control_host);
	printf("  %-15s %s/ca.pem\n", "built-in CA", c->data_dir);
	if (link)
		printf("  %-15s %s\n", "administrator",
		       json_string_value(json_object_get(link, "email")));
	printf("\nWhat to do next:\n");
	if (host_changed && c->asks == ASKS_SOCKET)
		printf("  - Restart the edge: its control host has changed.\n");
	if (zone)
		printf("  - Point %s and *.%s at this machine, in DNS.\n", zone, zone);
	if (c->asks != ASKS_SOCKET)
		print_start(c);
	printf("  - Let machines trust it:  copy %s/ca.pem to them\n", c->data_dir);
	printf("  - Get a certificate:      adit-edge cert --data %s%s%s > cert.pem\n", c->data_dir,
	       zone ? " --zone " : "", zone ? zone : "");
	printf("    or let a machine fetch it with `adit tunnel login`.\n");
	if (link)
		printf("  - Sign in, once, within 24 hours:\n    %s\n",
		       json_string_value(json_object_get(link, "url")));
}

int cli_init(struct cli *c)
{
	bool host_changed = false;
	struct err err = { 0 };
	json_t *link = NULL;

	if (cli_load_config(c, &err) < 0 || make_state(c, &host_changed, &err) < 0 ||
	    make_zone(c, &err) < 0 || make_admin(c, &link, &err) < 0)
		return cli_fail(&err);
	print_next_steps(c, link, host_changed);
	json_decref(link);
	return EXIT_DONE;
}

/* --- restore ------------------------------------------------------------------------------------ */

int cli_restore(struct cli *c)
{
	struct err err = { 0 };
	struct store *store;
	int rc = store_restore(c->words[0], c->data_dir, &err);

	if (rc < 0)
		return cli_fail(&err);
	store = store_open(c->data_dir, false, &err);
	rc = store ? certificates_init_ca(store, c->data_dir, &err) : err.code;
	store_close(store);
	if (rc < 0)
		return cli_fail(&err);
	printf("State restored into %s; `adit-edge run --data %s` serves it.\n", c->data_dir,
	       c->data_dir);
	return EXIT_DONE;
}

/* --- run ---------------------------------------------------------------------------------------- */

/* Where it cannot be, it is used where it is: an edge of before that hands over has it open. */
static void move_database(const struct cli *c)
{
	struct err err = { 0 };

	if (store_is_there(c->data_dir) && store_move_in(c->data_dir, &err) < 0)
		log_warn("edge", "the database stays where the master key is for now",
			 LOG_STR("data", c->data_dir), LOG_STR("error", err.text));
}

int cli_run(struct cli *c)
{
	struct seal_key sealing = { 0 };
	struct err err = { 0 };
	struct store *store;
	int rc = cli_load_config(c, &err);

	/* What is made from here on is the user's. */
	if (rc < 0 || edge_become_user(&c->config, &err) < 0)
		return cli_fail(&err);
	edge_logs_setup(&c->config);
	c->config.launcher = launcher_start(&err);
	rc = c->config.launcher ? 0 : err.code;
	if (rc == 0)
		move_database(c);
	if (rc == 0) {
		store = cli_open_store(c, &err);
		rc = store ? cli_complete_config(c, store, &err) : err.code;
		store_close(store);
	}
	/* The edge will not reach the master key, and does without it. */
	if (rc == 0)
		rc = seal_key_load(c->data_dir, false, &sealing, &err);
	seal_key_forget_master(&sealing);
	c->config.sealing = &sealing;
	/* What other processes are for is theirs before this one is shut in. */
	if (rc == 0)
		rc = edge_keys_start(&c->config, &err);
	if (rc == 0)
		rc = edge_enter_sandbox(&c->config, &err);
	int status = EXIT_DONE;
	if (rc == 0) {
		c->config.takes_over = cli_flag(c, "takeover") != NULL;
		log_start();
		status = c->run(&c->config);
		log_stop();
	}
	seal_key_wipe(&sealing);
	edge_keys_stop();
	launcher_free(c->config.launcher);
	return rc < 0 ? cli_fail(&err) : status;
}

/* --- check -------------------------------------------------------------------------------------- */

static void print_texts(const char *name, const struct edge_texts *texts)
{
	if (texts->count == 0)
		printf("  %-15s off\n", name);
	for (size_t i = 0; i < texts->count; i++) {
		/* What is repeated for connectors is one address for a reader. */
		if (i == 0 || strcmp(texts->list[i], texts->list[i - 1]) != 0)
			printf("  %-15s %s\n", i ? "" : name, texts->list[i]);
	}
}

static long long days_until(usec wall)
{
	return (long long)((wall - clock_wall_now()) / USEC_PER_DAY);
}

static int check_authority(struct store *store, struct err *err)
{
	char *pem = store_setting_get(store, "ca.cert", err);
	usec expiry;

	if (!pem)
		return err_wrap(err, "built-in CA");
	expiry = authority_expiry(pem);
	mem_free(pem);
	if (expiry < 0)
		return err_set(err, E_INVALID, "the certificate of the built-in CA is damaged");
	if (expiry < clock_wall_now())
		return err_set(err, E_INVALID, "the certificate of the built-in CA has expired");
	/* The key: opening it proves that the master key fits. */
	char *key = store_setting_get(store, "ca.key", err);
	if (!key)
		return err_wrap(err, "key of the built-in CA");
	secret_wipe(key, strlen(key));
	mem_free(key);
	printf("  %-15s good for %lld days\n", "built-in CA", days_until(expiry));
	return 0;
}

static int check_certificates(struct store *store, struct err *err)
{
	struct store_certificate *list;
	size_t count;
	int rc = store_certificate_list(store, &list, &count, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		bool is_over = list[i].expires_at < clock_wall_now();

		/* Not an error: a running edge renews them, a starting one makes what is missing. */
		if (is_over)
			printf("  %-15s %s, expired; will be renewed\n", i ? "" : "certificates",
			       list[i].name);
		else
			printf("  %-15s %s, %lld days\n", i ? "" : "certificates", list[i].name,
			       days_until(list[i].expires_at));
		store_certificate_done(&list[i]);
	}
	if (count == 0)
		printf("  %-15s none yet; `adit-edge run` issues them\n", "certificates");
	mem_free(list);
	return 0;
}

static int check_zones(struct store *store, struct err *err)
{
	struct store_zone *zones;
	size_t count;
	int rc = store_zone_list(store, &zones, &count, err);

	if (rc < 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		printf("  %-15s %s\n", i ? "" : "zones", zones[i].name);
		store_zone_done(&zones[i]);
	}
	mem_free(zones);
	return count ? 0
		     : err_set(err, E_INVALID,
			       "there is no zone; `adit-edge zone add ZONE` makes one");
}

static void print_config(const struct edge_config *config)
{
	printf("  %-15s %s\n", "settings",
	       config->file_name ? config->file_name : "defaults and flags only");
	print_texts("https", &config->https);
	print_texts("http", &config->http);
	print_texts("tunnel", &config->tunnel);
	print_texts("metrics", &config->metrics);
	printf("  %-15s %s\n", "public URL", config->public_url);
	print_texts("advertised", &config->advertise);
	printf("  %-15s %d\n", "workers", config->workers);
	printf("  %-15s %s\n", "location", config->location);
	if (config->log_file || config->log_directory)
		printf("  %-15s %s\n", "log",
		       config->log_file ? config->log_file : config->log_directory);
	printf("  %-15s %s\n", "access log", config->access_log);
}

/* The authority itself is not asked. */
static int check_acme(const struct edge_config *config, struct err *err)
{
	struct secret key = { 0 };
	char *id = NULL;
	int rc = 0;

	if (!config->acme_directory)
		return 0;
	printf("  %-15s %s\n", "ACME", acme_directory_name(config->acme_directory));
	if (config->acme_eab)
		rc = acme_binding_load(config->acme_eab, &id, &key, err);
	mem_free(id);
	secret_done(&key);
	if (rc == 0 && config->acme_ca_file && access(config->acme_ca_file, R_OK) != 0)
		rc = err_set_errno(err, E_INVALID, errno, "acme-ca-file: %s", config->acme_ca_file);
	return rc;
}

/* What hostnames would resolve to, and who says so. */
static int check_dns(const struct edge_config *config, struct err *err)
{
	struct dns_settings settings;
	char ip[ADDRESS_TEXT_SIZE];

	if (config->dns.count == 0) {
		printf("  %-15s off: records of the zones are managed elsewhere\n", "dns");
		return 0;
	}
	if (dns_settings_make(config, &settings, err) < 0)
		return err ? err->code : E_INVALID;
	print_texts("dns", &config->dns);
	for (size_t i = 0; i < settings.address_count; i++)
		printf("  %-15s %s\n", i ? "" : "dns addresses",
		       address_ip_text(&settings.addresses[i], ip));
	if (settings.name_server_count)
		print_texts("name servers", &config->dns_name_servers);
	else
		printf("  %-15s ns1 and ns2 of each zone\n", "name servers");
	dns_settings_done(&settings);
	return 0;
}

static int check_countries(const struct edge_config *config, struct err *err)
{
	char built[40];
	struct countries *countries;

	if (!config->country_database)
		return 0;
	countries = countries_open(config->country_database, err);
	if (!countries)
		return err_wrap(err, "country-database");
	printf("  %-15s %s of %.10s\n", "countries", countries_type(countries),
	       clock_rfc3339(countries_built_at(countries), built, sizeof(built)));
	countries_unref(countries);
	return 0;
}

int cli_check(struct cli *c)
{
	struct err err = { 0 };
	struct store *store = NULL;
	int rc = cli_load_config(c, &err);

	if (rc == 0) {
		store = cli_open_store(c, &err);
		rc = store ? cli_complete_config(c, store, &err) : err.code;
	}
	if (rc == 0) {
		print_config(&c->config);
		rc = check_acme(&c->config, &err);
	}
	if (rc == 0)
		rc = check_countries(&c->config, &err);
	if (rc == 0)
		rc = check_zones(store, &err);
	if (rc == 0)
		rc = check_dns(&c->config, &err);
	if (rc == 0)
		rc = check_authority(store, &err);
	if (rc == 0)
		rc = check_certificates(store, &err);
	store_close(store);
	if (rc < 0)
		return cli_fail(&err);
	printf("OK\n");
	return EXIT_DONE;
}
