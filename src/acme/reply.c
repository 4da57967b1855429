#include "acme/reply.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

/* Seconds, or a date (RFC 9110 §10.2.3). */
static usec retry_after_of(struct bytes value)
{
	struct tm tm = { 0 };
	char text[64];
	uint64_t seconds;
	usec wait;

	if (bytes_to_u64(value, &seconds)) {
		wait = seconds > ACME_RETRY_AFTER_MAX / USEC_PER_SEC ? ACME_RETRY_AFTER_MAX
								     : (usec)seconds * USEC_PER_SEC;
	} else {
		(void)snprintf(text, sizeof(text), BYTES_FMT, BYTES_ARG(bytes_first(value, 63)));
		if (value.len == 0 || !strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm))
			return 0;
		wait = (usec)timegm(&tm) * USEC_PER_SEC - clock_wall_now();
	}
	return wait < 0 ? 0 : wait > ACME_RETRY_AFTER_MAX ? ACME_RETRY_AFTER_MAX : wait;
}

void acme_reply_read(struct acme_reply *r, int status, struct bytes body, struct bytes location,
		     struct bytes retry_after)
{
	*r = (struct acme_reply){
		.status = status,
		.text = mem_strndup(body),
		.location = location.len ? mem_strndup(location) : NULL,
		.retry_after = retry_after_of(retry_after),
	};
	/* jansson bounds the depth itself, and without JSON_ALLOW_NUL no text hides what follows a NUL. */
	r->json = json_loads(r->text, JSON_REJECT_DUPLICATES, NULL);
}

void acme_reply_done(struct acme_reply *r)
{
	json_decref(r->json);
	mem_free(r->text);
	mem_free(r->location);
	*r = (struct acme_reply){ 0 };
}

const char *acme_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

void acme_shown(const char *text, char dst[ACME_SHOWN_BYTES])
{
	size_t len = 0;

	for (; text && *text && len < ACME_SHOWN_BYTES - 1; text++)
		dst[len++] = *text >= ' ' && *text < 0x7f ? *text : ' ';
	dst[len] = 0;
}

bool acme_reply_is(const struct acme_reply *r, const char *type)
{
	const char *text = acme_text(r->json, "type");

	return text && strstr(text, type);
}

int acme_reply_error(const struct acme_reply *r, const char *what, struct err *err)
{
	const char *type = acme_text(r->json, "type"), *detail = acme_text(r->json, "detail");
	char type_text[ACME_SHOWN_BYTES], detail_text[ACME_SHOWN_BYTES];
	const json_t *first = json_array_get(json_object_get(r->json, "subproblems"), 0);

	if (acme_text(first, "detail"))
		detail = acme_text(first, "detail");
	acme_shown(type, type_text);
	acme_shown(detail ? detail : r->text, detail_text);
	int code = acme_reply_is(r, ":rateLimited") ? E_LIMIT : r->status >= 500 ? E_IO : E_DENIED;
	return err_set(err, code, "%s: the authority says: %s (%s, status %d)", what, detail_text,
		       *type_text ? type_text : "no type", r->status);
}

/* The reason stands with the challenge that failed. */
const json_t *acme_failure_of(const json_t *object)
{
	const json_t *list = json_object_get(object, "challenges"), *problem = NULL;

	for (size_t i = 0; !problem && i < json_array_size(list); i++)
		problem = json_object_get(json_array_get(list, i), "error");
	return problem ? problem : json_object_get(object, "error");
}

/* It becomes part of a path and of a page: letters of base64url only (RFC 8555 §8.1). */
static bool is_token(const char *text)
{
	return text && *text && strlen(text) < 200 &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") ==
		       strlen(text);
}

const json_t *acme_challenge_of(const json_t *authorization, enum acme_method m)
{
	const json_t *list = json_object_get(authorization, "challenges");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *c = json_array_get(list, i);
		const char *type = acme_text(c, "type");
		if (type && strcmp(type, acme_method_name(m)) == 0 &&
		    is_token(acme_text(c, "token")) && acme_text(c, "url"))
			return c;
	}
	return NULL;
}

static bool time_of(const char *text, usec *ret)
{
	struct tm tm = { 0 };

	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return false;
	*ret = (usec)timegm(&tm) * USEC_PER_SEC;
	return true;
}

bool acme_window_of(const json_t *info, usec *start, usec *end)
{
	const json_t *window = json_object_get(info, "suggestedWindow");

	return time_of(acme_text(window, "start"), start) &&
	       time_of(acme_text(window, "end"), end) && *end >= *start;
}
