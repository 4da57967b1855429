#include "edge/stapling.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "edge/snapshot.h"
#include "http/fetch.h"
#include "io/loop.h"
#include "store/store.h"
#include "tls/ocsp.h"

#define COMPONENT "edge/stapling"
/* An answer with a chain of its own has some 3 KiB. */
#define ANSWER_MAX_BYTES (64 * 1024)
#define QUESTION_MAX_BYTES 4096
#define ASK_TIMEOUT (10 * USEC_PER_SEC)
#define RETRY_MIN (60 * USEC_PER_SEC)
#define RETRY_MAX (3600 * USEC_PER_SEC)
/* However short the answers of an authority are good. */
#define REFRESH_MIN (60 * USEC_PER_SEC)

struct metric metric_ocsp_answers = {
	.name = "adit_edge_ocsp_answers_total",
	.help = "Answers of authorities that a certificate is good",
};
struct metric metric_ocsp_failures = {
	.name = "adit_edge_ocsp_failures_total",
	.help = "Questions to authorities that brought no such answer",
};

struct stapled {
	struct list node;                    /* in stapling->list */
	char id[TLS_OCSP_ID_SIZE];           /* of the certificate */
	struct tls_certificate *certificate; /* counted */
	char *url;                           /* owned; NULL: nobody can be asked */
	bool is_must, is_wanted;
	usec fresh_until; /* wall, as the next; 0: no answer */
	usec next_try_at;
	usec wait; /* after the next failure */
	char error[200];
};

struct stapling {
	struct loop *loop;
	struct store *store;
	void (*changed)(void *ctx);
	void *ctx;
	struct list list;
	struct map *by_id; /* -> struct stapled */
	struct timer timer;
	struct question *question; /* borrowed: under way */
	bool is_paused;
};

/* On its way; ends by itself. */
struct question {
	struct stapling *owner; /* NULL: it is gone */
	char id[TLS_OCSP_ID_SIZE];
	char *url;       /* owned */
	struct buf text; /* owned */
	int result;
	struct err err;
	struct buf answer; /* owned */
};

static void plan(struct stapling *s);

/* --- Asking, on a thread of the pool ----------------------------------------------------------- */

static void on_work(void *arg)
{
	struct question *q = arg;
	const struct fetch_header headers[] = {
		{ "Content-Type", "application/ocsp-request" },
		{ "Accept", "application/ocsp-response" },
	};
	const struct fetch_request request = {
		.method = "POST",
		.url = q->url,
		.headers = headers,
		.header_count = ARRAY_LEN(headers),
		.body = buf_bytes(&q->text),
		.timeout = ASK_TIMEOUT,
		.connect_timeout = ASK_TIMEOUT,
		.body_max = ANSWER_MAX_BYTES,
	};
	struct fetch_response response;

	q->result = fetch(&request, &response, &q->err);
	if (q->result < 0)
		return;
	if (response.status != 200)
		q->result = err_set(&q->err, E_PROTOCOL, "status %d", response.status);
	else if (buf_append(&q->answer, buf_bytes(&response.body)) < 0)
		q->result = err_set(&q->err, E_LIMIT, "the answer is too large");
	fetch_response_done(&response);
}

static void question_free(struct question *q)
{
	mem_free(q->url);
	buf_done(&q->text);
	buf_done(&q->answer);
	mem_free(q);
}

/* --- What came back ---------------------------------------------------------------------------- */

static void on_failure(struct stapled *c, const struct err *why, usec now)
{
	metric_add(&metric_ocsp_failures, 1);
	c->wait = c->wait < RETRY_MIN ? RETRY_MIN : c->wait * 2;
	if (c->wait > RETRY_MAX)
		c->wait = RETRY_MAX;
	/* Whoever must have an answer asks as long as it is without. */
	if (c->is_must && c->fresh_until <= now)
		c->wait = RETRY_MIN;
	c->next_try_at = now + c->wait;
	(void)snprintf(c->error, sizeof(c->error), "%.*s", (int)sizeof(c->error) - 1, why->text);
	log_at_(c->is_must || why->code == E_DENIED ? LOG_ERROR : LOG_WARN, COMPONENT,
		"no OCSP answer to staple", LOG_STR("certificate", c->id), LOG_STR("url", c->url),
		LOG_BOOL("mustStaple", c->is_must), LOG_STR("error", why->text));
}

/* A revoked one must not be vouched for by what was said before. */
static void forget_answer(struct stapling *s, struct stapled *c)
{
	static uint8_t nothing;
	const struct store_ocsp none = { .certificate = c->id, .response = &nothing };

	if (c->fresh_until == 0)
		return;
	c->fresh_until = 0;
	if (store_ocsp_put(s->store, &none, NULL) == 0)
		s->changed(s->ctx);
}

static void on_answer(struct stapling *s, struct stapled *c, struct question *q)
{
	usec now = clock_wall_now();
	struct tls_ocsp_answer answer = { 0 };
	struct bytes der = buf_bytes(&q->answer);
	struct err err = q->err;
	int r = q->result;

	if (r == 0)
		r = tls_ocsp_check(c->certificate, der, now, &answer, &err);
	if (r < 0) {
		on_failure(c, &err, now);
		if (r == E_DENIED)
			forget_answer(s, c);
		return;
	}
	usec next = answer.since + (answer.until - answer.since) / 2;
	if (next < now + REFRESH_MIN)
		next = now + REFRESH_MIN;
	const struct store_ocsp kept = {
		.certificate = c->id,
		.response = (uint8_t *)(uintptr_t)der.ptr,
		.response_len = der.len,
		.fresh_until = answer.until,
		.next_try_at = next,
	};
	if (store_ocsp_put(s->store, &kept, &err) < 0) {
		on_failure(c, &err, now);
		return;
	}
	metric_add(&metric_ocsp_answers, 1);
	c->fresh_until = answer.until;
	c->next_try_at = next;
	c->wait = 0;
	c->error[0] = 0;
	log_info(COMPONENT, "OCSP answer: the certificate is good", LOG_STR("certificate", c->id),
		 LOG_STR("url", c->url), LOG_INT("seconds", (answer.until - now) / USEC_PER_SEC));
	s->changed(s->ctx);
}

static void on_done(void *arg)
{
	struct question *q = arg;
	struct stapling *s = q->owner;

	if (s) {
		struct stapled *c = map_find(s->by_id, bytes_str(q->id));
		s->question = NULL;
		if (c && !s->is_paused)
			on_answer(s, c, q);
		plan(s);
	}
	question_free(q);
}

/* --- When ------------------------------------------------------------------------------------- */

static struct stapled *first_due(struct stapling *s)
{
	struct stapled *first = NULL;

	LIST_FOR_EACH(node, &s->list) {
		struct stapled *c = LIST_ENTRY(node, struct stapled, node);
		if (c->url && (!first || c->next_try_at < first->next_try_at))
			first = c;
	}
	return first;
}

static void ask(struct stapling *s, struct stapled *c)
{
	struct question *q = mem_alloc(sizeof(*q));
	struct err err = { 0 };

	buf_init(&q->text, QUESTION_MAX_BYTES);
	buf_init(&q->answer, ANSWER_MAX_BYTES);
	if (tls_ocsp_question(c->certificate, &q->text, &err) < 0) {
		on_failure(c, &err, clock_wall_now());
		question_free(q);
		plan(s);
		return;
	}
	memcpy(q->id, c->id, sizeof(q->id));
	q->url = mem_strdup(c->url);
	q->owner = s;
	s->question = q;
	loop_work(s->loop, on_work, on_done, q);
}

static void on_timer(struct timer *t)
{
	struct stapling *s = CONTAINER_OF(t, struct stapling, timer);
	struct stapled *c = s->is_paused || s->question ? NULL : first_due(s);

	if (!c)
		return;
	if (c->next_try_at <= clock_wall_now())
		ask(s, c);
	else
		plan(s);
}

static void plan(struct stapling *s)
{
	const struct stapled *c = s->is_paused || s->question ? NULL : first_due(s);

	if (!c) {
		timer_stop(&s->timer);
		return;
	}
	usec wait = c->next_try_at - clock_wall_now();
	/* The wall clock may jump. */
	if (wait > RETRY_MAX)
		wait = RETRY_MAX;
	timer_set(&s->timer, wait > 0 ? wait / USEC_PER_MSEC + 1 : 0);
}

/* --- Which ------------------------------------------------------------------------------------- */

static void stapled_free(struct stapling *s, struct stapled *c)
{
	(void)map_take(s->by_id, bytes_str(c->id));
	list_remove(&c->node);
	tls_certificate_unref(c->certificate);
	mem_free(c->url);
	mem_free(c);
}

static void add(struct stapling *s, struct tls_certificate *certificate, const char *id,
		const struct map *kept)
{
	struct stapled *c = mem_alloc(sizeof(*c));
	const struct store_ocsp *answer = map_find(kept, bytes_str(id));
	memcpy(c->id, id, sizeof(c->id));
	c->certificate = tls_certificate_ref(certificate);
	c->url = tls_ocsp_url(certificate);
	c->is_must = tls_ocsp_is_must(certificate);
	c->is_wanted = true;
	if (!c->url && c->is_must)
		log_warn(COMPONENT, "a certificate must be stapled and does not say by whom",
			 LOG_STR("certificate", id));
	if (answer && answer->response_len) {
		c->fresh_until = answer->fresh_until;
		c->next_try_at = answer->next_try_at;
	}
	list_append(&s->list, &c->node);
	map_put(s->by_id, bytes_str(c->id), c);
}

static void take_all(struct stapling *s, const struct snapshot *snapshot, const struct map *kept)
{
	struct tls_certificate *certificate;
	char id[TLS_OCSP_ID_SIZE];

	for (size_t i = 0; (certificate = snapshot_each_certificate(snapshot, i)); i++) {
		tls_ocsp_id(certificate, id);
		struct stapled *c = map_find(s->by_id, bytes_str(id));
		if (c)
			c->is_wanted = true;
		else
			add(s, certificate, id, kept);
	}
}

void stapling_update(struct stapling *s, const struct snapshot *snapshot)
{
	struct store_ocsp *list = NULL;
	struct map *kept = map_new();
	size_t count = 0;

	(void)store_ocsp_list(s->store, &list, &count, NULL);
	for (size_t i = 0; i < count; i++)
		map_put(kept, bytes_str(list[i].certificate), &list[i]);
	LIST_FOR_EACH(node, &s->list)
		LIST_ENTRY(node, struct stapled, node)->is_wanted = false;
	take_all(s, snapshot, kept);
	struct list *next;
	for (struct list *node = s->list.next; node != &s->list; node = next) {
		struct stapled *c = LIST_ENTRY(node, struct stapled, node);
		next = node->next;
		if (!c->is_wanted)
			stapled_free(s, c);
	}
	map_free(kept);
	for (size_t i = 0; i < count; i++)
		store_ocsp_done(&list[i]);
	mem_free(list);
	plan(s);
}

struct json_t *stapling_status(void *ctx)
{
	const struct stapling *s = ctx;
	json_t *list = json_array();
	char fresh[40];

	LIST_FOR_EACH(node, &s->list) {
		const struct stapled *c = LIST_ENTRY(node, struct stapled, node);
		json_t *until =
			c->fresh_until > clock_wall_now()
				? json_string(clock_rfc3339(c->fresh_until, fresh, sizeof(fresh)))
				: json_null();
		(void)json_array_append_new(
			list, json_pack("{s:s#, s:s, s:o, s:b, s:s}", "certificate", c->id, 16,
					"responder", c->url, "fresh_until_at", until, "must_staple",
					c->is_must, "error", c->error));
	}
	return list;
}

/* --- Life -------------------------------------------------------------------------------------- */

void stapling_pause(struct stapling *s, bool is_paused)
{
	s->is_paused = is_paused;
	plan(s);
}

struct stapling *stapling_new(struct loop *loop, struct store *store, void (*changed)(void *ctx),
			      void *ctx)
{
	struct stapling *s = mem_alloc(sizeof(*s));

	s->loop = loop;
	s->store = store;
	s->changed = changed;
	s->ctx = ctx;
	list_init(&s->list);
	s->by_id = map_new();
	timer_init(&s->timer, loop, on_timer);
	return s;
}

struct stapling *stapling_free(struct stapling *s)
{
	if (!s)
		return NULL;
	timer_stop(&s->timer);
	if (s->question)
		s->question->owner = NULL;
	while (!list_is_empty(&s->list))
		stapled_free(s, LIST_ENTRY(s->list.next, struct stapled, node));
	map_free(s->by_id);
	return mem_free(s);
}
