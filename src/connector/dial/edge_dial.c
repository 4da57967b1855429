#include "connector/dial/edge_dial.h"

#include <stdio.h>

#include "base/mem.h"
#include "connector/dial/proxy.h"
#include "connector/dial/proxy_connect.h"
#include "io/conn.h"
#include "io/loop.h"
#include "tls/tls.h"

#define EDGE_DIAL_MAGIC 0x65646961

struct edge_dial {
	uint32_t magic;
	const struct edge_way *way; /* borrowed */
	struct edge_place places[EDGE_DIAL_PLACES];
	size_t count;
	usec deadline;
	edge_dial_done *done;
	void *ctx;
	struct edge_dial_end end;
	/* One of these, or `refusal`. */
	struct conn_attempt *attempt;
	struct proxy_connect *proxy;
	struct tls_handshake *handshake;
	struct deferred refusal; /* what cannot even be tried */
};

static void free_all(struct edge_dial *d)
{
	deferred_cancel(&d->refusal);
	conn_attempt_cancel(d->attempt);
	proxy_connect_cancel(d->proxy);
	tls_handshake_cancel(d->handshake);
	d->magic = 0;
	mem_free(d);
}

static void finish(struct edge_dial *d, struct byte_stream *stream, const char *step,
		   const struct err *err)
{
	struct edge_dial_end end = d->end;
	edge_dial_done *done = d->done;
	void *ctx = d->ctx;

	end.stream = stream;
	end.step = step;
	if (err)
		end.err = *err;
	free_all(d);
	done(ctx, &end);
}

static int64_t left_ms(const struct edge_dial *d)
{
	int64_t ms = (d->deadline - loop_now(d->way->loop)) / USEC_PER_MSEC;

	return ms > 1 ? ms : 1;
}

/* --- TLS ------------------------------------------------------------------------------------- */

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct edge_dial *d = ctx;

	CHECK(d, EDGE_DIAL_MAGIC);
	d->handshake = NULL;
	finish(d, stream, "tls", err);
}

static void start_tls(struct edge_dial *d, struct byte_stream *stream)
{
	d->handshake = tls_connect(d->way->tls, stream, d->way->server_name, left_ms(d), on_tls, d);
}

/* --- The connection -------------------------------------------------------------------------- */

static void on_proxied(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct edge_dial *d = ctx;

	CHECK(d, EDGE_DIAL_MAGIC);
	d->proxy = NULL;
	if (stream)
		start_tls(d, stream);
	else
		finish(d, NULL, "proxy", err);
}

static bool is_lookup(const struct err *err)
{
	return err->code == E_NOT_FOUND || strstr(err->text, "looking up");
}

static void on_connected(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct edge_dial *d = ctx;

	CHECK(d, EDGE_DIAL_MAGIC);
	d->attempt = NULL;
	if (!stream) {
		d->end.place = d->count == 1 ? 0 : -1;
		finish(d, NULL, is_lookup(err) ? "resolve" : "connect", err);
		return;
	}
	conn_local_address(stream, &d->end.local);
	for (size_t i = 0; i < d->count; i++) {
		const struct address *a = &d->places[i].address;
		if (a->len == stream->peer->len && memcmp(&a->any, &stream->peer->any, a->len) == 0)
			d->end.place = (int)i;
	}
	start_tls(d, stream);
}

static bool is_of_family(void *ctx, const struct address *to)
{
	const struct edge_dial *d = ctx;

	return d->way->family == AF_UNSPEC || d->way->family == to->any.sa_family;
}

static int host_of(const struct edge_place *place, char ip[ADDRESS_TEXT_SIZE],
		   struct bytes *ret_host, uint16_t *ret_port, struct err *err)
{
	int r = address_split(bytes_str(place->name), ret_host, ret_port, err);

	if (place->address.len) {
		*ret_host = bytes_str(address_ip_text(&place->address, ip));
		*ret_port = address_port(&place->address);
	} else if (r == 0 && (ret_host->len == 0 || *ret_port == 0 || ret_host->len > 255)) {
		r = err_set(err, E_INVALID, "\"%s\" is not HOST:PORT", place->name);
	}
	return r;
}

static void start(struct edge_dial *d, int64_t timeout_ms)
{
	const struct edge_way *way = d->way;
	const struct edge_place *place = &d->places[0];
	const struct address *from = way->from.len ? &way->from : NULL;
	char ip[ADDRESS_TEXT_SIZE];
	struct bytes host;
	uint16_t port;

	if (host_of(place, ip, &host, &port, &d->end.err) < 0) {
		loop_defer(way->loop, &d->refusal);
	} else if (place->is_proxied) {
		const struct proxy_to to = { way->proxy, way->proxy_tls, from, host, port };
		d->proxy = proxy_connect(way->loop, &to, timeout_ms, on_proxied, d);
	} else if (place->address.len == 0) {
		const struct conn_name_options options = {
			.allows = is_of_family,
			.allows_ctx = d,
			.from = from,
		};
		d->attempt = conn_connect_name_with(way->loop, host, port, timeout_ms, &options,
						    on_connected, d);
	} else {
		struct address addresses[EDGE_DIAL_PLACES];
		for (size_t i = 0; i < d->count; i++)
			addresses[i] = d->places[i].address;
		d->attempt = conn_connect_any(way->loop, addresses, d->count, from,
					      timeout_ms / 3 + 1, on_connected, d);
	}
}

static void on_refusal(struct deferred *deferred)
{
	struct edge_dial *d = CONTAINER_OF(deferred, struct edge_dial, refusal);
	struct err err = d->end.err;

	finish(d, NULL, "resolve", &err);
}

struct edge_dial *edge_dial(const struct edge_way *way, const struct edge_place *places,
			    size_t count, int64_t timeout_ms, edge_dial_done *done, void *ctx)
{
	struct edge_dial *d = mem_alloc(sizeof(*d));

	BUG_IF(count == 0 || count > EDGE_DIAL_PLACES);
	d->magic = EDGE_DIAL_MAGIC;
	d->way = way;
	memcpy(d->places, places, count * sizeof(places[0]));
	d->count = count;
	d->deadline = loop_now(way->loop) + timeout_ms * USEC_PER_MSEC;
	d->done = done;
	d->ctx = ctx;
	deferred_init(&d->refusal, on_refusal);
	start(d, timeout_ms);
	return d;
}

struct edge_dial *edge_dial_cancel(struct edge_dial *d)
{
	if (!d)
		return NULL;
	CHECK(d, EDGE_DIAL_MAGIC);
	free_all(d);
	return NULL;
}

bool edge_place_of_entry(const struct edge_way *way, const char *entry, struct edge_place *ret)
{
	struct bytes host;
	uint16_t port;

	if (address_split(bytes_str(entry), &host, &port, NULL) < 0 || port == 0 || host.len == 0 ||
	    strlen(entry) >= sizeof(ret->name))
		return false;
	*ret = (struct edge_place){ 0 };
	memcpy(ret->name, entry, strlen(entry));
	ret->is_proxied = way->proxy &&
			  (way->always_proxied || !proxy_is_bypassed(way->no_proxy, host, port));
	return true;
}
