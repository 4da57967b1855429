/* What the API's answers are made of, and lists that come in pages. */
#include "connector/cli/rest.h"

#include "base/mem.h"
#include "http/fetch.h"

/* More than any account has; a server that repeats its first page for ever stops here. */
#define LIMIT_ITEMS 100000

int rest_unexpected(struct err *err, const char *what)
{
	return err_set(err, E_PARSE, "the Cloudflare API response was an unexpected type: %s", what);
}

const char *rest_text_of(struct arena *arena, const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));
	char *copy = arena_strdup(arena, bytes_str(text ? text : ""));

	/* It may go to a terminal. */
	for (char *c = copy; *c; c++)
		if ((uint8_t)*c < ' ' || *c == 0x7f)
			*c = '?';
	return copy;
}

int rest_time_of(struct arena *arena, const json_t *object, const char *key, struct rest_time *ret,
		 struct err *err)
{
	const json_t *value = json_object_get(object, key);
	const char *text = json_string_value(value);

	*ret = (struct rest_time){ "0001-01-01T00:00:00Z", 0 };
	if (!value || json_is_null(value) || (text && strcmp(text, ret->text) == 0))
		return 0;
	ret->wall = text ? clock_parse_rfc3339(text) : -1;
	if (ret->wall < 0)
		return rest_unexpected(err, key);
	ret->text = rest_text_of(arena, object, key);
	return 0;
}

int rest_uuid_of(const json_t *object, const char *key, struct uuid *ret, struct err *err)
{
	const char *text = json_string_value(json_object_get(object, key));

	if (!text || !uuid_parse(bytes_str(text), ret))
		return rest_unexpected(err, "an id is not a UUID");
	return 0;
}

int rest_query_add(struct buf *query, const char *key, const char *value)
{
	if (!value || !*value)
		return 0;
	int r = buf_printf(query, "%s%s=", query->len ? "&" : "", key);
	return r == 0 ? fetch_escape(query, bytes_str(value)) : r;
}

int rest_query_add_page(struct buf *query, const struct rest *api, unsigned page)
{
	int64_t size = settings_int(&api->cli->settings, FLAG_MAX_FETCH_SIZE);
	char number[24];

	(void)snprintf(number, sizeof(number), "%u", page);
	int r = rest_query_add(query, "page", number);
	if (r < 0 || size <= 0)
		return r;
	(void)snprintf(number, sizeof(number), "%lld", (long long)size);
	return rest_query_add(query, "per_page", number);
}

static int64_t info_number(const json_t *envelope, const char *key)
{
	return json_integer_value(json_object_get(json_object_get(envelope, "result_info"), key));
}

int rest_list(struct rest *api, struct arena *arena, const struct rest_pages *pages, void **ret,
	      size_t *ret_count, struct err *err)
{
	size_t count = 0, size = pages->item_size;
	char *items = NULL;
	bool is_last = false;
	int r = 0;

	for (unsigned page = 1; r == 0 && !is_last; page++) {
		char *query = pages->query(api, pages->filter, page);
		const struct rest_call call = { .operation = pages->operation,
						.method = "GET",
						.path = pages->path,
						.query = query,
						.is_page = true };
		json_t *envelope = NULL;

		r = query ? rest_call(api, &call, &envelope, err)
			  : err_set(err, E_LIMIT, "the filter is too long");
		const json_t *list = json_object_get(envelope, "result");
		size_t got = json_array_size(list);
		items = mem_resize(items, (count + got) * size + 1);
		for (size_t i = 0; r == 0 && i < got; i++) {
			r = pages->read(arena, json_array_get(list, i), items + count * size, err);
			count += r == 0;
		}
		if (r < 0)
			err_wrap(err, "Error Parsing page %u", page);
		is_last = got == 0 || count > LIMIT_ITEMS ||
			  info_number(envelope, "count") < info_number(envelope, "per_page") ||
			  (int64_t)count >= info_number(envelope, "total_count");
		json_decref(envelope);
		mem_free(query);
	}
	*ret = arena_alloc(arena, count * size + 1);
	memcpy(*ret, items, count * size);
	*ret_count = count;
	mem_free(items);
	return r;
}
