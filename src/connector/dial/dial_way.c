/* How edges are reached: from the configuration to a way and a pool of places. */
#include <stdlib.h>

#include "base/log.h"
#include "connector/dial/dial_internal.h"
#include "tls/tls.h"

/* The name edges have a certificate for, whatever address they are dialled at. */
static const struct bytes edge_server_name = BYTES_LIT("h2.cftunnel.com");
static const struct bytes quic_server_name = BYTES_LIT("quic.cftunnel.com");
static const char *const quic_alpn[] = { "argotunnel", NULL };

static int init_proxy(struct dialer *d, struct err *err)
{
	const struct connector_config *config = d->config;
	struct edge_way *way = &d->way;

	if (!config->edge_proxy)
		return 0;
	int r = proxy_parse(&d->arena, config->edge_proxy, config->edge_proxy_setting, &d->proxy,
			    err);
	if (r < 0)
		return r;
	if (d->proxy.kind == PROXY_HTTPS) {
		/* As everybody reads it, in place of the system's roots. */
		const char *file = getenv("SSL_CERT_FILE");
		const struct tls_client_options options = { .ca_file = file && *file ? file : NULL };
		way->proxy_tls = tls_context_client(&options, err);
		if (!way->proxy_tls)
			return err_wrap(err, "trusting the proxy");
	}
	way->proxy = &d->proxy;
	way->always_proxied = config->always_proxied;
	way->no_proxy = config->no_proxy;
	log_info("connector/dial", "Edges are reached through a proxy",
		 LOG_BYTES("proxy", d->proxy.text), LOG_STR("from", config->edge_proxy_setting));
	return 0;
}

int dialer_way_init(struct dialer *d, void (*on_addresses)(void *ctx), struct err *err)
{
	const struct connector_config *config = d->config;
	struct tls_client_options options = {
		.ca_pem = config->edge_ca_pem ? bytes_str(config->edge_ca_pem) : BYTES_NONE,
	};
	static const int families[] = {
		[CONNECTOR_IP_AUTO] = AF_UNSPEC,
		[CONNECTOR_IP_4] = AF_INET,
		[CONNECTOR_IP_6] = AF_INET6,
	};
	struct edge_way *way = &d->way;

	arena_init(&d->arena);
	way->loop = d->loop;
	way->server_name = edge_server_name;
	way->family = families[config->ip_version];
	if (config->bind_address) {
		if (!address_from_ip(bytes_str(config->bind_address), 0, &way->from))
			return err_set(err, E_INVALID, "\"%.60s\" is not an IP address",
				       config->bind_address);
		way->family = way->from.any.sa_family;
	}
	way->tls = tls_context_client(&options, err);
	options.alpn = quic_alpn;
	way->quic_server_name = quic_server_name;
	way->quic_tls = way->tls ? tls_context_client(&options, err) : NULL;
	if (!way->quic_tls)
		return err_wrap(err, "trusting the edge");
	int r = init_proxy(d, err);
	if (r < 0)
		return r;
	const struct edge_pool_options pool = {
		.edges = config->edges,
		.edge_count = config->edge_count,
		.region = config->region,
		.family = way->family,
		.from = way->from.len ? &way->from : NULL,
		.proxy = way->proxy,
		.always_proxied = way->always_proxied,
		.no_proxy = way->no_proxy,
	};
	d->pool = edge_pool_new(d->loop, &pool, on_addresses, d);
	return 0;
}

void dialer_way_done(struct dialer *d)
{
	d->pool = edge_pool_free(d->pool);
	tls_context_unref(d->way.tls);
	tls_context_unref(d->way.quic_tls);
	tls_context_unref(d->way.proxy_tls);
	arena_done(&d->arena);
}

const struct edge_way *dialer_way(const struct dialer *d)
{
	return &d->way;
}

size_t dialer_edges(const struct dialer *d, struct edge_place *ret, size_t max)
{
	const struct connector_config *config = d->config;
	bool is_discovered = config->edge_count == 0;
	size_t count = 0;

	for (size_t i = 0; i < config->edge_count && count < max; i++) {
		size_t same = 0;
		if (!edge_place_of_entry(&d->way, config->edges[i], &ret[count])) {
			is_discovered = true;
			continue;
		}
		/* A certificate names one address once per connection. */
		while (strcmp(ret[same].name, ret[count].name) != 0)
			same++;
		count += same == count;
	}
	for (size_t i = 0; is_discovered && i < edge_pool_count(d->pool) && count < max; i++) {
		const struct edge_place *place = edge_pool_place(d->pool, i);
		size_t same = 0;
		while (same < count && strcmp(ret[same].name, place->name) != 0)
			same++;
		if (same == count)
			ret[count++] = *place;
	}
	return count;
}

size_t dialer_udp_edges(const struct dialer *d, struct edge_place *ret, size_t max)
{
	size_t count = 0;

	for (size_t i = 0; i < edge_pool_count(d->pool) && count < max; i++) {
		const struct edge_place *place = edge_pool_place(d->pool, i);
		if (!place->is_proxied && place->address.len)
			ret[count++] = *place;
	}
	return count;
}
