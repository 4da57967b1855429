/* Both ends of the control stream: against captured conversations of stock, split at every byte, against
 * each other, and against peers that break the rules. Events are kept as text, one line each. */
#include "transport/control.h"
#include "unit/wire/vectors.h"
#include "wire/rpc_registration.h"

#define BYTES (256 * 1024)

/* --- An end with its owner ------------------------------------------------------------------- */

struct end {
	struct control *control;
	struct buf events;
	struct buf sent;                 /* all it ever sent */
	const struct registered *answer; /* edge: given at once; NULL: later */
	bool is_eager;                   /* connector: unregister as soon as registered */
	const char *config;              /* connector: send it as soon as registered */
};

static void note(struct end *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void note(struct end *e, const char *fmt, ...)
{
	char text[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	assert_int_equal(buf_append_str(&e->events, text), 0);
	assert_int_equal(buf_append_str(&e->events, "\n"), 0);
}

static void on_register(void *ctx, const struct registration *r)
{
	struct end *e = ctx;
	char tunnel[UUID_TEXT_SIZE], connector[UUID_TEXT_SIZE];

	note(e,
	     "register " BYTES_FMT " " BYTES_FMT " %s/%u %s " BYTES_FMT " " BYTES_FMT
	     " features %zu attempts %u ip %zu",
	     BYTES_ARG(r->account), BYTES_ARG(r->secret), uuid_text(&r->tunnel, tunnel), r->index,
	     uuid_text(&r->connector, connector), BYTES_ARG(r->version), BYTES_ARG(r->arch),
	     r->feature_count, r->attempts, r->local_ip.len);
	if (e->answer)
		assert_true(control_reply(e->control, e->answer));
}

static void on_unregister(void *ctx)
{
	note(ctx, "unregister");
}

static void on_local_config(void *ctx, struct bytes json)
{
	if (json.len < 512)
		note(ctx, "config " BYTES_FMT, BYTES_ARG(json));
	else
		note(ctx, "config of %zu bytes", json.len);
}

static void on_registered(void *ctx, const struct registered *r)
{
	struct end *e = ctx;
	char id[UUID_TEXT_SIZE];

	if (r->ok)
		note(e, "registered %s " BYTES_FMT "%s", uuid_text(&r->connection, id),
		     BYTES_ARG(r->location), r->remotely_managed ? " managed" : "");
	else
		note(e, "refused " BYTES_FMT "%s%s", BYTES_ARG(r->cause),
		     r->should_retry ? " retry" : "", r->is_duplicate ? " duplicate" : "");
	assert_int_equal(control_is_done(e->control), !r->ok);
	if (r->ok && e->config)
		assert_int_equal(control_send_local_config(e->control, bytes_str(e->config), NULL),
				 0);
	if (r->ok && e->is_eager)
		control_unregister(e->control);
}

static void on_unregistered(void *ctx)
{
	struct end *e = ctx;

	note(e, "unregistered");
	assert_true(control_is_done(e->control));
}

static void on_ended(void *ctx, struct bytes reason)
{
	note(ctx, "ended " BYTES_FMT, BYTES_ARG(reason));
}

static const struct control_events events = {
	.on_register = on_register,
	.on_unregister = on_unregister,
	.on_local_config = on_local_config,
	.on_registered = on_registered,
	.on_unregistered = on_unregistered,
	.on_ended = on_ended,
};

static void end_init(struct end *e, enum session_side side, const struct registration *r)
{
	*e = (struct end){ 0 };
	buf_init(&e->events, BYTES);
	buf_init(&e->sent, 4 * 1024 * 1024);
	e->control = control_new(side, &events, e, r);
}

static void end_done(struct end *e)
{
	e->control = control_free(e->control);
	buf_done(&e->events);
	buf_done(&e->sent);
}

/* Takes all output, `step` bytes at a time. */
static void drain(struct end *e, size_t step)
{
	struct bytes out;

	while ((out = control_output(e->control)).len) {
		out = bytes_first(out, step);
		assert_int_equal(buf_append(&e->sent, out), 0);
		control_sent(e->control, out.len);
	}
}

static int feed(struct end *e, struct bytes data, size_t step, struct err *err)
{
	for (; data.len; data = bytes_from(data, step)) {
		int rc = control_feed(e->control, bytes_first(data, step), err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static void feed_all(struct end *e, struct bytes data, size_t step)
{
	struct err err = { 0 };

	if (feed(e, data, step, &err) < 0)
		fail_msg("%s", err.text);
}

static void assert_events(struct end *e, const char *want)
{
	assert_int_equal(buf_append(&e->events, bytes_of("", 1)), 0);
	assert_string_equal((const char *)e->events.ptr, want);
	e->events.len--;
}

static struct uuid uuid_of(const char *text)
{
	struct uuid u;

	assert_true(uuid_parse(bytes_str(text), &u));
	return u;
}

/* --- Fixtures -------------------------------------------------------------------------------- */

#define ACCOUNT "0123456789abcdef0123456789abcdef"
#define SECRET "0123456789ABCDEF0123456789ABCDEF"
#define TUNNEL "11223344-5566-4788-99aa-bbccddeeff00"
#define CONNECTOR "a0a1a2a3-a4a5-46a7-a8a9-aaabacadaeaf"
#define CONNECTION "c0c1c2c3-c4c5-46c7-88c9-cacbcccdcecf"
#define REGISTER_LINE                                             \
	"register " ACCOUNT " " SECRET " " TUNNEL "/0 " CONNECTOR \
	" 2026.8.2 linux_amd64 features 5 "                       \
	"attempts 2 ip 16\n"

static const struct bytes features[] = {
	{ (const uint8_t *)"allow_remote_config", 19 },
	{ (const uint8_t *)"serialized_headers", 18 },
	{ (const uint8_t *)"support_datagram_v2", 19 },
	{ (const uint8_t *)"support_quic_eof", 16 },
	{ (const uint8_t *)"management_logs", 15 },
};

/* The one the vectors were made with. */
static struct registration registration(void)
{
	return (struct registration){
		.account = BYTES_LIT(ACCOUNT),
		.secret = BYTES_LIT(SECRET),
		.tunnel = uuid_of(TUNNEL),
		.connector = uuid_of(CONNECTOR),
		.version = BYTES_LIT("2026.8.2"),
		.arch = BYTES_LIT("linux_amd64"),
		.features = features,
		.feature_count = ARRAY_LEN(features),
		.attempts = 2,
		.local_ip = BYTES_LIT("\0\0\0\0\0\0\0\0\0\0\xff\xff\x7f\0\0\1"),
	};
}

static struct registered accepted(bool is_managed)
{
	return (struct registered){
		.ok = true,
		.connection = uuid_of(CONNECTION),
		.location = BYTES_LIT("lhr01"),
		.remotely_managed = is_managed,
	};
}

/* What one side sent in one conversation of the vectors. */
static void conversation(const char *group, const char *direction, struct buf *out)
{
	json_t *vectors = vectors_load();
	json_t *v;
	size_t i;

	buf_init(out, BYTES);
	json_array_foreach(vectors, i, v) if (strcmp(vector_text(v, "group"), group) == 0 &&
					      strcmp(vector_text(v, "direction"), direction) == 0)
		vector_bytes(v, out);
	assert_true(out->len > 0);
	json_decref(vectors);
}

/* The same out of the captured file: section by its headline, `from` by the start of its lines. */
static void captured(const char *headline, const char *from, struct buf *out)
{
	FILE *file = fopen("tests/data/captured-registration.hex", "r");
	char line[256];
	bool is_section = false, is_message = false;

	assert_non_null(file);
	buf_init(out, BYTES);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, "====", 4) == 0)
			is_section = strstr(line, headline) != NULL;
		if (line[0] == '#')
			is_message = strncmp(line + 2, from, strlen(from)) == 0 &&
				     strstr(line, "data stream") == NULL;
		if (!is_section || !is_message || line[0] < '0' || line[0] > '9')
			continue;
		for (char *at = strchr(line, ':') + 1; at[0] == ' ' && at[1] != '\n'; at += 3) {
			char hex[] = { at[1], at[2], 0 };
			hex_append(out, hex);
		}
	}
	(void)fclose(file);
	assert_true(out->len > 0);
}

/* --- Edge, against stock ----------------------------------------------------------------------- */

/* Feeds one captured conversation in two parts, cut at every byte, and byte by byte. */
static void replay_edge(struct bytes in, const struct registered *answer, const char *want_events,
			struct bytes want_out)
{
	for (size_t cut = 0; cut <= in.len; cut++) {
		struct end e;

		end_init(&e, SESSION_EDGE, NULL);
		e.answer = answer;
		if (cut == 0) {
			feed_all(&e, in, 1);
		} else {
			feed_all(&e, bytes_first(in, cut), cut);
			feed_all(&e, bytes_from(in, cut), in.len);
		}
		drain(&e, 7);
		assert_events(&e, want_events);
		if (want_out.len)
			assert_bytes_equal(buf_bytes(&e.sent), want_out);
		assert_true(control_is_done(e.control));
		end_done(&e);
	}
}

static void replay_group(const char *group, const struct registered *answer,
			 const char *want_events, bool is_same_output)
{
	struct buf in, out;

	conversation(group, "connector->edge", &in);
	conversation(group, "edge->connector", &out);
	replay_edge(buf_bytes(&in), answer, want_events,
		    is_same_output ? buf_bytes(&out) : BYTES_NONE);
	buf_done(&in);
	buf_done(&out);
}

static void edge_answers_stock_with_the_bytes_of_stock(void **state)
{
	struct registered ok = accepted(false);
	struct registered managed = accepted(true);
	struct registered permanent = { .cause = BYTES_LIT("Unauthorized: Invalid tunnel secret") };
	struct registered duplicate = { .is_duplicate = true };

	replay_group("register-ok-localconfig-unregister-close", &ok,
		     REGISTER_LINE
		     "config {\"ingress\":[{\"service\":\"http_status:404\"}],\"warp-routing\":{}}\n"
		     "unregister\nended rpc: shutdown\n",
		     true);
	replay_group("register-ok-remotely-managed", &managed,
		     REGISTER_LINE "unregister\nended rpc: shutdown\n", true);
	replay_group("register-error-permanent", &permanent, REGISTER_LINE "ended rpc: shutdown\n",
		     true);
	/* Form B: the bootstrap was answered first, question 0 is used twice. */
	replay_group("register-error-edupconn", &duplicate, REGISTER_LINE "ended rpc: shutdown\n",
		     true);
}

static void edge_understands_stock_where_it_answers_otherwise(void **state)
{
	struct registered ok = accepted(false);
	/* This capture had a retryAfter, which nobody reads and we never send. */
	struct registered retry = { .cause = BYTES_LIT("try again later"), .should_retry = true };

	replay_group("register-error-retry", &retry, REGISTER_LINE "ended rpc: shutdown\n", false);
	/* And this one an edge that refused the configuration. */
	replay_group("localconfig-exception", &ok,
		     REGISTER_LINE
		     "config {\"ingress\":[{\"service\":\"http_status:404\"}],\"warp-routing\":{}}\n"
		     "ended rpc: shutdown\n",
		     false);
}

static void edge_serves_a_captured_session(void **state)
{
	static const char *const headlines[] = { "HTTP/2 control stream", "QUIC control stream" };
	struct registered ok = accepted(false);

	for (size_t i = 0; i < ARRAY_LEN(headlines); i++) {
		struct buf in;
		struct end e;

		captured(headlines[i], "cloudflared->edge", &in);
		/* The capture has our own side's Abort in it too, at its end. */
		for (size_t step = 1; step < 700; step = step * 3 + 1) {
			end_init(&e, SESSION_EDGE, NULL);
			e.answer = &ok;
			feed_all(&e, buf_bytes(&in), step);
			assert_int_equal(buf_append(&e.events, bytes_of("", 1)), 0);
			const char *text = (const char *)e.events.ptr;
			assert_non_null(strstr(text, "register spikeaccount0000000000000000000000 "
						     "0123456789abcdef0123456789abcdef "
						     "11111111-2222-4333-8444-555555555555/0"));
			assert_non_null(strstr(text, "config {\"__configuration_flags\":"));
			assert_non_null(strstr(text, "unregister\n"));
			assert_non_null(strstr(text, "ended rpc: shutdown\n"));
			end_done(&e);
		}
		buf_done(&in);
	}
}

/* --- Connector, against stock ------------------------------------------------------------------ */

static void connector_says_what_stock_says(void **state)
{
	static const struct {
		const char *group, *events;
	} cases[] = {
		{ "register-error-retry", "refused try again later retry\n" },
		{ "register-error-permanent", "refused Unauthorized: Invalid tunnel secret\n" },
	};
	struct registration r = registration();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf in, out;

		conversation(cases[i].group, "edge->connector", &in);
		conversation(cases[i].group, "connector->edge", &out);
		for (size_t cut = 0; cut <= in.len; cut++) {
			struct end e;

			end_init(&e, SESSION_CONNECTOR, &r);
			if (cut == 0)
				feed_all(&e, buf_bytes(&in), 1);
			else
				feed_all(&e, bytes_first(buf_bytes(&in), cut), cut);
			feed_all(&e, bytes_from(buf_bytes(&in), cut ? cut : in.len), in.len);
			drain(&e, 64);
			assert_events(&e, cases[i].events);
			assert_bytes_equal(buf_bytes(&e.sent), buf_bytes(&out));
			end_done(&e);
		}
		buf_done(&in);
		buf_done(&out);
	}
}

static void connector_understands_every_captured_answer(void **state)
{
	static const struct {
		const char *headline, *events;
	} cases[] = {
		{ "HTTP/2 control stream",
		  "registered a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf SPK1\n" },
		{ "QUIC control stream", "registered a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf SPK1\n" },
	};
	struct registration r = registration();

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf in;

		captured(cases[i].headline, "edge->cloudflared return(", &in);
		for (size_t step = 1; step <= in.len; step++) {
			struct end e;

			end_init(&e, SESSION_CONNECTOR, &r);
			/* The last two answers are to questions this end never asked: ignored. */
			feed_all(&e, buf_bytes(&in), step);
			assert_events(&e, cases[i].events);
			end_done(&e);
		}
		buf_done(&in);
	}
}

/* --- Both ends ------------------------------------------------------------------------------- */

/* Carries bytes both ways, `step` at a time, until neither end has any left. */
static void pump(struct end *a, struct end *b, size_t step)
{
	bool is_moving = true;

	while (is_moving) {
		is_moving = false;
		for (int k = 0; k < 2; k++) {
			struct end *from = k ? b : a, *to = k ? a : b;
			struct bytes out = bytes_first(control_output(from->control), step);

			if (out.len == 0)
				continue;
			feed_all(to, out, out.len);
			control_sent(from->control, out.len);
			is_moving = true;
		}
	}
}

static void both_ends_agree_at_every_chunk_size(void **state)
{
	struct registration r = registration();
	struct registered ok = accepted(false);

	for (size_t step = 1; step < 700; step++) {
		struct end edge, connector;

		end_init(&edge, SESSION_EDGE, NULL);
		end_init(&connector, SESSION_CONNECTOR, &r);
		edge.answer = &ok;
		connector.config = "{\"ingress\":[]}";
		connector.is_eager = true;
		pump(&edge, &connector, step);
		assert_events(&edge, REGISTER_LINE
			      "config {\"ingress\":[]}\nunregister\nended rpc: shutdown\n");
		assert_events(&connector, "registered " CONNECTION " lhr01\nunregistered\n");
		assert_true(control_is_done(edge.control));
		assert_true(control_is_done(connector.control));
		end_done(&edge);
		end_done(&connector);
	}
}

static void the_edge_may_answer_later(void **state)
{
	struct registration r = registration();
	struct registered ok = accepted(true);
	struct end edge, connector;

	end_init(&edge, SESSION_EDGE, NULL);
	end_init(&connector, SESSION_CONNECTOR, &r);
	assert_false(control_reply(edge.control, &ok));
	pump(&edge, &connector, 100);
	assert_events(&connector, "");
	assert_false(control_is_registered(edge.control));
	assert_true(control_reply(edge.control, &ok));
	assert_false(control_reply(edge.control, &ok));
	assert_true(control_is_registered(edge.control));
	pump(&edge, &connector, 100);
	assert_events(&connector, "registered " CONNECTION " lhr01 managed\n");
	assert_true(control_is_registered(connector.control));
	end_done(&edge);
	end_done(&connector);
}

static void a_duplicate_is_told_as_one(void **state)
{
	struct registration r = registration();
	struct registered duplicate = { .is_duplicate = true, .cause = BYTES_LIT("not this") };
	struct end edge, connector;

	end_init(&edge, SESSION_EDGE, NULL);
	end_init(&connector, SESSION_CONNECTOR, &r);
	edge.answer = &duplicate;
	pump(&edge, &connector, 100);
	assert_events(&connector, "refused EDUPCONN duplicate\n");
	assert_events(&edge, REGISTER_LINE "ended rpc: shutdown\n");
	end_done(&edge);
	end_done(&connector);
}

static void a_connector_that_gives_up_is_not_answered(void **state)
{
	struct registration r = registration();
	struct registered ok = accepted(false);
	struct end edge, connector;

	end_init(&edge, SESSION_EDGE, NULL);
	end_init(&connector, SESSION_CONNECTOR, &r);
	pump(&edge, &connector, 100);
	control_unregister(connector.control);
	assert_true(control_is_done(connector.control));
	pump(&edge, &connector, 100);
	assert_events(&edge, REGISTER_LINE "ended rpc: shutdown\n");
	assert_events(&connector, "");
	assert_false(control_reply(edge.control, &ok));
	assert_int_equal(control_output(edge.control).len, 0);
	end_done(&edge);
	end_done(&connector);
}

static void large_configurations_pass_once_registered(void **state)
{
	struct registration r = registration();
	struct registered ok = accepted(false);
	struct end edge, connector;
	struct buf json;
	struct err err;

	buf_init(&json, LIMIT_RPC_BYTES);
	assert_int_equal(buf_reserve(&json, LIMIT_RPC_BYTES), 0);
	memset(json.ptr, ' ', LIMIT_RPC_BYTES);
	end_init(&edge, SESSION_EDGE, NULL);
	end_init(&connector, SESSION_CONNECTOR, &r);
	assert_int_equal(control_send_local_config(connector.control, BYTES_LIT("{}"), &err),
			 E_INVALID);
	edge.answer = &ok;
	pump(&edge, &connector, 1000);
	assert_int_equal(control_send_local_config(connector.control,
						   bytes_of(json.ptr, LIMIT_RPC_BYTES), &err),
			 E_LIMIT);
	assert_int_equal(control_send_local_config(connector.control,
						   bytes_of(json.ptr, LIMIT_RPC_BYTES - 1024), &err),
			 0);
	/* Nothing was read yet: no room for a second one. */
	assert_int_equal(control_send_local_config(connector.control,
						   bytes_of(json.ptr, LIMIT_RPC_BYTES - 1024), &err),
			 E_LIMIT);
	pump(&edge, &connector, 16384);
	assert_events(&edge, REGISTER_LINE "config of 1047552 bytes\n");
	end_done(&edge);
	end_done(&connector);
	buf_done(&json);
}

static void a_registration_out_of_bounds_is_over_at_once(void **state)
{
	static uint8_t secret[CONTROL_SECRET_BYTES + 1];
	struct registration r = registration();
	struct end e;

	r.secret = bytes_of(secret, sizeof(secret));
	end_init(&e, SESSION_CONNECTOR, &r);
	assert_true(control_is_done(e.control));
	assert_int_equal(control_output(e.control).len, 0);
	end_done(&e);
}

/* --- Edge, against peers that break the rules ---------------------------------------------------- */

static const struct rpc_target to_cap = { .kind = RPC_TO_CAPABILITY };
static const struct rpc_target to_answer = { .kind = RPC_TO_ANSWER };

/* Feeds what a builder wrote and gives back the kind and text of the first answer in `text`. */
static int ask(struct end *e, struct buf *request, struct rpc_message *answer, struct buf *raw)
{
	struct err err = { 0 };
	int rc = feed(e, buf_bytes(request), request->len, &err);
	size_t size = 0;

	buf_clear(request);
	buf_clear(&e->sent);
	buf_clear(raw);
	drain(e, 4096);
	assert_int_equal(buf_append(raw, buf_bytes(&e->sent)), 0);
	if (raw->len == 0)
		return rc;
	assert_int_equal(capnp_frame_size(buf_bytes(raw), BYTES, &size, NULL), 0);
	assert_int_equal(rpc_decode(bytes_first(buf_bytes(raw), size), answer, NULL), 0);
	return rc;
}

struct bench {
	struct end e;
	struct buf request, raw;
	struct rpc_message answer;
	struct registered ok;
};

static void bench_init(struct bench *b)
{
	end_init(&b->e, SESSION_EDGE, NULL);
	buf_init(&b->request, BYTES);
	buf_init(&b->raw, BYTES);
	b->ok = accepted(false);
	b->e.answer = &b->ok;
}

static void bench_done(struct bench *b)
{
	end_done(&b->e);
	buf_done(&b->request);
	buf_done(&b->raw);
}

static int bench_ask(struct bench *b)
{
	return ask(&b->e, &b->request, &b->answer, &b->raw);
}

static void assert_exception(struct bench *b, uint32_t question, enum rpc_exception_type type,
			     const char *reason)
{
	assert_int_equal(b->answer.kind, RPC_RETURN);
	assert_int_equal(b->answer.ret.kind, RPC_EXCEPTION);
	assert_int_equal(b->answer.ret.answer, question);
	assert_int_equal(b->answer.ret.exception.type, type);
	assert_text(b->answer.ret.exception.reason, reason);
}

static int put_register(struct buf *out, uint32_t question, const struct rpc_target *target)
{
	struct registration r = registration();
	struct rpc_registration wire = {
		.account = r.account,
		.secret = r.secret,
		.tunnel = uuid_bytes(&r.tunnel),
		.connector = uuid_bytes(&r.connector),
	};

	return rpc_put_register(out, question, target, &wire);
}

static void calls_need_a_target(void **state)
{
	struct bench b;
	struct rpc_target other = { .kind = RPC_TO_CAPABILITY, .id = 1 };

	bench_init(&b);
	/* Before any bootstrap there is nothing. */
	assert_int_equal(put_register(&b.request, 5, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 5, RPC_FAILED, "rpc: target not found");
	assert_int_equal(put_register(&b.request, 6, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 6, RPC_FAILED, "rpc: target not found");
	/* Then there is one capability. */
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_true(b.answer.ret.is_capability);
	assert_int_equal(put_register(&b.request, 7, &other), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 7, RPC_FAILED, "rpc: target not found");
	/* The answer is a target until its Finish, also after its Return. */
	assert_int_equal(rpc_put_unregister(&b.request, 8, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.answer.ret.kind, RPC_RESULTS);
	assert_int_equal(rpc_put_finish(&b.request, 0, false), 0);
	assert_int_equal(rpc_put_unregister(&b.request, 9, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 9, RPC_FAILED, "rpc: target not found");
	/* The answer of another call is no target. */
	struct rpc_target call = { .kind = RPC_TO_ANSWER, .id = 8 };
	assert_int_equal(rpc_put_unregister(&b.request, 10, &call), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 10, RPC_FAILED, "rpc: target not found");
	bench_done(&b);
}

static void unknown_methods_and_interfaces_are_exceptions(void **state)
{
	struct bench b;
	struct capnp_writer w;

	bench_init(&b);
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	struct capnp_ref p =
		rpc_begin_call(&w, &b.request, 1, &to_answer, RPC_REGISTRATION_INTERFACE, 3);
	assert_int_equal(rpc_end_payload(&w, p), 0);
	p = rpc_begin_call(&w, &b.request, 2, &to_answer, 0xea58385c65416035, 0);
	assert_int_equal(rpc_end_payload(&w, p), 0);
	assert_int_equal(bench_ask(&b), 0);
	size_t size = 0;
	for (uint32_t i = 1; i <= 2; i++) {
		assert_int_equal(capnp_frame_size(buf_bytes(&b.raw), BYTES, &size, NULL), 0);
		buf_drop(&b.raw, size);
		assert_int_equal(capnp_frame_size(buf_bytes(&b.raw), BYTES, &size, NULL), 0);
		assert_int_equal(rpc_decode(bytes_first(buf_bytes(&b.raw), size), &b.answer, NULL),
				 0);
		assert_exception(&b, i, RPC_NOT_IMPLEMENTED, "method not implemented");
	}
	/* Parameters that are none. */
	p = rpc_begin_call(&w, &b.request, 3, &to_cap, RPC_REGISTRATION_INTERFACE, 0);
	assert_int_equal(rpc_end_payload(&w, p), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 3, RPC_FAILED, "registerConnection without parameters");
	assert_events(&b.e, "");
	bench_done(&b);
}

static void unknown_messages_are_sent_back_and_unimplemented_is_not(void **state)
{
	struct bench b;

	bench_init(&b);
	hex_append(&b.request, "0000000005000000"
			       "0000000001000100"
			       "0d00000000000000"
			       "0000000001000100"
			       "0700000001000000"
			       "0000000000000000");
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.answer.kind, RPC_UNIMPLEMENTED);
	/* Its own answer back to it: silence, not a ping-pong. */
	assert_int_equal(buf_append(&b.request, buf_bytes(&b.raw)), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.raw.len, 0);
	/* What nobody knows: silence too. */
	assert_int_equal(rpc_put_finish(&b.request, 99, true), 0);
	assert_int_equal(rpc_put_release(&b.request, 99, 99), 0);
	assert_int_equal(rpc_put_return_empty(&b.request, 99), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.raw.len, 0);
	bench_done(&b);
}

static void registration_happens_once(void **state)
{
	struct bench b;

	bench_init(&b);
	b.e.answer = NULL;
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(put_register(&b.request, 1, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(put_register(&b.request, 2, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 2, RPC_FAILED, "already registered");
	/* Not registered yet: no configuration. */
	assert_int_equal(rpc_put_local_configuration(&b.request, 3, &to_cap, BYTES_LIT("{}")), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 3, RPC_FAILED, "not registered");
	/* A Finish before the answer cancels it; the format wants a Return all the same. */
	assert_int_equal(rpc_put_finish(&b.request, 1, true), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.answer.ret.kind, RPC_CANCELED);
	assert_int_equal(b.answer.ret.answer, 1);
	assert_false(control_reply(b.e.control, &b.ok));
	/* And it may be asked again. */
	b.e.answer = &b.ok;
	assert_int_equal(put_register(&b.request, 1, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.answer.ret.kind, RPC_RESULTS);
	assert_int_equal(put_register(&b.request, 4, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 4, RPC_FAILED, "already registered");
	bench_done(&b);
}

static void unregister_is_told_once(void **state)
{
	struct bench b;

	bench_init(&b);
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(put_register(&b.request, 1, &to_answer), 0);
	assert_int_equal(rpc_put_unregister(&b.request, 2, &to_cap), 0);
	assert_int_equal(rpc_put_unregister(&b.request, 3, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	struct bytes seen = buf_bytes(&b.e.events);
	assert_non_null(memmem(seen.ptr, seen.len, "unregister\n", strlen("unregister\n")));
	assert_int_equal(b.e.events.len,
			 strlen("register " ACCOUNT " " SECRET " " TUNNEL "/0 " CONNECTOR
				"   features 0 attempts 0 ip 0\nunregister\n"));
	assert_false(control_is_registered(b.e.control));
	bench_done(&b);
}

static void assert_dead(struct bench *b, int code, const char *reason)
{
	struct err err;

	assert_int_equal(bench_ask(b), code);
	assert_true(control_is_done(b->e.control));
	/* The last message is an Abort. */
	struct bytes left = buf_bytes(&b->raw);
	size_t size = 0;
	while (capnp_frame_size(left, BYTES, &size, NULL) == 0 && size < left.len)
		left = bytes_from(left, size);
	assert_int_equal(rpc_decode(left, &b->answer, NULL), 0);
	assert_int_equal(b->answer.kind, RPC_ABORT);
	assert_non_null(memmem(b->answer.abort.reason.ptr, b->answer.abort.reason.len, reason,
			       strlen(reason)));
	assert_int_equal(control_feed(b->e.control, BYTES_LIT("x"), &err), code);
	assert_int_equal(control_output(b->e.control).len, 0);
	assert_false(control_reply(b->e.control, &b->ok));
}

static void a_live_question_id_used_again_is_fatal(void **state)
{
	struct bench b;

	bench_init(&b);
	assert_int_equal(rpc_put_bootstrap(&b.request, 3), 0);
	assert_int_equal(rpc_put_unregister(&b.request, 3, &to_cap), 0);
	assert_dead(&b, E_PROTOCOL, "question id 3");
	bench_done(&b);
}

static void too_many_questions_are_fatal(void **state)
{
	struct bench b;

	bench_init(&b);
	for (uint32_t i = 0; i < LIMIT_RPC_ANSWERS; i++)
		assert_int_equal(rpc_put_bootstrap(&b.request, i * 1000), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(rpc_put_bootstrap(&b.request, 1), 0);
	assert_dead(&b, E_LIMIT, "open questions");
	bench_done(&b);
}

static void a_peer_that_does_not_read_is_cut_off(void **state)
{
	struct bench b;
	int rc = 0;

	bench_init(&b);
	for (int i = 0; i < 10000 && rc == 0; i++) {
		buf_clear(&b.request);
		assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
		assert_int_equal(rpc_put_finish(&b.request, 0, false), 0);
		rc = feed(&b.e, buf_bytes(&b.request), 4096, NULL);
	}
	assert_int_equal(rc, E_LIMIT);
	assert_true(control_output(b.e.control).len <= 64 * 1024);
	bench_done(&b);
}

static void messages_over_the_limit_are_refused_by_their_header(void **state)
{
	struct bench b;

	bench_init(&b);
	hex_append(&b.request, "0000000000200000");
	assert_dead(&b, E_LIMIT, "at most 65536");
	bench_done(&b);

	/* Registered: 1 MiB. */
	bench_init(&b);
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(put_register(&b.request, 1, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	hex_append(&b.request, "0000000000200000");
	assert_int_equal(bench_ask(&b), 0);
	bench_done(&b);
	bench_init(&b);
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(put_register(&b.request, 1, &to_answer), 0);
	assert_int_equal(bench_ask(&b), 0);
	hex_append(&b.request, "0000000000000200");
	assert_dead(&b, E_LIMIT, "at most 1048576");
	bench_done(&b);
}

static void garbage_is_fatal(void **state)
{
	struct bench b;

	bench_init(&b);
	assert_int_equal(buf_append_str(&b.request, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0);
	assert_dead(&b, E_LIMIT, "segments");
	bench_done(&b);
	bench_init(&b);
	hex_append(&b.request, "0000000001000000"
			       "0000000001000000");
	assert_dead(&b, E_PROTOCOL, "struct out of range");
	bench_done(&b);
}

static void an_edge_without_an_owner_refuses(void **state)
{
	static const struct control_events none = { 0 };
	struct bench b;

	bench_init(&b);
	control_free(b.e.control);
	b.e.control = control_new(SESSION_EDGE, &none, NULL, NULL);
	assert_int_equal(rpc_put_bootstrap(&b.request, 0), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(put_register(&b.request, 1, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 1, RPC_NOT_IMPLEMENTED, "registration is not served here");
	assert_int_equal(rpc_put_unregister(&b.request, 2, &to_cap), 0);
	assert_int_equal(rpc_put_abort(&b.request, BYTES_LIT("bye")), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_true(control_is_done(b.e.control));
	bench_done(&b);
}

/* --- Connector, against peers that break the rules ------------------------------------------------ */

static void connector_with(struct end *e, struct buf *in)
{
	struct registration r = registration();

	end_init(e, SESSION_CONNECTOR, &r);
	drain(e, 4096);
	feed_all(e, buf_bytes(in), 4096);
	buf_clear(&e->sent);
	drain(e, 4096);
	buf_clear(in);
}

static void an_exception_is_a_refusal(void **state)
{
	struct buf in;
	struct end e;

	buf_init(&in, BYTES);
	assert_int_equal(rpc_put_return_capability(&in, 0, 4), 0);
	assert_int_equal(rpc_put_return_exception(&in, 1, RPC_OVERLOADED, BYTES_LIT("busy")), 0);
	connector_with(&e, &in);
	assert_events(&e, "refused registerConnection: rpc exception: busy\n");
	/* Finish(0), Finish(1, release), Release(4), Abort. */
	struct rpc_message m;
	struct bytes left = buf_bytes(&e.sent);
	static const uint16_t kinds[] = { RPC_FINISH, RPC_FINISH, RPC_RELEASE, RPC_ABORT };
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t size = 0;
		assert_int_equal(capnp_frame_size(left, BYTES, &size, NULL), 0);
		assert_int_equal(rpc_decode(bytes_first(left, size), &m, NULL), 0);
		assert_int_equal(m.kind, kinds[i]);
		if (i == 1)
			assert_true(m.finish.release_caps);
		if (i == 2)
			assert_int_equal(m.release.id, 4);
		left = bytes_from(left, size);
	}
	assert_int_equal(left.len, 0);
	end_done(&e);

	assert_int_equal(rpc_put_return_canceled(&in, 1), 0);
	connector_with(&e, &in);
	assert_events(&e, "refused registerConnection: no answer (return kind 2)\n");
	end_done(&e);

	assert_int_equal(rpc_put_return_exception(&in, 0, RPC_FAILED, BYTES_LIT("no")), 0);
	assert_int_equal(rpc_put_return_exception(&in, 1, RPC_FAILED, BYTES_LIT("late")), 0);
	connector_with(&e, &in);
	assert_events(&e, "refused bootstrap: rpc exception: no\n");
	end_done(&e);

	assert_int_equal(rpc_put_return_empty(&in, 0), 0);
	connector_with(&e, &in);
	assert_events(&e, "refused bootstrap: no answer (return kind 0)\n");
	end_done(&e);
	buf_done(&in);
}

static void a_registration_answered_with_nonsense_is_fatal(void **state)
{
	struct registration r = registration();
	struct buf in;
	struct end e;
	struct err err;

	buf_init(&in, BYTES);
	assert_int_equal(rpc_put_registered(&in, 1, &(struct rpc_registered){ .ok = true }), 0);
	end_init(&e, SESSION_CONNECTOR, &r);
	assert_int_equal(feed(&e, buf_bytes(&in), 4096, &err), E_PROTOCOL);
	assert_string_equal(err.text, "connection id of 0 bytes");
	assert_events(&e, "");
	end_done(&e);
	buf_done(&in);
}

static void answers_may_come_in_any_order(void **state)
{
	struct registered ok = accepted(false);
	struct buf in;
	struct end e;
	struct rpc_message m;
	size_t size = 0;

	/* The registration before the bootstrap: later calls go to the promised answer. */
	buf_init(&in, BYTES);
	assert_int_equal(rpc_put_registered(&in, 1,
					    &(struct rpc_registered){
						    .ok = true,
						    .connection = uuid_bytes(&ok.connection),
					    }),
			 0);
	connector_with(&e, &in);
	assert_events(&e, "registered " CONNECTION " \n");
	buf_clear(&e.sent);
	control_unregister(e.control);
	control_unregister(e.control);
	drain(&e, 4096);
	assert_int_equal(capnp_frame_size(buf_bytes(&e.sent), BYTES, &size, NULL), 0);
	assert_int_equal(size, e.sent.len);
	assert_int_equal(rpc_decode(buf_bytes(&e.sent), &m, NULL), 0);
	assert_int_equal(m.call.target.kind, RPC_TO_ANSWER);
	assert_int_equal(m.call.target.id, 0);
	assert_int_equal(m.call.question, 1);
	end_done(&e);
	buf_done(&in);
}

static void a_connector_serves_nothing(void **state)
{
	struct registration r = registration();
	struct bench b;

	bench_init(&b);
	control_free(b.e.control);
	b.e.control = control_new(SESSION_CONNECTOR, &events, &b.e, &r);
	drain(&b.e, 4096);
	assert_int_equal(rpc_put_bootstrap(&b.request, 3), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 3, RPC_FAILED, "nothing is served here");
	assert_int_equal(rpc_put_unregister(&b.request, 4, &to_cap), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_exception(&b, 4, RPC_FAILED, "rpc: target not found");
	assert_int_equal(rpc_put_abort(&b.request, BYTES_LIT("going down")), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_events(&b.e, "ended going down\n");
	assert_true(control_is_done(b.e.control));
	/* Over is over. */
	assert_int_equal(rpc_put_bootstrap(&b.request, 5), 0);
	assert_int_equal(bench_ask(&b), 0);
	assert_int_equal(b.raw.len, 0);
	control_shutdown(b.e.control);
	control_unregister(b.e.control);
	assert_int_equal(control_output(b.e.control).len, 0);
	bench_done(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edge_answers_stock_with_the_bytes_of_stock),
		cmocka_unit_test(edge_understands_stock_where_it_answers_otherwise),
		cmocka_unit_test(edge_serves_a_captured_session),
		cmocka_unit_test(connector_says_what_stock_says),
		cmocka_unit_test(connector_understands_every_captured_answer),
		cmocka_unit_test(both_ends_agree_at_every_chunk_size),
		cmocka_unit_test(the_edge_may_answer_later),
		cmocka_unit_test(a_duplicate_is_told_as_one),
		cmocka_unit_test(a_connector_that_gives_up_is_not_answered),
		cmocka_unit_test(large_configurations_pass_once_registered),
		cmocka_unit_test(a_registration_out_of_bounds_is_over_at_once),
		cmocka_unit_test(calls_need_a_target),
		cmocka_unit_test(unknown_methods_and_interfaces_are_exceptions),
		cmocka_unit_test(unknown_messages_are_sent_back_and_unimplemented_is_not),
		cmocka_unit_test(registration_happens_once),
		cmocka_unit_test(unregister_is_told_once),
		cmocka_unit_test(a_live_question_id_used_again_is_fatal),
		cmocka_unit_test(too_many_questions_are_fatal),
		cmocka_unit_test(a_peer_that_does_not_read_is_cut_off),
		cmocka_unit_test(messages_over_the_limit_are_refused_by_their_header),
		cmocka_unit_test(garbage_is_fatal),
		cmocka_unit_test(an_edge_without_an_owner_refuses),
		cmocka_unit_test(an_exception_is_a_refusal),
		cmocka_unit_test(a_registration_answered_with_nonsense_is_fatal),
		cmocka_unit_test(answers_may_come_in_any_order),
		cmocka_unit_test(a_connector_serves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
