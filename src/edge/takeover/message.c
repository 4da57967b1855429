#include "edge/takeover/message.h"

#include <jansson.h>
#include <string.h>

static const char *const types[] = {
	[TAKEOVER_HELLO] = "hello",     [TAKEOVER_SOCKETS] = "sockets", [TAKEOVER_STATE] = "state",
	[TAKEOVER_ALL] = "all",         [TAKEOVER_READY] = "ready",     [TAKEOVER_DONE] = "done",
	[TAKEOVER_REFUSED] = "refused",
};

static const char *const kinds[] = {
	[SOCKET_STREAM] = "stream",
	[SOCKET_DATAGRAM] = "datagram",
	[SOCKET_MESSAGES] = "messages",
	[SOCKET_PAIR] = "pair",
};

const char *takeover_type_name(enum takeover_type type)
{
	return types[type];
}

/* Index of a member's word, or -1. */
static int word(const json_t *object, const char *key, const char *const *words, size_t count)
{
	const char *text = json_string_value(json_object_get(object, key));

	for (size_t i = 0; text && i < count; i++)
		if (strcmp(text, words[i]) == 0)
			return (int)i;
	return -1;
}

/* jansson refuses NUL in strings unless told otherwise: a C string is all of it. */
static const char *text_of(const json_t *object, const char *key, struct arena *a)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? arena_strdup(a, bytes_str(text)) : NULL;
}

static int read_sockets(const json_t *list, struct arena *a, struct takeover_message *ret,
			struct err *err)
{
	size_t count = json_array_size(list);

	if (count == 0)
		return err_set(err, E_PARSE, "no sockets in a message of sockets");
	if (count > LOCAL_CHANNEL_FDS)
		return err_set(err, E_LIMIT, "more than %d sockets in a message", LOCAL_CHANNEL_FDS);
	for (size_t i = 0; i < count; i++) {
		const json_t *item = json_array_get(list, i);
		int kind = word(item, "kind", kinds, ARRAY_LEN(kinds));
		struct takeover_socket *s = &ret->sockets[i];
		*s = (struct takeover_socket){
			.what = text_of(item, "for", a),
			.address = text_of(item, "address", a),
			.kind = (enum socket_kind)kind,
			.is_first = json_is_true(json_object_get(item, "first")),
		};
		if (kind < 0 || !s->what || !s->address)
			return err_set(err, E_PARSE, "a socket without a name");
	}
	ret->socket_count = count;
	return 0;
}

static int read_object(const json_t *object, struct arena *a, struct takeover_message *ret,
		       struct err *err)
{
	int type = word(object, "type", types, ARRAY_LEN(types));

	*ret = (struct takeover_message){ .type = (enum takeover_type)type };
	ret->version = json_integer_value(json_object_get(object, "version"));
	ret->count = json_integer_value(json_object_get(object, "count"));
	ret->generation = json_integer_value(json_object_get(object, "generation"));
	ret->program = text_of(object, "program", a);
	ret->text = text_of(object, "text", a);
	if (type < 0)
		return err_set(err, E_PARSE, "a message of no known type");
	if (ret->type == TAKEOVER_SOCKETS)
		return read_sockets(json_object_get(object, "sockets"), a, ret, err);
	if ((ret->type == TAKEOVER_STATE || ret->type == TAKEOVER_REFUSED) && !ret->text)
		return err_set(err, E_PARSE, "a message \"%s\" without a text", types[type]);
	return 0;
}

int takeover_message_read(struct bytes json, struct arena *a, struct takeover_message *ret,
			  struct err *err)
{
	json_error_t where;

	if (json.len > TAKEOVER_MESSAGE_BYTES)
		return err_set(err, E_LIMIT, "a message of more than %d bytes",
			       TAKEOVER_MESSAGE_BYTES);
	json_t *object =
		json_loadb((const char *)json.ptr, json.len, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(object)) {
		json_decref(object);
		return err_set(err, E_PARSE, "a message that is no JSON object");
	}
	int code = read_object(object, a, ret, err);
	json_decref(object);
	return code;
}

static json_t *sockets_json(const struct takeover_message *m)
{
	json_t *list = json_array();

	for (size_t i = 0; i < m->socket_count; i++) {
		const struct takeover_socket *s = &m->sockets[i];
		json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:b}", "for", s->what,
						      "address", s->address, "kind", kinds[s->kind],
						      "first", (int)s->is_first));
	}
	return list;
}

static int append(const char *text, size_t size, void *out)
{
	return buf_append(out, bytes_of(text, size));
}

int takeover_message_print(const struct takeover_message *m, struct buf *out)
{
	json_t *object = json_pack("{s:s}", "type", types[m->type]);

	if (m->version)
		json_object_set_new(object, "version", json_integer(m->version));
	if (m->program)
		json_object_set_new(object, "program", json_string(m->program));
	if (m->type == TAKEOVER_SOCKETS)
		json_object_set_new(object, "sockets", sockets_json(m));
	if (m->text)
		json_object_set_new(object, "text", json_string(m->text));
	if (m->type == TAKEOVER_ALL) {
		json_object_set_new(object, "count", json_integer(m->count));
		json_object_set_new(object, "generation", json_integer(m->generation));
	}
	/* What is no UTF-8 cannot be said in JSON: a path, perhaps. */
	bool is_whole = json_array_size(json_object_get(object, "sockets")) == m->socket_count;
	int ret = json_dump_callback(object, append, out, JSON_COMPACT);
	json_decref(object);
	return ret < 0 ? E_LIMIT : is_whole ? 0 : E_INVALID;
}
