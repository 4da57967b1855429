#include "edge/access/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/encode.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/secret.h"
#include "edge/boxed_signer.h"

/* Those in use before: one every six weeks, kept for a month; more after rotations by hand. */
#define PAST_MAX 6
/* Of the key process: what its keys are for. */
#define PLACE "tokens of Access"

struct past {
	json_t *public; /* owned; with kid */
	usec until;     /* wall time */
};

struct access_keys {
	struct signer *signer;
	char *id; /* owned; the key's thumbprint */
	usec since;
	/* The one that signs after it: published already. NULL: there is none yet. */
	struct signer *next;
	usec next_published, next_at;
	struct past past[PAST_MAX]; /* the newest first */
	size_t past_count;
};

struct access_keys *access_keys_free(struct access_keys *k)
{
	if (!k)
		return NULL;
	signer_free(k->signer);
	signer_free(k->next);
	mem_free(k->id);
	for (size_t i = 0; i < k->past_count; i++)
		json_decref(k->past[i].public);
	return mem_free(k);
}

struct access_keys *access_keys_new(usec now, struct err *err)
{
	struct signer *signer = boxed_signer_make(PRIVATE_KEY_RSA, PLACE, err);
	struct access_keys *k;

	if (!signer)
		return NULL;
	k = mem_alloc(sizeof(*k));
	k->signer = signer;
	k->id = signer_thumbprint(signer);
	k->since = now;
	return k;
}

/* As RFC 7517 §4 wants it for checking signatures. */
static json_t *published(const struct signer *signer)
{
	json_t *key = signer_public(signer);
	char *id = signer_thumbprint(signer);

	json_object_set_new(key, "kid", json_string(id));
	mem_free(id);
	json_object_set_new(key, "use", json_string("sig"));
	json_object_set_new(key, "alg", json_string("RS256"));
	return key;
}

static char *printed(json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT), *copy = mem_strdup(text);

	secret_wipe(text, strlen(text));
	free(text); /* allowed: jansson took it from malloc */
	json_decref(object);
	return copy;
}

char *access_keys_public(const struct access_keys *k)
{
	json_t *list = json_array();

	json_array_append_new(list, published(k->signer));
	if (k->next)
		json_array_append_new(list, published(k->next));
	for (size_t i = 0; i < k->past_count; i++)
		json_array_append(list, k->past[i].public);
	return printed(json_pack("{s:o}", "keys", list));
}

char *access_keys_text(const struct access_keys *k)
{
	json_t *past = json_array(), *all;
	char *key = signer_text(k->signer), *text;

	for (size_t i = 0; i < k->past_count; i++)
		json_array_append_new(past, json_pack("{s:O, s:I}", "key", k->past[i].public,
						      "until", (json_int_t)k->past[i].until));
	all = json_pack("{s:s, s:I, s:o}", "current", key, "since", (json_int_t)k->since, "past",
			past);
	secret_wipe(key, strlen(key));
	mem_free(key);
	if (k->next) {
		key = signer_text(k->next);
		json_object_set_new(all, "next",
				    json_pack("{s:s, s:I, s:I}", "key", key, "published",
					      (json_int_t)k->next_published, "at",
					      (json_int_t)k->next_at));
		secret_wipe(key, strlen(key));
		mem_free(key);
	}
	text = printed(all);
	return text;
}

struct access_keys *access_keys_parse(const char *text, struct err *err)
{
	json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL), *past, *one;
	json_t *next = json_object_get(all, "next");
	const char *current = json_string_value(json_object_get(all, "current")),
		   *coming = json_string_value(json_object_get(next, "key"));
	struct signer *signer = NULL, *following = NULL;
	struct access_keys *k = NULL;
	size_t i;

	if (!current)
		err_set(err, E_PARSE, "the keys of Access are damaged");
	else
		signer = boxed_signer_parse(current, err);
	if (signer && next) {
		following = coming ? boxed_signer_parse(coming, err) : NULL;
		if (!coming)
			err_set(err, E_PARSE, "the keys of Access are damaged");
		if (!following)
			signer = signer_free(signer);
	}
	if (signer) {
		k = mem_alloc(sizeof(*k));
		k->signer = signer;
		k->id = signer_thumbprint(signer);
		k->since = json_integer_value(json_object_get(all, "since"));
		k->next = following;
		k->next_published = json_integer_value(json_object_get(next, "published"));
		k->next_at = json_integer_value(json_object_get(next, "at"));
		past = json_object_get(all, "past");
		json_array_foreach(past, i, one) if (k->past_count < PAST_MAX)
			k->past[k->past_count++] = (struct past){
			.public = json_incref(json_object_get(one, "key")),
			.until = json_integer_value(json_object_get(one, "until")),
		};
	}
	json_decref(all);
	return k;
}

/* One member becomes the key process's. 1 when it was changed. */
static int box_member(json_t *object, const char *name, struct err *err)
{
	const char *text = json_string_value(json_object_get(object, name));
	char *boxed = NULL;

	if (!text || private_key_is_boxed(text))
		return 0;
	int r = boxed_signer_move(text, PLACE, &boxed, err);
	if (r < 0)
		return r;
	json_object_set_new(object, name, json_string(boxed));
	mem_free(boxed);
	return 1;
}

int access_keys_box(const char *text, char **ret_text, struct err *err)
{
	json_t *all = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	int current = box_member(all, "current", err);
	int next = current < 0 ? current : box_member(json_object_get(all, "next"), "key", err);

	if (next < 0 || current + next == 0) {
		json_decref(all);
		return next;
	}
	*ret_text = printed(all);
	return 1;
}

usec access_keys_due(const struct access_keys *k)
{
	usec due = k->next ? k->next_at : k->since + ACCESS_KEY_LIFE - ACCESS_KEY_ANNOUNCE;

	for (size_t i = 0; i < k->past_count; i++)
		if (k->past[i].until < due)
			due = k->past[i].until;
	return due;
}

usec access_keys_since(const struct access_keys *k)
{
	return k->since;
}

usec access_keys_change(const struct access_keys *k)
{
	return k->next ? k->next_at : k->since + ACCESS_KEY_LIFE;
}

usec access_keys_next(const struct access_keys *k)
{
	return k->next ? k->next_at : 0;
}

static bool drop_old(struct access_keys *k, usec now)
{
	size_t kept = 0, before = k->past_count;

	for (size_t i = 0; i < before; i++) {
		if (k->past[i].until > now)
			k->past[kept++] = k->past[i];
		else
			json_decref(k->past[i].public);
	}
	k->past_count = kept;
	return kept != before;
}

/* `signer`, which is taken, signs from now on; the one before stays published. */
static void sign_with(struct access_keys *k, struct signer *signer, usec now)
{
	/* The oldest makes room: only rotations by hand come to this. */
	if (k->past_count == PAST_MAX)
		json_decref(k->past[--k->past_count].public);
	memmove(&k->past[1], &k->past[0], k->past_count * sizeof(k->past[0]));
	k->past[0] = (struct past){ published(k->signer), now + ACCESS_KEY_OVERLAP };
	k->past_count++;
	signer_free(k->signer);
	mem_free(k->id);
	k->signer = signer;
	k->id = signer_thumbprint(signer);
	k->since = now;
}

/* Publishes the key that signs from `at` on. */
static int announce(struct access_keys *k, usec now, usec at, struct err *err)
{
	struct signer *signer = boxed_signer_make(PRIVATE_KEY_RSA, PLACE, err);

	if (!signer)
		return err->code;
	k->next = signer;
	k->next_published = now;
	k->next_at = at > now + ACCESS_KEY_LEAD ? at : now + ACCESS_KEY_LEAD;
	return 1;
}

static int replace(struct access_keys *k, usec now, bool is_withdrawn, struct err *err)
{
	struct signer *signer = boxed_signer_make(PRIVATE_KEY_RSA, PLACE, err);

	if (!signer)
		return err->code;
	/* Whoever has read the current key has read the next one, too. */
	k->next = signer_free(k->next);
	sign_with(k, signer, now);
	while (is_withdrawn && k->past_count)
		json_decref(k->past[--k->past_count].public);
	return 1;
}

/* What was planned by a clock that was far ahead, and has been set back, is not put off for years. */
static bool plan_anew(struct access_keys *k, usec now)
{
	bool is_since = k->since > now + ACCESS_KEY_LEAD;
	bool is_next = k->next && k->next_at > now + ACCESS_KEY_LIFE;

	if (is_since)
		k->since = now;
	if (is_next)
		k->next_at = now + ACCESS_KEY_ANNOUNCE;
	return is_since || is_next;
}

int access_keys_rotate(struct access_keys *k, usec now, enum access_rotation how, struct err *err)
{
	bool is_changed = plan_anew(k, now);
	int r = 0;

	if (how == ACCESS_ROTATE_NOW || how == ACCESS_ROTATE_WITHDRAW)
		r = replace(k, now, how == ACCESS_ROTATE_WITHDRAW, err);
	else if (!k->next && (how == ACCESS_ROTATE_SOON ||
			      now >= k->since + ACCESS_KEY_LIFE - ACCESS_KEY_ANNOUNCE))
		r = announce(k, now, how == ACCESS_ROTATE_SOON ? now : k->since + ACCESS_KEY_LIFE,
			     err);
	if (r < 0)
		return r;
	is_changed = is_changed || r > 0;
	if (how == ACCESS_ROTATE_SOON && k->next_at > k->next_published + ACCESS_KEY_LEAD) {
		k->next_at = k->next_published + ACCESS_KEY_LEAD;
		is_changed = true;
	}
	if (k->next && now >= k->next_at) {
		sign_with(k, TAKE(k->next), now);
		is_changed = true;
	}
	return drop_old(k, now) || is_changed;
}

char *access_keys_sign(const struct access_keys *k, json_t *claims)
{
	json_t *header = json_pack("{s:s, s:s}", "kid", k->id, "typ", "JWT");
	char *payload = json_dumps(claims, JSON_COMPACT);
	char *token = signer_token(k->signer, header, bytes_str(payload));

	free(payload); /* allowed: jansson took it from malloc */
	json_decref(header);
	json_decref(claims);
	return token;
}
