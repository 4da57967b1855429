#include "edge/control/query.h"

#include "base/encode.h"

int query_decode(struct bytes text, bool is_form, struct arena *a, struct bytes *ret)
{
	uint8_t *to = arena_alloc_bytes(a, text.len + 1);
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '%') {
			if (text.len - i < 3 || !hex_decode(bytes_of(text.ptr + i + 1, 2), &c))
				return E_PARSE;
			i += 2;
		} else if (c == '+' && is_form) {
			c = ' ';
		}
		/* Values become C strings for the store: a NUL would cut one short. */
		if (c == 0)
			return E_PARSE;
		to[len++] = c;
	}
	to[len] = 0;
	*ret = bytes_of(to, len);
	return 0;
}

int query_parse(struct bytes text, struct arena *a, struct query *ret)
{
	struct bytes part;
	int rc;

	ret->count = 0;
	while (bytes_split(&text, '&', &part)) {
		struct query_param *p = &ret->list[ret->count];
		size_t equals = bytes_index(part, '=');

		if (part.len == 0)
			continue;
		if (ret->count == QUERY_PARAMS_MAX)
			return E_LIMIT;
		rc = query_decode(bytes_first(part, equals), true, a, &p->name);
		if (rc == 0)
			rc = query_decode(bytes_from(part, equals + 1), true, a, &p->value);
		if (rc < 0)
			return rc;
		ret->count++;
	}
	return 0;
}

const char *query_find(const struct query *q, const char *name)
{
	for (size_t i = 0; i < q->count; i++)
		if (bytes_eq(q->list[i].name, bytes_str(name)))
			return (const char *)q->list[i].value.ptr;
	return NULL;
}
