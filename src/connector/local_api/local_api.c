#include "connector/local_api/local_api.h"

#include <netdb.h>

#include "base/log.h"
#include "base/mem.h"
#include "connector/connector_config.h"
#include "connector/connector_metrics.h"
#include "connector/local_api/local_api_internal.h"
#include "connector/local_api/probe.h"
#include "http/h1_listener.h"
#include "io/conn.h"

#define COMPONENT "connector"

#define MAX_CONNECTIONS 16
/* Where tools look for a connector of which they know nothing. */
#define FIRST_PORT 20241
#define LAST_PORT 20245

static const struct page {
	const char *path;
	void (*answer)(struct exchange *x, struct local_api *api);
} pages[] = {
	{ "/metrics", page_metrics },
	{ "/ready", page_ready },
	{ "/healthcheck", page_healthcheck },
	{ "/config", page_config },
	{ "/quicktunnel", page_quicktunnel },
	{ "/diag/tunnel", page_diag_tunnel },
	{ "/diag/configuration", page_diag_configuration },
	{ "/diag/system", page_diag_system },
	{ "/diag/probe", page_diag_probe },
};

/* --- Who may ask ----------------------------------------------------------------------------- */

static bool is_loopback(const struct address *a)
{
	if (a->any.sa_family == AF_INET)
		return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
	return a->any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

/* A web page can be made to come from any public name, whose owner then points it at 127.0.0.1; but not from
 * an address, nor from a name without a dot. Whoever listens for other machines (containers, scrapers by
 * name) is reached by whatever name they have: there every Host is right. */
static bool is_welcome(const struct local_api *api, struct exchange *x)
{
	struct bytes host = head_host(x->request.authority, &x->arena), own;
	struct address ip;
	uint16_t port;
	struct err err;

	if (!is_loopback(&api->address) || host.len == 0)
		return true;
	if (bytes_starts_with(host, BYTES_LIT("[")) && bytes_ends_with(host, BYTES_LIT("]")))
		host = bytes_from(bytes_first(host, host.len - 1), 1);
	if (bytes_index(host, '.') == host.len || address_from_ip(host, 0, &ip) ||
	    bytes_ends_with(host, BYTES_LIT(".localhost")))
		return true;
	return address_split(bytes_str(api->config->metrics_address), &own, &port, &err) == 0 &&
	       bytes_eq_nocase(own, host);
}

/* --- Requests -------------------------------------------------------------------------------- */

static const struct bytes plain = BYTES_LIT("text/plain; charset=utf-8");

static void answer_not_found(struct exchange *x)
{
	struct bytes text = BYTES_LIT("There is no such page here. There are:\n");

	for (size_t i = 0; i < ARRAY_LEN(pages); i++)
		text = arena_printf(&x->arena, BYTES_FMT "%s\n", BYTES_ARG(text), pages[i].path);
	exchange_answer_whole(x, 404, plain, text);
}

static void answer_method(struct exchange *x)
{
	(void)fields_add(&x->response.fields, &x->arena, BYTES_LIT("Allow"), BYTES_LIT("GET, HEAD"));
	exchange_answer_whole(x, 405, plain, BYTES_LIT("This can only be read: GET or HEAD.\n"));
}

static enum handled handle(struct exchange *x, void *ctx)
{
	struct local_api *api = ctx;
	struct bytes path = bytes_first(x->request.path, bytes_index(x->request.path, '?'));
	struct bytes method = x->request.method;

	if (!is_welcome(api, x)) {
		exchange_answer_whole(x, 403, plain,
				      BYTES_LIT("On a loopback address this answers under that "
						"address or localhost, not under other names.\n"));
		return HANDLED_TAKEN;
	}
	for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
		if (!bytes_eq(path, bytes_str(pages[i].path)))
			continue;
		if (bytes_eq(method, BYTES_LIT("GET")) || bytes_eq(method, BYTES_LIT("HEAD")))
			pages[i].answer(x, api);
		else
			answer_method(x);
		return HANDLED_TAKEN;
	}
	answer_not_found(x);
	return HANDLED_TAKEN;
}

static const struct handler handlers[] = { { "local api", handle } };

/* --- Life ------------------------------------------------------------------------------------ */

static int open_default(struct address *address, struct err *err)
{
	for (uint16_t port = FIRST_PORT; port <= LAST_PORT; port++) {
		address_from_ip(BYTES_LIT("127.0.0.1"), port, address);
		int fd = listen_open(address, false, err);
		if (fd >= 0)
			return fd;
	}
	address_from_ip(BYTES_LIT("127.0.0.1"), 0, address);
	return listen_open(address, false, err);
}

/* Names too, as the stock connector takes them. Blocks on the look-up: before the loop turns. */
static int open_named(const char *text, struct address *address, struct err *err)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };
	struct addrinfo *found;
	struct bytes host;
	uint16_t port;
	int fd = E_NOT_FOUND;

	if (address_split(bytes_str(text), &host, &port, err) < 0)
		return E_INVALID;
	char *name = mem_strndup(host);
	int code = getaddrinfo(name, NULL, &hints, &found); /* allowed: no loop turns yet */
	if (code != 0)
		err_set(err, E_NOT_FOUND, "looking \"%.200s\" up: %s", name, gai_strerror(code));
	mem_free(name);
	if (code != 0)
		return E_NOT_FOUND;
	for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		if (a->ai_family == AF_INET) {
			memcpy(&address->v4, a->ai_addr, sizeof(address->v4));
			address->v4.sin_port = htons(port);
		} else if (a->ai_family == AF_INET6) {
			memcpy(&address->v6, a->ai_addr, sizeof(address->v6));
			address->v6.sin6_port = htons(port);
		} else {
			continue;
		}
		address->len = a->ai_addrlen;
		fd = listen_open(address, false, err);
	}
	freeaddrinfo(found);
	return fd;
}

static int open_listener(const char *text, struct address *address, struct err *err)
{
	struct err ignored;

	if (strcmp(text, "localhost:0") == 0)
		return open_default(address, err);
	if (address_parse(bytes_str(text), address, &ignored) == 0)
		return listen_open(address, false, err);
	return open_named(text, address, err);
}

struct local_api *local_api_new(struct loop *loop, const struct connector_config *cfg,
				const struct uuid *connector, struct dialer *dialer,
				struct server *server)
{
	struct address address = { 0 };
	struct err err = { 0 };
	char shown[ADDRESS_TEXT_SIZE];
	int fd = open_listener(cfg->metrics_address, &address, &err);

	if (fd < 0) {
		log_error(COMPONENT, "Error opening metrics server listener",
			  LOG_STR("error", err.text));
		return NULL;
	}
	struct local_api *api = mem_alloc(sizeof(*api));
	api->loop = loop;
	api->config = cfg;
	api->dialer = dialer;
	api->server = server;
	api->connector = *connector;
	api->address = address;
	list_init(&api->system.waiters);
	list_init(&api->probe.waiters);
	api->chain = (struct handler_chain){ .handlers = handlers,
					     .count = ARRAY_LEN(handlers),
					     .ctx = api };
	connector_metrics_register();
	api->listener = h1_listener_new(loop, fd, &api->chain, MAX_CONNECTIONS);
	char *message =
		mem_printf("Starting metrics server on %s/metrics", address_text(&address, shown));
	log_info(COMPONENT, message);
	mem_free(message);
	return api;
}

const struct address *local_api_address(const struct local_api *api)
{
	return &api->address;
}

void local_api_close(struct local_api *api)
{
	if (!api)
		return;
	api->run = probe_run_cancel(api->run);
	api->listener = h1_listener_close(api->listener);
}

struct local_api *local_api_free(struct local_api *api)
{
	return mem_free(api);
}
