#include "connector/serve/issuer_keys.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/fetch.h"

#define COMPONENT "connector"

/* An issuer announces a new key days before it signs with it: an hour notices in time. */
#define KEYS_FRESH (3600 * USEC_PER_SEC)
/* So long an issuer may be out of reach; a key that was withdrawn must not open doors for ever. */
#define KEYS_GOOD (24 * KEYS_FRESH)
/* Between two fetches of keys that are only old: an issuer that is down is asked, and the log told, this often. */
#define FETCH_AGAIN_OLD (60 * USEC_PER_SEC)
/* Between two fetches that somebody waits for: there are no keys, or a token names one that is not among them. A key
 * that signs at once (a rotation by hand) is noticed so soon, and tokens with invented key ids do not make us a
 * nuisance to the issuer. */
#define FETCH_AGAIN (5 * USEC_PER_SEC)

struct access_team {
	struct issuer_keys *owner; /* borrowed */
	char *issuer, *url;        /* owned */
	struct key_set *keys;      /* owned; NULL: none */
	struct list waiting;       /* struct access_wait */
	struct list queued;        /* in issuer_keys.queue, until a thread may be had */
	struct timer again;        /* when those who wait may have a fetch */
	bool is_fetching, was_tried;
	usec fetched_at, tried_at;
	struct err err;
};

struct issuer_keys {
	struct loop *loop;
	struct map *teams; /* owned, and its values; by issuer */
	struct list queue;
	unsigned running;
	size_t waiting;
	bool is_gone;
};

/* One fetch; what the thread writes. */
struct job {
	struct access_team *team; /* its url is read only */
	struct key_set *keys;
	struct err err;
};

/* --- Life ------------------------------------------------------------------------------------- */

struct issuer_keys *issuer_keys_new(struct loop *loop)
{
	struct issuer_keys *k = mem_alloc(sizeof(*k));

	k->loop = loop;
	k->teams = map_new();
	list_init(&k->queue);
	return k;
}

static void destroy(struct issuer_keys *k)
{
	size_t cursor = 0;
	struct bytes issuer;
	void *value;

	while (map_next(k->teams, &cursor, &issuer, &value)) {
		struct access_team *team = value;
		mem_free(team->issuer);
		mem_free(team->url);
		key_set_free(team->keys);
		mem_free(team);
	}
	map_free(k->teams);
	mem_free(k);
}

struct issuer_keys *issuer_keys_free(struct issuer_keys *k)
{
	size_t cursor = 0;
	struct bytes issuer;
	void *value;

	if (!k)
		return NULL;
	while (map_next(k->teams, &cursor, &issuer, &value)) {
		struct access_team *team = value;
		list_remove(&team->queued);
		timer_stop(&team->again);
		LIST_FOR_EACH(node, &team->waiting)
			access_wait_cancel(LIST_ENTRY(node, struct access_wait, node));
	}
	k->is_gone = true;
	if (k->running == 0)
		destroy(k);
	return NULL;
}

static void on_again(struct timer *t);

struct access_team *access_team_get(struct issuer_keys *k, const char *issuer)
{
	struct access_team *team = map_find(k->teams, bytes_str(issuer));
	struct bytes base = bytes_str(issuer);

	if (team)
		return team;
	team = mem_alloc(sizeof(*team));
	while (bytes_ends_with(base, BYTES_LIT("/")))
		base.len--;
	team->owner = k;
	team->issuer = mem_strdup(issuer);
	team->url = mem_printf(BYTES_FMT "/cdn-cgi/access/certs", BYTES_ARG(base));
	list_init(&team->waiting);
	list_init(&team->queued);
	timer_init(&team->again, k->loop, on_again);
	map_put(k->teams, bytes_str(issuer), team);
	return team;
}

/* --- Fetching --------------------------------------------------------------------------------- */

static void start_next(struct issuer_keys *k);

static void fetch_keys(void *arg)
{
	struct job *job = arg;
	const struct fetch_request request = {
		.url = job->team->url,
		.timeout = LIMIT_ACCESS_WAIT_MS * USEC_PER_MSEC,
		.body_max = LIMIT_KEY_SET_BYTES,
		.use_proxy = true,
	};
	struct fetch_response response;

	if (fetch(&request, &response, &job->err) < 0)
		return;
	if (response.status != 200)
		err_set(&job->err, E_PROTOCOL, "%s answered with status %d", request.url,
			response.status);
	else if (!(job->keys = key_set_parse(buf_bytes(&response.body), &job->err)))
		err_wrap(&job->err, "%s gave no key set", request.url);
	fetch_response_done(&response);
}

static void take_keys(struct access_team *team, struct job *job)
{
	team->err = job->err;
	if (!job->keys) {
		log_error(COMPONENT, "Unable to fetch the keys of the Access team",
			  LOG_STR("issuer", team->issuer), LOG_STR("error", job->err.text));
		return;
	}
	key_set_free(team->keys);
	team->keys = TAKE(job->keys);
	team->err = (struct err){ 0 };
	team->fetched_at = loop_now(team->owner->loop);
	log_debug(COMPONENT, "Fetched the keys of the Access team", LOG_STR("issuer", team->issuer),
		  LOG_INT("keys", key_set_count(team->keys)));
}

static void tell(struct access_team *team)
{
	struct list told, *node;

	/* Whoever is told may wait again, for the next one. */
	list_init(&told);
	list_take_all(&told, &team->waiting);
	while ((node = list_pop(&told))) {
		struct access_wait *w = LIST_ENTRY(node, struct access_wait, node);
		access_wait_cancel(w);
		w->done(w);
	}
}

static void on_fetched(void *arg)
{
	struct job *job = arg;
	struct access_team *team = job->team;
	struct issuer_keys *k = team->owner;

	k->running--;
	team->is_fetching = false;
	if (k->is_gone) {
		key_set_free(job->keys);
		if (k->running == 0)
			destroy(k);
	} else {
		take_keys(team, job);
		tell(team);
		start_next(k);
	}
	mem_free(job);
}

static void start_next(struct issuer_keys *k)
{
	struct list *node;

	while (k->running < LIMIT_ACCESS_FETCHES && (node = list_pop(&k->queue))) {
		struct job *job = mem_alloc(sizeof(*job));

		job->team = LIST_ENTRY(node, struct access_team, queued);
		k->running++;
		loop_work(k->loop, fetch_keys, on_fetched, job);
	}
}

static void start_fetch(struct access_team *team)
{
	if (team->is_fetching)
		return;
	timer_stop(&team->again);
	team->is_fetching = team->was_tried = true;
	team->tried_at = loop_now(team->owner->loop);
	list_append(&team->owner->queue, &team->queued);
	start_next(team->owner);
}

/* How long until the next fetch, `gap` being what lies between two; 0: now. */
static usec fetch_wait(const struct access_team *team, usec gap)
{
	usec age = loop_now(team->owner->loop) - team->tried_at;

	return team->was_tried && age < gap ? gap - age : 0;
}

static void on_again(struct timer *t)
{
	struct access_team *team = CONTAINER_OF(t, struct access_team, again);

	/* Those who waited may have left. */
	if (!list_is_empty(&team->waiting))
		start_fetch(team);
}

/* --- What the check asks ---------------------------------------------------------------------- */

const struct key_set *access_team_keys(struct access_team *team)
{
	usec age = loop_now(team->owner->loop) - team->fetched_at;

	if (team->keys && age > KEYS_GOOD)
		team->keys = key_set_free(team->keys);
	if (team->keys && age > KEYS_FRESH && fetch_wait(team, FETCH_AGAIN_OLD) == 0)
		start_fetch(team);
	return team->keys;
}

const struct err *access_team_error(const struct access_team *team)
{
	return &team->err;
}

bool access_team_wait(struct access_team *team, struct access_wait *w)
{
	struct issuer_keys *k = team->owner;
	usec wait = team->is_fetching ? 0 : fetch_wait(team, FETCH_AGAIN);

	/* An issuer that just could not be reached: an answer at once is better than a late one. And those with
	 * key ids that nobody knows do not get all the room there is. */
	if (wait > 0 && (!team->keys || team->err.code || k->waiting >= LIMIT_ACCESS_WAITING / 2))
		return false;
	if (k->waiting >= LIMIT_ACCESS_WAITING)
		return false;
	k->waiting++;
	w->team = team;
	w->is_late = team->is_fetching;
	list_append(&team->waiting, &w->node);
	if (wait == 0)
		start_fetch(team);
	else if (!timer_is_set(&team->again))
		timer_set(&team->again, wait / USEC_PER_MSEC + 1);
	return true;
}

void access_wait_cancel(struct access_wait *w)
{
	if (!w->team)
		return;
	w->team->owner->waiting--;
	w->team = NULL;
	list_remove(&w->node);
}
