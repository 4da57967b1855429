/* What everybody asks: metrics, readiness, the rules. */
#include <stdlib.h>

#include "base/process.h"
#include "connector/connector_metrics.h"
#include "connector/dial/dial.h"
#include "connector/local_api/local_api_internal.h"
#include "connector/origin/origin.h"
#include "connector/serve/serve.h"
#include "transport/quic_endpoint.h"

/* Every set of series full, each with long labels. */
#define METRICS_BYTES (2 * 1024 * 1024)
/* The rules as JSON: each key of every originRequest is there. */
#define CONFIG_BYTES (32 * 1024 * 1024)

static const struct bytes plain = BYTES_LIT("text/plain; charset=utf-8");

void local_api_answer_json(struct exchange *x, json_t *value)
{
	char *text = json_dumps(value, JSON_COMPACT);

	json_decref(value);
	exchange_answer_whole(x, 200, BYTES_LIT("application/json"), bytes_str(text));
	free(text); /* allowed: jansson's own allocation */
}

static void answer_buf(struct exchange *x, struct bytes type, struct buf *out, int ret)
{
	if (ret < 0)
		exchange_answer_whole(x, 500, plain, BYTES_LIT("The answer is too large.\n"));
	else
		exchange_answer_whole(x, 200, type, buf_bytes(out));
	buf_done(out);
}

/* What is asked of each connection when somebody looks. */
static void update_connections(const struct dialer *d)
{
	size_t quic = 0, http2 = 0;

	for (size_t i = 0; i < dialer_connection_count(d); i++) {
		struct dialer_connection c;
		struct quic_facts facts;
		bool is_quic = dialer_path(d, i, &facts);
		dialer_connection(d, i, &c);
		quic += is_quic;
		http2 += c.is_registered && !is_quic;
		connector_metrics_path((unsigned)i, is_quic ? &facts : NULL);
	}
	connector_metrics_connections(quic, http2);
}

void page_metrics(struct exchange *x, struct local_api *api)
{
	struct connector_metrics *m = &connector_metrics;
	struct buf out;

	buf_init(&out, METRICS_BYTES);
	process_metrics_update();
	metric_set(&m->ha_connections, (int64_t)dialer_registered_count(api->dialer));
	update_connections(api->dialer);
	metric_set(&m->exchanges, exchange_live_count() - 1); /* but for this one */
	answer_buf(x, BYTES_LIT("text/plain; version=0.0.4; charset=utf-8"), &out,
		   metrics_print(&out));
}

void page_ready(struct exchange *x, struct local_api *api)
{
	size_t ready = dialer_registered_count(api->dialer);
	int status = ready ? 200 : 503;
	char id[UUID_TEXT_SIZE];

	exchange_answer_whole(
		x, status, plain,
		arena_printf(&x->arena,
			     "{\"status\":%d,\"readyConnections\":%zu,\"connectorId\":\"%s\"}",
			     status, ready, uuid_text(&api->connector, id)));
}

void page_healthcheck(struct exchange *x, struct local_api *api)
{
	(void)api;
	exchange_answer_whole(x, 200, plain, BYTES_LIT("OK\n"));
}

void page_quicktunnel(struct exchange *x, struct local_api *api)
{
	(void)api;
	exchange_answer_whole(x, 200, plain, BYTES_LIT("{\"hostname\":\"\"}"));
}

void page_config(struct exchange *x, struct local_api *api)
{
	const struct ingress *in = origin_set_ingress(server_origins(api->server));
	struct buf out;

	buf_init(&out, CONFIG_BYTES);
	/* Rules of this machine's own have no version. */
	int ret = buf_append(&out, BYTES_LIT("{\"version\":-1,\"config\":"));
	ret |= ingress_write_config_json(in, &out);
	ret |= buf_append(&out, BYTES_LIT("}"));
	answer_buf(x, BYTES_LIT("application/json"), &out, ret);
}
