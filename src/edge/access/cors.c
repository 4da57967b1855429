#include "edge/access/cors.h"

#include <string.h>

/* Browsers keep it for two hours at most; a day is what the setting's longest is elsewhere. */
#define MAX_AGE 86400

int access_cors_check(const json_t *cors, struct err *err)
{
	static const char *const lists[] = { "allowed_origins", "allowed_methods",
					     "allowed_headers" };
	static const char *const flags[] = { "allow_all_origins", "allow_all_methods",
					     "allow_all_headers", "allow_credentials" };
	const json_t *one, *age = json_object_get(cors, "max_age");
	size_t i;

	if (!json_is_object(cors))
		return err_set(err, E_PARSE, "\"cors_headers\" must be an object");
	for (size_t k = 0; k < ARRAY_LEN(lists); k++) {
		const json_t *list = json_object_get(cors, lists[k]);

		if (list && !json_is_null(list) && !json_is_array(list))
			return err_set(err, E_PARSE, "\"%s\" must be a list", lists[k]);
		json_array_foreach(list, i, one)
		{
			struct bytes text =
				bytes_of(json_string_value(one), json_string_length(one));

			if (text.len == 0 || !head_value_is_valid(text) ||
			    bytes_index(text, ',') < text.len)
				return err_set(err, E_PARSE, "\"%s\" must be a list of texts",
					       lists[k]);
		}
	}
	for (size_t k = 0; k < ARRAY_LEN(flags); k++) {
		const json_t *flag = json_object_get(cors, flags[k]);

		if (flag && !json_is_null(flag) && !json_is_boolean(flag))
			return err_set(err, E_PARSE, "\"%s\" must be true or false", flags[k]);
	}
	/* Any page could read what is one's own (Fetch standard, "CORS protocol and credentials"). */
	if (json_is_true(json_object_get(cors, "allow_all_origins")) &&
	    json_is_true(json_object_get(cors, "allow_credentials")))
		return err_set(err, E_PARSE,
			       "\"allow_all_origins\" does not go with \"allow_credentials\"");
	if (age && !json_is_null(age) &&
	    (!json_is_integer(age) || json_integer_value(age) < 0 ||
	     json_integer_value(age) > MAX_AGE))
		return err_set(err, E_PARSE, "\"max_age\" must be seconds, %d at most", MAX_AGE);
	return 0;
}

static struct bytes value_of(const struct head *h, const char *name)
{
	const struct field *f = fields_find_text(&h->fields, bytes_str(name));

	return f ? f->value : BYTES_NONE;
}

bool access_cors_is_preflight(const struct head *h)
{
	return bytes_eq(h->method, BYTES_LIT("OPTIONS")) && value_of(h, "origin").len &&
	       value_of(h, "access-control-request-method").len;
}

/* What to say of the origin; empty: it may not. */
static struct bytes allowed_origin(const json_t *cors, struct bytes origin)
{
	const json_t *one;
	size_t i;

	if (json_is_true(json_object_get(cors, "allow_all_origins")))
		return BYTES_LIT("*");
	json_array_foreach(json_object_get(cors, "allowed_origins"), i, one)
	{
		if (bytes_eq(bytes_str(json_string_value(one)), origin))
			return origin;
	}
	return BYTES_NONE;
}

static void add(struct exchange *x, const char *name, struct bytes value)
{
	if (value.len)
		(void)fields_add(&x->response.fields, &x->arena, bytes_str(name), value);
}

/* All that was asked for, or the list. */
static struct bytes allowed(struct exchange *x, const json_t *cors, const char *all,
			    const char *list, const char *asked)
{
	struct bytes text = BYTES_NONE;
	const json_t *one;
	size_t i;

	if (json_is_true(json_object_get(cors, all)))
		return value_of(&x->request, asked);
	json_array_foreach(json_object_get(cors, list), i, one) text =
		arena_printf(&x->arena, BYTES_FMT "%s%s", BYTES_ARG(text), i ? ", " : "",
			     json_string_value(one));
	return text;
}

void access_cors_answer(const json_t *cors, struct exchange *x)
{
	struct bytes origin = allowed_origin(cors, value_of(&x->request, "origin"));
	const json_t *age = json_object_get(cors, "max_age");

	add(x, "Vary", BYTES_LIT("Origin"));
	if (origin.len == 0) {
		exchange_answer_whole(x, 403, BYTES_LIT("text/plain; charset=utf-8"),
				      BYTES_LIT("Pages of that origin may not ask here.\n"));
		return;
	}
	add(x, "Access-Control-Allow-Origin", origin);
	add(x, "Access-Control-Allow-Methods",
	    allowed(x, cors, "allow_all_methods", "allowed_methods",
		    "access-control-request-method"));
	add(x, "Access-Control-Allow-Headers",
	    allowed(x, cors, "allow_all_headers", "allowed_headers",
		    "access-control-request-headers"));
	if (json_is_true(json_object_get(cors, "allow_credentials")))
		add(x, "Access-Control-Allow-Credentials", BYTES_LIT("true"));
	if (json_is_integer(age))
		add(x, "Access-Control-Max-Age",
		    arena_printf(&x->arena, "%lld", (long long)json_integer_value(age)));
	exchange_answer_whole(x, 204, BYTES_NONE, BYTES_NONE);
}
