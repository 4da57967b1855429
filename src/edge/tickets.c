#include "edge/tickets.h"

#include <string.h>

#include "base/buf.h"
#include "base/encode.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/secret.h"
#include "io/loop.h"
#include "store/store.h"
#include "tls/tls.h"

#define COMPONENT "edge"
#define PLACE "tls.tickets"
/* The store was busy, or its disk full. */
#define RETRY_MS 10000
#define LIFETIME (TLS_TICKET_LIFETIME_SECONDS * USEC_PER_SEC)

struct tickets {
	struct loop *loop;
	struct store *store;
	usec every;
	struct timer timer;
	usec made_at[TLS_TICKET_KEYS_MAX]; /* wall; the newest first, as the next */
	uint8_t keys[TLS_TICKET_KEYS_MAX][TLS_TICKET_KEY_BYTES];
	size_t count;
	bool is_unsaved;
};

/* --- In the store: a line each, "MICROSECONDS HEX" --------------------------------------------- */

static bool parse_line(struct bytes line, usec *ret_made_at, uint8_t key[TLS_TICKET_KEY_BYTES])
{
	size_t space = bytes_index(line, ' ');
	uint64_t at;

	if (space + 1 + 2 * TLS_TICKET_KEY_BYTES != line.len ||
	    !bytes_to_u64(bytes_first(line, space), &at) || at > INT64_MAX ||
	    !hex_decode(bytes_from(line, space + 1), key))
		return false;
	*ret_made_at = (usec)at;
	return true;
}

static int load(struct tickets *t, struct err *err)
{
	struct err why = { 0 };
	char *text = store_setting_get(t->store, PLACE, &why);
	struct bytes rest = bytes_str(text), line = BYTES_NONE;

	if (!text && why.code != E_NOT_FOUND) {
		*err = why;
		return why.code;
	}
	if (!text)
		return 0;
	t->count = 0;
	while (t->count < TLS_TICKET_KEYS_MAX && bytes_split(&rest, '\n', &line))
		if (parse_line(line, &t->made_at[t->count], t->keys[t->count]))
			t->count++;
	secret_wipe(text, strlen(text));
	mem_free(text);
	return 0;
}

static int save(struct tickets *t, struct err *err)
{
	struct buf text;
	int rc = 0;

	buf_init(&text, TLS_TICKET_KEYS_MAX * (2 * TLS_TICKET_KEY_BYTES + 32));
	for (size_t i = 0; i < t->count; i++) {
		char *hex = hex_text(bytes_of(t->keys[i], TLS_TICKET_KEY_BYTES));
		if (buf_printf(&text, "%lld %s\n", (long long)t->made_at[i], hex) < 0)
			rc = E_LIMIT;
		secret_wipe(hex, strlen(hex));
		mem_free(hex);
	}
	if (rc == 0 && buf_append(&text, BYTES_LIT("\0")) < 0)
		rc = E_LIMIT;
	BUG_IF(rc < 0);
	rc = store_setting_put(t->store, PLACE, (const char *)text.ptr, true, err);
	secret_wipe(text.ptr, text.cap);
	buf_done(&text);
	return rc;
}

/* --- Changing them ---------------------------------------------------------------------------- */

static void drop_old(struct tickets *t, usec now)
{
	/* What the one after it replaced that long ago nobody can resume with. */
	while (t->count > 1 && now - t->made_at[t->count - 2] > LIFETIME)
		secret_wipe(t->keys[--t->count], TLS_TICKET_KEY_BYTES);
}

static void make_one(struct tickets *t, usec now)
{
	if (t->count == TLS_TICKET_KEYS_MAX)
		t->count--;
	memmove(t->keys[1], t->keys[0], t->count * sizeof(t->keys[0]));
	memmove(&t->made_at[1], &t->made_at[0], t->count * sizeof(t->made_at[0]));
	random_bytes(t->keys[0], sizeof(t->keys[0]));
	t->made_at[0] = now;
	t->count++;
}

static int64_t wait_ms(const struct tickets *t, usec now)
{
	usec wait = t->made_at[0] + t->every - now;

	/* A clock that was set back must not stop the changes. */
	if (wait > t->every)
		wait = t->every;
	return wait > 0 ? wait / USEC_PER_MSEC + 1 : 0;
}

static void update(struct tickets *t)
{
	usec now = clock_wall_now();
	struct err err = { 0 };
	int64_t next = 0;

	if (t->count == 0 || wait_ms(t, now) == 0) {
		make_one(t, now);
		drop_old(t, now);
		t->is_unsaved = true;
	}
	if (t->is_unsaved && save(t, &err) < 0) {
		log_warn(COMPONENT, "new keys of session tickets could not be kept",
			 LOG_STR("error", err.text));
		next = RETRY_MS;
	} else {
		t->is_unsaved = false;
	}
	tls_tickets_set_keys(t->keys, t->count);
	timer_set(&t->timer, next ? next : wait_ms(t, now));
}

static void on_timer(struct timer *timer)
{
	update(CONTAINER_OF(timer, struct tickets, timer));
}

struct tickets *tickets_new(struct loop *loop, struct store *store, usec every)
{
	struct tickets *t = mem_alloc(sizeof(*t));
	struct err err = { 0 };

	t->loop = loop;
	t->store = store;
	t->every = every;
	timer_init(&t->timer, loop, on_timer);
	if (every == 0) {
		tls_tickets_set_keys(NULL, 0);
		return t;
	}
	if (load(t, &err) < 0)
		log_warn(COMPONENT, "keys of session tickets cannot be read: sessions begin anew",
			 LOG_STR("error", err.text));
	update(t);
	return t;
}

struct tickets *tickets_free(struct tickets *t)
{
	if (!t)
		return NULL;
	timer_stop(&t->timer);
	secret_wipe(t->keys, sizeof(t->keys));
	return mem_free(t);
}

void tickets_follow(struct tickets *t)
{
	struct err err = { 0 };

	timer_stop(&t->timer);
	if (t->every == 0)
		return;
	if (load(t, &err) < 0)
		log_debug(COMPONENT, "cannot follow the successor's session tickets",
			  LOG_STR("error", err.text));
	tls_tickets_set_keys(t->keys, t->count);
}
