#include "wire/token_json.h"

#include "base/mem.h"

const struct place_names place_names_lower = { "edge", "ca", "apiURL" };
const struct place_names place_names_upper = { "Edge", "CA", "APIURL" };

/* --- JSON ------------------------------------------------------------------------------------ */

json_t *token_json_parse(struct bytes text, struct err *err)
{
	json_error_t why;

	if (text.len == 0) {
		err_set(err, E_PARSE, "empty");
		return NULL;
	}
	json_t *root = json_loadb((const char *)text.ptr, text.len, 0, &why);
	/* The library's text quotes its input, and this one is secret: only the place is told. */
	if (!root) {
		err_set(err, E_PARSE, "not valid JSON near line %d, column %d", why.line,
			why.column);
		return NULL;
	}
	if (!json_is_object(root)) {
		token_json_free(root);
		err_set(err, E_PARSE, "not a JSON object");
		return NULL;
	}
	return root;
}

static void wipe(json_t *value)
{
	const char *key;
	json_t *member;
	size_t i;

	if (json_is_string(value)) {
		/* The library has no call for it, but it is its memory until json_decref() below. */
		secret_wipe((void *)(uintptr_t)json_string_value(value), json_string_length(value));
	} else if (json_is_object(value)) {
		json_object_foreach(value, key, member) wipe(member);
	} else if (json_is_array(value)) {
		json_array_foreach(value, i, member) wipe(member);
	}
}

void token_json_free(json_t *root)
{
	wipe(root);
	json_decref(root);
}

json_t *token_json_find(json_t *root, const char *name)
{
	json_t *found = NULL, *value;
	const char *key;

	json_object_foreach(root, key, value) if (bytes_eq_nocase(bytes_str(key), bytes_str(name)))
		found = value;
	return json_is_null(found) ? NULL : found;
}

static struct bytes string_bytes(const json_t *value)
{
	return bytes_of(json_string_value(value), json_string_length(value));
}

static bool is_printable(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (b.ptr[i] <= 0x20 || b.ptr[i] >= 0x7f)
			return false;
	return true;
}

int token_json_text(json_t *root, const char *name, size_t max, bool is_required, char **ret,
		    struct err *err)
{
	json_t *value = token_json_find(root, name);

	if (value && !json_is_string(value))
		return err_set(err, E_PARSE, "\"%s\" is not a string", name);
	if (!value || json_string_length(value) == 0)
		return is_required ? err_set(err, E_PARSE, "\"%s\" is missing", name) : 0;
	struct bytes text = string_bytes(value);
	if (text.len > max)
		return err_set(err, E_LIMIT, "\"%s\" is longer than %zu bytes", name, max);
	if (!is_printable(text))
		return err_set(err, E_PARSE, "\"%s\" has characters it cannot have", name);
	*ret = mem_strndup(text);
	return 0;
}

/* --- Place ----------------------------------------------------------------------------------- */

static bool is_name_byte(uint8_t byte)
{
	uint8_t c = bytes_lower(byte);

	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
}

static bool is_name(struct bytes b)
{
	for (size_t i = 0; i < b.len; i++)
		if (!is_name_byte(b.ptr[i]))
			return false;
	return true;
}

/* "host:port", "1.2.3.4:port" or "[v6]:port"; "domain", which has SRV records. What the host is, its resolver
 * will say. */
static bool is_host_port(struct bytes b)
{
	size_t colon = b.len;
	uint64_t port = 0;

	if (b.len && bytes_index(b, ':') == b.len)
		return is_name(b);
	while (colon > 0 && b.ptr[colon - 1] != ':')
		colon--;
	if (colon < 2 || !bytes_to_u64(bytes_from(b, colon), &port) || port == 0 || port > 65535)
		return false;
	struct bytes host = bytes_first(b, colon - 1);
	bool has_brackets = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	if (has_brackets)
		host = bytes_of(host.ptr + 1, host.len - 2);
	if (!has_brackets)
		return is_name(host);
	for (size_t i = 0; i < host.len; i++)
		if (!is_name_byte(host.ptr[i]) && host.ptr[i] != ':' && host.ptr[i] != '%')
			return false;
	return true;
}

static int get_edges(json_t *list, const char *name, struct token_place *ret, struct err *err)
{
	if (!list)
		return 0;
	if (!json_is_array(list))
		return err_set(err, E_PARSE, "\"%s\" is not a list", name);
	if (json_array_size(list) > TOKEN_EDGES)
		return err_set(err, E_LIMIT, "\"%s\" has more than %d entries", name, TOKEN_EDGES);
	if (json_array_size(list) == 0)
		return 0;
	ret->edges = mem_alloc_array(json_array_size(list), sizeof(*ret->edges));
	for (size_t i = 0; i < json_array_size(list); i++) {
		struct bytes edge = string_bytes(json_array_get(list, i));

		if (edge.len > TOKEN_EDGE_BYTES || !is_host_port(edge))
			return err_set(err, E_PARSE, "\"%s\": entry %zu is not host:port", name,
				       i + 1);
		ret->edges[ret->edge_count++] = mem_strndup(edge);
	}
	return 0;
}

static int get_ca(json_t *value, const char *name, struct token_place *ret, struct err *err)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";

	if (!value)
		return 0;
	struct bytes pem = string_bytes(value);
	if (pem.len == 0 && json_is_string(value))
		return 0;
	if (pem.len > TOKEN_CA_BYTES)
		return err_set(err, E_LIMIT, "\"%s\" is longer than %d bytes", name, TOKEN_CA_BYTES);
	if (!json_is_string(value) || !memmem(pem.ptr, pem.len, begin, sizeof(begin) - 1))
		return err_set(err, E_PARSE, "\"%s\" is not a PEM certificate", name);
	ret->ca = mem_strndup(pem);
	return 0;
}

static int get_api_url(json_t *root, const char *name, struct token_place *ret, struct err *err)
{
	int rc = token_json_text(root, name, TOKEN_URL_BYTES, false, &ret->api_url, err);
	struct bytes url = bytes_str(ret->api_url);

	if (rc == 0 && url.len && !bytes_starts_with(url, BYTES_LIT("https://")) &&
	    !bytes_starts_with(url, BYTES_LIT("http://")))
		return err_set(err, E_PARSE, "\"%s\" is not an http(s) URL", name);
	return rc;
}

int token_json_place(json_t *root, const struct place_names *names, struct token_place *ret,
		     struct err *err)
{
	struct token_place p = { 0 };
	int rc = get_edges(token_json_find(root, names->edge), names->edge, &p, err);

	if (rc == 0)
		rc = get_ca(token_json_find(root, names->ca), names->ca, &p, err);
	if (rc == 0)
		rc = get_api_url(root, names->api_url, &p, err);
	if (rc < 0) {
		token_place_done(&p);
		return rc;
	}
	*ret = p;
	return 0;
}

void token_place_copy(struct token_place *to, const struct token_place *from)
{
	*to = (struct token_place){
		.ca = mem_strdup(from->ca),
		.api_url = mem_strdup(from->api_url),
	};
	if (from->edge_count == 0)
		return;
	to->edges = mem_alloc_array(from->edge_count, sizeof(*to->edges));
	for (; to->edge_count < from->edge_count; to->edge_count++)
		to->edges[to->edge_count] = mem_strdup(from->edges[to->edge_count]);
}

void token_place_done(struct token_place *p)
{
	for (size_t i = 0; i < p->edge_count; i++)
		mem_free(p->edges[i]);
	mem_free(p->edges);
	mem_free(p->ca);
	mem_free(p->api_url);
	*p = (struct token_place){ 0 };
}

/* --- Encoding -------------------------------------------------------------------------------- */

int token_reserve(struct buf *out, const struct token_place *p)
{
	/* Names, tags, secret, URL: below 8 KiB; a PEM text has one escaped byte a line. */
	size_t size = 8192 + TOKEN_EDGES * (TOKEN_EDGE_BYTES + 3) + (p->ca ? 2 * strlen(p->ca) : 0);
	size_t room = out->max - out->len;

	return buf_reserve(out, size < room ? size : room);
}

static int put_string(struct buf *out, struct bytes text)
{
	int rc = buf_append_str(out, "\"");

	for (size_t i = 0; i < text.len && rc == 0; i++) {
		uint8_t c = text.ptr[i];

		if (c == '"' || c == '\\')
			rc = buf_printf(out, "\\%c", c);
		else if (c == '\n')
			rc = buf_append_str(out, "\\n");
		else if (c < 0x20)
			rc = buf_printf(out, "\\u%04x", c);
		else
			rc = buf_append(out, bytes_of(&text.ptr[i], 1));
	}
	return rc == 0 ? buf_append_str(out, "\"") : rc;
}

static int put_name(struct buf *out, const char *name)
{
	bool is_first = out->len && out->ptr[out->len - 1] == '{';

	return buf_printf(out, "%s\"%s\":", is_first ? "" : ",", name);
}

int token_put_text(struct buf *out, const char *name, struct bytes text)
{
	int rc = put_name(out, name);

	return rc == 0 ? put_string(out, text) : rc;
}

int token_put_place(struct buf *out, const struct place_names *names, const struct token_place *p)
{
	int rc = 0;

	if (p->edge_count) {
		rc = put_name(out, names->edge);
		for (size_t i = 0; i < p->edge_count && rc == 0; i++) {
			rc = buf_append_str(out, i ? "," : "[");
			if (rc == 0)
				rc = put_string(out, bytes_str(p->edges[i]));
		}
		if (rc == 0)
			rc = buf_append_str(out, "]");
	}
	if (rc == 0 && p->ca)
		rc = token_put_text(out, names->ca, bytes_str(p->ca));
	if (rc == 0 && p->api_url)
		rc = token_put_text(out, names->api_url, bytes_str(p->api_url));
	return rc;
}
