/* Very many connectors in one process, for bench/claim_crowd.py: each is one tunnel connection with an identity of
 * its own, over HTTP/2 or QUIC, with no service behind it.
 *
 *	crowd http2|quic EDGE CA-FILE TOKEN-FILE COUNT AT-ONCE hold|churn
 *
 * TOKEN-FILE has a run token in each line; connectors take them in turns. AT-ONCE handshakes are under way at a
 * time. With `hold` the connections stay, idle, until SIGTERM; with `churn` each is closed as soon as it is
 * registered. Prints "registered N failed N ms N" when the last one is decided, and at the end "lost N": those that
 * ended while they were to stay. Exit status 1 when any failed or was lost.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "io/conn.h"
#include "io/udp.h"
#include "tls/tls.h"
#include "transport/quic_endpoint.h"
#include "transport/transport.h"
#include "wire/token.h"

#define TOKENS_MAX 256
#define TIMEOUT_MS 30000
/* Connections that share a UDP socket: an edge spreads sockets over its workers. */
#define PER_SOCKET 64

struct crowd;

struct one {
	struct crowd *crowd;
	struct session *session;
	bool is_registered;
};

struct crowd {
	struct loop *loop;
	struct tls_context *tls;
	struct address edge;
	bool is_quic, stays, is_over;
	struct token tokens[TOKENS_MAX];
	size_t token_count;
	struct tunnel_endpoint **endpoints;
	size_t endpoint_count;
	size_t count, at_once;
	size_t begun, registered, failed, lost;
	usec began;
	struct one *all;
};

static void begin_more(struct crowd *c);

static void decided(struct crowd *c, size_t *counter)
{
	(*counter)++;
	if (c->registered + c->failed == c->count) {
		printf("registered %zu failed %zu ms %" PRId64 "\n", c->registered, c->failed,
		       (clock_now() - c->began) / USEC_PER_MSEC);
		fflush(stdout);
		if (!c->stays)
			loop_stop(c->loop);
	}
	begin_more(c);
}

static void say(const char *what, const char *why)
{
	fprintf(stderr, "crowd: %s: %s\n", what, why);
}

/* --- Sessions -------------------------------------------------------------------------------- */

static void on_registered(struct session *s, const struct registered *r)
{
	struct one *o = s->ctx;

	if (!r->ok) {
		fprintf(stderr, "crowd: refused: %.*s\n", (int)r->cause.len,
			(const char *)r->cause.ptr);
		return; /* the session closes itself */
	}
	o->is_registered = true;
	if (!o->crowd->stays)
		session_close(s, REASON_DONE);
	decided(o->crowd, &o->crowd->registered);
}

static void on_stream(struct session *s, struct stream *st, enum stream_kind kind,
		      const struct head *head, bool fin)
{
	stream_reset(st, REASON_REFUSED);
}

static void on_closed(struct session *s, enum reason why, const struct err *err)
{
	struct one *o = s->ctx;
	struct crowd *c = o->crowd;

	o->session = NULL;
	if (c->is_over)
		return;
	if (!o->is_registered) {
		say("not registered", err && err->code ? err->text : reason_text(why));
		decided(c, &c->failed);
	} else if (c->stays) {
		say("lost", err && err->code ? err->text : reason_text(why));
		c->lost++;
	}
}

static const struct session_events events = {
	.on_registered = on_registered,
	.on_stream = on_stream,
	.on_closed = on_closed,
};

static void start(struct one *o, struct byte_stream *stream, struct quic_conn *quic)
{
	struct crowd *c = o->crowd;
	const struct token *token = &c->tokens[(size_t)(o - c->all) % c->token_count];
	static const struct bytes features[] = { BYTES_LIT("serialized_headers") };
	const struct registration registration = {
		.account = bytes_str(token->account),
		.secret = bytes_of(token->secret.ptr, token->secret.len),
		.tunnel = token->tunnel,
		.connector = uuid_random(),
		.version = BYTES_LIT("crowd"),
		.arch = BYTES_LIT("linux"),
		.features = features,
		.feature_count = ARRAY_LEN(features),
	};
	const struct session_start how = {
		.side = SESSION_CONNECTOR,
		.stream = stream,
		.quic = quic,
		.events = &events,
		.ctx = o,
		.registration = &registration,
	};

	o->session = (c->is_quic ? &quic_transport : &h2_transport)->start(c->loop, &how);
}

/* --- Connections ----------------------------------------------------------------------------- */

static void on_tls(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct one *o = ctx;

	if (stream) {
		start(o, stream, NULL);
	} else {
		say("TLS", err->text);
		decided(o->crowd, &o->crowd->failed);
	}
}

static void on_tcp(void *ctx, struct byte_stream *stream, const struct err *err)
{
	struct one *o = ctx;

	if (stream) {
		tls_connect(o->crowd->tls, stream, BYTES_LIT("h2.cftunnel.com"), TIMEOUT_MS, on_tls,
			    o);
	} else {
		say("TCP", err->text);
		decided(o->crowd, &o->crowd->failed);
	}
}

static void on_quic(void *ctx, struct quic_conn *conn, const struct err *err)
{
	struct one *o = ctx;

	if (conn) {
		start(o, NULL, conn);
	} else {
		say("QUIC", err->text);
		decided(o->crowd, &o->crowd->failed);
	}
}

static void begin_more(struct crowd *c)
{
	while (c->begun < c->count && c->begun - c->registered - c->failed < c->at_once) {
		struct one *o = &c->all[c->begun++];
		size_t index = (size_t)(o - c->all);
		o->crowd = c;
		if (c->is_quic)
			tunnel_connect(c->endpoints[index % c->endpoint_count], &c->edge, c->tls,
				       BYTES_LIT("quic.cftunnel.com"), on_quic, o);
		else
			conn_connect(c->loop, &c->edge, TIMEOUT_MS, on_tcp, o);
	}
}

/* --- Setting up ------------------------------------------------------------------------------ */

static void die(const char *what, const struct err *err)
{
	say(what, err->text);
	exit(2);
}

static void read_tokens(struct crowd *c, const char *path)
{
	static char line[TOKEN_TEXT_BYTES];
	struct err err = { 0 };
	FILE *file = fopen(path, "re");

	while (file && c->token_count < TOKENS_MAX && fgets(line, sizeof(line), file)) {
		struct token *token = &c->tokens[c->token_count++];
		if (token_decode(bytes_str(line), token, &err) < 0)
			die(path, &err);
	}
	if (!file || c->token_count == 0) {
		err_set(&err, E_NOT_FOUND, "no tokens");
		die(path, &err);
	}
	fclose(file);
}

static void open_sockets(struct crowd *c)
{
	struct err err = { 0 };

	c->endpoint_count = (c->count + PER_SOCKET - 1) / PER_SOCKET;
	c->endpoints = mem_alloc_array(c->endpoint_count, sizeof(struct tunnel_endpoint *));
	for (size_t i = 0; i < c->endpoint_count; i++) {
		struct address any;
		BUG_IF(address_parse(BYTES_LIT("127.0.0.1:0"), &any, NULL) < 0);
		int fd = udp_open(&any, false, &err);
		if (fd < 0)
			die("UDP socket", &err);
		c->endpoints[i] = tunnel_endpoint_new(c->loop, fd, NULL, NULL, NULL);
	}
}

static void on_term(void *arg, int signum)
{
	loop_stop(arg);
}

static void set_up(struct crowd *c, char **argv)
{
	static const char *const alpn[] = { "argotunnel", NULL };
	struct rlimit files;
	struct err err = { 0 };

	c->is_quic = strcmp(argv[1], "quic") == 0;
	if (address_parse(bytes_str(argv[2]), &c->edge, &err) < 0)
		die("EDGE", &err);
	const struct tls_client_options options = {
		.ca_file = argv[3],
		.alpn = c->is_quic ? alpn : NULL,
	};
	c->tls = tls_context_client(&options, &err);
	if (!c->tls)
		die("CA-FILE", &err);
	read_tokens(c, argv[4]);
	c->count = strtoul(argv[5], NULL, 10);
	c->at_once = strtoul(argv[6], NULL, 10);
	c->stays = strcmp(argv[7], "hold") == 0;
	if (c->count == 0 || c->at_once == 0) {
		err_set(&err, E_INVALID, "COUNT and AT-ONCE are numbers above 0");
		die("arguments", &err);
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	c->loop = loop_new(&err);
	if (!c->loop)
		die("event loop", &err);
	if (c->is_quic)
		open_sockets(c);
	c->all = mem_alloc_array(c->count, sizeof(struct one));
}

int main(int argc, char **argv)
{
	static struct crowd c;

	if (argc != 8) {
		fprintf(stderr, "usage: crowd http2|quic EDGE CA-FILE TOKEN-FILE COUNT AT-ONCE "
				"hold|churn\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	tls_global_init();
	set_up(&c, argv);
	struct loop_signal *term = loop_signal_new(c.loop, SIGTERM, on_term, c.loop);
	c.began = clock_now();
	begin_more(&c);
	loop_run(c.loop);

	size_t missing = c.failed + c.lost + (c.count - c.begun);
	c.is_over = true;
	printf("lost %zu\n", c.lost);
	for (size_t i = 0; i < c.count; i++)
		if (c.all[i].session)
			session_close(c.all[i].session, REASON_DONE);
	loop_signal_free(term);
	for (size_t i = 0; i < c.endpoint_count; i++)
		tunnel_endpoint_free(c.endpoints[i]);
	/* Sessions over TCP close in here, their closed events come. */
	loop_free(c.loop);
	mem_free(c.endpoints);
	mem_free(c.all);
	for (size_t i = 0; i < c.token_count; i++)
		token_done(&c.tokens[i]);
	tls_context_unref(c.tls);
	return missing > 0;
}
