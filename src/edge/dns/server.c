#include "edge/dns/server.h"

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"
#include "edge/dns/rate.h"
#include "edge/dns/shape.h"
#include "io/conn.h"
#include "io/udp.h"

/* RFC 7766 §6.2.3: a few seconds; resolvers that want more open another connection. */
#define STREAM_IDLE_MS 10000
/* Queries are short; the longest that make sense carry a cookie, a TSIG and padding. */
#define STREAM_QUERY_BYTES 4096
#define LENGTH_BYTES 2
/* What is longer comes over TCP, if at all. */
#define UDP_QUERY_BYTES DNS_QUERY_BYTES
/* Half of what the socket reads at once: 40 KiB that stay in the cache. */
#define UDP_ANSWERS 32

struct metric metric_dns_queries_udp = {
	.name = "adit_edge_dns_queries_total",
	.labels = "transport=\"udp\"",
	.help = "DNS queries",
};
struct metric metric_dns_queries_tcp = {
	.name = "adit_edge_dns_queries_total",
	.labels = "transport=\"tcp\"",
	.help = "DNS queries",
};
struct metric metric_dns_dropped = {
	.name = "adit_edge_dns_dropped_total",
	.help = "DNS packets that deserved no answer",
};
struct metric metric_dns_limited = {
	.name = "adit_edge_dns_limited_total",
	.help = "DNS answers that response rate limiting has truncated or dropped",
};
struct metric metric_dns_truncated = {
	.name = "adit_edge_dns_truncated_total",
	.help = "DNS answers over UDP that did not fit: clients come back over TCP",
};
struct metric metric_dns_streams = {
	.name = "adit_edge_dns_connections",
	.help = "Open TCP connections of DNS clients",
	.type = METRIC_GAUGE,
};
#define ANSWERS(text)                                                                  \
	{                                                                              \
		.name = "adit_edge_dns_answers_total", .labels = "rcode=\"" text "\"", \
		.help = "DNS answers by response code",                                \
	}
struct metric metric_dns_answers[7] = {
	ANSWERS("NOERROR"), ANSWERS("FORMERR"), ANSWERS("SERVFAIL"), ANSWERS("NXDOMAIN"),
	ANSWERS("NOTIMP"),  ANSWERS("REFUSED"), ANSWERS("other"),
};

struct metric metric_dns_transfers[2] = {
	{ .name = "adit_edge_dns_transfers_total",
	  .labels = "result=\"ok\"",
	  .help = "Zone transfers to secondaries" },
	{ .name = "adit_edge_dns_transfers_total",
	  .labels = "result=\"refused\"",
	  .help = "Zone transfers to secondaries" },
};

/* The last counts all other types. */
static const struct {
	uint16_t type;
	const char *labels;
} types[] = {
	{ 1, "type=\"A\"" },      { 2, "type=\"NS\"" },      { 5, "type=\"CNAME\"" },
	{ 6, "type=\"SOA\"" },    { 12, "type=\"PTR\"" },    { 15, "type=\"MX\"" },
	{ 16, "type=\"TXT\"" },   { 28, "type=\"AAAA\"" },   { 33, "type=\"SRV\"" },
	{ 43, "type=\"DS\"" },    { 48, "type=\"DNSKEY\"" }, { 65, "type=\"HTTPS\"" },
	{ 251, "type=\"IXFR\"" }, { 252, "type=\"AXFR\"" },  { 255, "type=\"ANY\"" },
	{ 257, "type=\"CAA\"" },  { 0, "type=\"other\"" },
};
static struct metric metric_types[ARRAY_LEN(types)];

static void count_type(uint16_t type)
{
	size_t i = 0;

	while (i < ARRAY_LEN(types) - 1 && types[i].type != type)
		i++;
	metric_add(&metric_types[i], 1);
}

void dns_server_register_metrics(void)
{
	metric_register(&metric_dns_queries_udp);
	metric_register(&metric_dns_queries_tcp);
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		metric_types[i].name = "adit_edge_dns_questions_total";
		metric_types[i].labels = types[i].labels;
		metric_types[i].help = "DNS queries by type";
		metric_register(&metric_types[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(metric_dns_answers); i++)
		metric_register(&metric_dns_answers[i]);
	metric_register(&metric_dns_dropped);
	metric_register(&metric_dns_limited);
	metric_register(&metric_dns_truncated);
	metric_register(&metric_dns_streams);
	metric_register(&metric_dns_transfers[0]);
	metric_register(&metric_dns_transfers[1]);
}

struct dns_server {
	struct loop *loop;
	struct dns_service service;
	struct dns_zones *zones; /* counted */
	struct dns_rate *rate;   /* NULL: no limit */
	struct dns_peers *peers; /* counted */
	struct udp_port **udp;   /* owned, and each */
	struct listener **tcp;   /* owned, and each */
	size_t udp_count, tcp_count, stream_count;
	struct list streams;
	uint8_t out[LENGTH_BYTES + DNS_MESSAGE_BYTES];
	/* Answers over UDP that leave together. */
	struct udp_message messages[UDP_ANSWERS];
	uint8_t answers[UDP_ANSWERS][DNS_UDP_BYTES];
};

/* One UDP socket: its events have to know which it was. */
struct udp_port {
	struct dns_server *server;
	struct udp_socket *socket;
	bool is_any; /* has all addresses of the host: answers say from which */
};

/* One TCP connection. */
struct stream {
	struct list node;
	struct dns_server *server;
	struct byte_stream *bytes;
	struct timer idle;
	struct buf rest;               /* of an answer that the connection has not taken yet */
	struct dns_transfer *transfer; /* of which more messages follow; NULL: none */
	struct dns_peers *peers;       /* counted: whose key it is signed with */
	size_t len;
	uint8_t in[LENGTH_BYTES + STREAM_QUERY_BYTES];
};

/* `out` has DNS_UDP_BYTES, or DNS_MESSAGE_BYTES for a stream. */
static enum dns_action answer(struct dns_server *s, const struct dns_query *q, uint8_t *out,
			      size_t *len, struct dns_outcome *outcome)
{
	enum dns_action action = dns_answer(&s->service, q, out, len, outcome);

	metric_add(q->is_stream ? &metric_dns_queries_tcp : &metric_dns_queries_udp, 1);
	if (action == DNS_DROP)
		metric_add(&metric_dns_dropped, 1);
	else
		count_type(outcome->qtype);
	if (action != DNS_ANSWER)
		return action;
	const struct dns_transfers *allowed = dns_peers_allowed(s->peers);
	if (outcome->is_signed)
		dns_tsig_answer(q->packet, allowed->keys, allowed->key_count, q->now, out, len,
				q->is_stream ? DNS_MESSAGE_BYTES : DNS_UDP_BYTES);
	if (out[2] & 0x02)
		metric_add(&metric_dns_truncated, 1);
	metric_add(&metric_dns_answers[outcome->rcode <= 5 ? outcome->rcode : 6], 1);
	return action;
}

/* --- UDP ------------------------------------------------------------------------------------- */

/* Those who have proven their address get what they ask for. */
static bool passes(struct dns_server *s, const struct address *from,
		   const struct dns_outcome *outcome, uint8_t *out, size_t *len)
{
	if (!s->rate || outcome->is_known)
		return true;
	enum dns_rate_verdict verdict =
		dns_rate_check(s->rate, from, outcome->source, loop_now(s->loop));
	if (verdict == DNS_RATE_PASS)
		return true;
	metric_add(&metric_dns_limited, 1);
	if (verdict == DNS_RATE_TRUNCATE)
		dns_truncate(out, len);
	return verdict == DNS_RATE_TRUNCATE;
}

static void on_packets(void *ctx, const struct udp_packet *packets, size_t count)
{
	const struct udp_port *port = ctx;
	struct dns_server *s = port->server;

	usec now = clock_wall_now();
	size_t ready = 0;

	for (size_t i = 0; i < count; i++) {
		const struct udp_packet *p = &packets[i];
		const struct dns_query q = { p->data, &p->from, false, now };
		uint8_t *out = s->answers[ready];
		struct dns_outcome outcome;
		size_t len;
		if (address_port(&p->from) == 0 ||
		    answer(s, &q, out, &len, &outcome) != DNS_ANSWER ||
		    !passes(s, &p->from, &outcome, out, &len))
			continue;
		s->messages[ready++] = (struct udp_message){
			.from = port->is_any && p->to.len ? &p->to : NULL,
			.to = &p->from,
			.data = bytes_of(out, len),
		};
		/* A full socket drops answers, as the network may. */
		if (ready == UDP_ANSWERS) {
			udp_send_many(port->socket, s->messages, ready);
			ready = 0;
		}
	}
	udp_send_many(port->socket, s->messages, ready);
}

static void on_udp_writable(void *ctx)
{
	(void)ctx;
}

static const struct udp_events udp_events = {
	.on_packets = on_packets,
	.on_writable = on_udp_writable,
};

void dns_server_add_udp(struct dns_server *s, int fd)
{
	struct udp_port *port = mem_alloc(sizeof(*port));

	port->server = s;
	port->socket = udp_new_small(s->loop, fd, UDP_QUERY_BYTES, &udp_events, port);
	port->is_any = udp_is_any(port->socket);
	s->udp = mem_resize(s->udp, (s->udp_count + 1) * sizeof(s->udp[0]));
	s->udp[s->udp_count++] = port;
}

/* --- TCP ------------------------------------------------------------------------------------- */

static void stream_close(struct stream *st)
{
	timer_stop(&st->idle);
	list_remove(&st->node);
	byte_stream_close(st->bytes);
	dns_transfer_free(st->transfer);
	dns_peers_unref(st->peers);
	buf_done(&st->rest);
	st->server->stream_count--;
	metric_add(&metric_dns_streams, -1);
	mem_free(st);
}

static void on_idle(struct timer *t)
{
	stream_close(CONTAINER_OF(t, struct stream, idle));
}

/* What stands in s->out. False: the connection has been closed. */
static bool stream_send(struct stream *st, size_t len)
{
	struct dns_server *s = st->server;

	s->out[0] = (uint8_t)(len >> 8);
	s->out[1] = (uint8_t)len;
	size_t taken = byte_stream_write(st->bytes, bytes_of(s->out, LENGTH_BYTES + len));
	if (buf_append(&st->rest, bytes_of(s->out + taken, LENGTH_BYTES + len - taken)) < 0) {
		stream_close(st);
		return false;
	}
	timer_set(&st->idle, STREAM_IDLE_MS);
	list_remove(&st->node);
	list_append(&s->streams, &st->node);
	return true;
}

/* As many messages as the connection takes. False: it has been closed. */
static bool stream_transfer(struct stream *st)
{
	size_t len;

	while (st->transfer && st->rest.len == 0) {
		if (!dns_transfer_next(st->transfer, st->server->out + LENGTH_BYTES, &len))
			st->transfer = dns_transfer_free(st->transfer);
		else if (!stream_send(st, len))
			return false;
	}
	return true;
}

static bool stream_answer(struct stream *st, struct bytes packet)
{
	struct dns_server *s = st->server;
	const struct dns_query q = { packet, st->bytes->peer, true, clock_wall_now() };
	struct dns_outcome outcome;
	size_t len;
	enum dns_action action = answer(s, &q, s->out + LENGTH_BYTES, &len, &outcome);

	if (action == DNS_DROP) {
		stream_close(st);
		return false;
	}
	if (action == DNS_TRANSFER) {
		dns_peers_unref(st->peers);
		st->peers = dns_peers_ref(s->peers);
		st->transfer = dns_transfer_new(s->zones, dns_peers_allowed(s->peers), &q,
						s->out + LENGTH_BYTES, &len);
		metric_add(&metric_dns_transfers[st->transfer ? 0 : 1], 1);
		if (st->transfer)
			return stream_transfer(st);
	}
	return stream_send(st, len);
}

/* The whole queries in the buffer. False: the connection has been closed. */
static bool take_queries(struct stream *st)
{
	while (st->len >= LENGTH_BYTES && st->rest.len == 0 && !st->transfer) {
		size_t size = (size_t)st->in[0] << 8 | st->in[1], all = LENGTH_BYTES + size;
		if (size > STREAM_QUERY_BYTES) {
			stream_close(st);
			return false;
		}
		if (st->len < all)
			return true;
		if (!stream_answer(st, bytes_of(st->in + LENGTH_BYTES, size)))
			return false;
		st->len -= all;
		memmove(st->in, st->in + all, st->len);
	}
	return true;
}

static void on_readable(void *ctx)
{
	struct stream *st = ctx;

	while (take_queries(st)) {
		struct err err;
		/* Who does not read answers gets no more of them. */
		if (st->rest.len || st->transfer)
			return;
		ssize_t n = byte_stream_read(st->bytes, st->in + st->len, sizeof(st->in) - st->len,
					     &err);
		if (n == E_AGAIN)
			return;
		if (n <= 0) {
			stream_close(st);
			return;
		}
		st->len += (size_t)n;
	}
}

static void on_stream_writable(void *ctx)
{
	struct stream *st = ctx;

	buf_drop(&st->rest, byte_stream_write(st->bytes, buf_bytes(&st->rest)));
	if (st->rest.len == 0 && stream_transfer(st) && st->rest.len == 0)
		byte_stream_want_read(st->bytes);
}

static void on_stream_error(void *ctx, const struct err *err)
{
	(void)err;
	stream_close(ctx);
}

static const struct byte_stream_events stream_events = {
	.on_readable = on_readable,
	.on_writable = on_stream_writable,
	.on_error = on_stream_error,
};

static void on_accept(void *ctx, int fd, const struct address *peer)
{
	struct dns_server *s = ctx;

	/* The one that has been silent longest makes room. */
	if (s->stream_count >= LIMIT_DNS_STREAMS)
		stream_close(LIST_ENTRY(s->streams.next, struct stream, node));
	struct stream *st = mem_alloc(sizeof(*st));
	st->server = s;
	st->bytes = conn_adopt(s->loop, fd, peer);
	byte_stream_set_events(st->bytes, &stream_events, st);
	buf_init(&st->rest, LENGTH_BYTES + DNS_MESSAGE_BYTES);
	timer_init(&st->idle, s->loop, on_idle);
	timer_set(&st->idle, STREAM_IDLE_MS);
	list_append(&s->streams, &st->node);
	s->stream_count++;
	metric_add(&metric_dns_streams, 1);
	byte_stream_want_read(st->bytes);
}

void dns_server_add_tcp(struct dns_server *s, int fd)
{
	s->tcp = mem_resize(s->tcp, (s->tcp_count + 1) * sizeof(s->tcp[0]));
	s->tcp[s->tcp_count++] = listener_new(s->loop, fd, on_accept, s);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct dns_server *dns_server_new(struct loop *l, const struct dns_server_options *options)
{
	struct dns_server *s = mem_alloc(sizeof(*s));

	s->loop = l;
	s->service.id = options->id;
	memcpy(s->service.cookie_secrets, options->cookie_secrets,
	       sizeof(s->service.cookie_secrets));
	s->peers = dns_peers_new(NULL, 0, NULL, 0);
	s->rate = options->rate_per_second ? dns_rate_new(options->rate_per_second) : NULL;
	list_init(&s->streams);
	dns_server_set_zones(s, dns_zones_new(NULL, 0));
	return s;
}

void dns_server_set_zones(struct dns_server *s, struct dns_zones *zones)
{
	dns_zones_unref(s->zones);
	s->zones = zones;
	s->service.zones = zones;
}

void dns_server_set_peers(struct dns_server *s, struct dns_peers *peers)
{
	dns_peers_unref(s->peers);
	s->peers = peers;
}

void dns_server_leave(struct dns_server *s)
{
	while (s->udp_count) {
		struct udp_port *port = s->udp[--s->udp_count];
		udp_free(port->socket);
		mem_free(port);
	}
	while (s->tcp_count)
		listener_free(s->tcp[--s->tcp_count]);
}

void dns_server_stop(struct dns_server *s)
{
	dns_server_leave(s);
	while (!list_is_empty(&s->streams))
		stream_close(LIST_ENTRY(s->streams.next, struct stream, node));
}

struct dns_server *dns_server_free(struct dns_server *s)
{
	if (!s)
		return NULL;
	dns_server_stop(s);
	dns_zones_unref(s->zones);
	dns_peers_unref(s->peers);
	dns_rate_free(s->rate);
	mem_free(s->udp);
	mem_free(s->tcp);
	return mem_free(s);
}
