#include "wire/connect_request.h"

static const uint8_t data_signature[CONNECT_SIGNATURE_BYTES] = { 0x0a, 0x36, 0xcd, 0x12, 0xa1, 0x3e };
static const uint8_t rpc_signature[CONNECT_SIGNATURE_BYTES] = { 0x52, 0xbb, 0x82, 0x5c, 0xdb, 0x65 };
#define VERSION BYTES_LIT("01")

#define FIELD_PREFIX BYTES_LIT("HttpHeader:")

static const struct {
	enum connect_key key;
	const char *text;
} keys[] = {
	{ CONNECT_METHOD, "HttpMethod" },
	{ CONNECT_HOST, "HttpHost" },
	{ CONNECT_STATUS, "HttpStatus" },
	{ CONNECT_FLOW_ID, "FlowID" },
	{ CONNECT_RATE_LIMITED, "FlowConnectRateLimited" },
};

/* --- Streams --------------------------------------------------------------------------------- */

int connect_stream_of(struct bytes front, enum connect_stream *ret)
{
	if (front.len < CONNECT_SIGNATURE_BYTES)
		return E_AGAIN;
	if (memcmp(front.ptr, data_signature, sizeof(data_signature)) == 0)
		*ret = CONNECT_STREAM_DATA;
	else if (memcmp(front.ptr, rpc_signature, sizeof(rpc_signature)) == 0)
		*ret = CONNECT_STREAM_RPC;
	else
		*ret = CONNECT_STREAM_UNKNOWN;
	return 0;
}

int connect_put_rpc_signature(struct buf *out)
{
	return buf_append(out, bytes_of(rpc_signature, sizeof(rpc_signature)));
}

/* --- Decoding -------------------------------------------------------------------------------- */

int connect_head_size(struct bytes front, size_t *ret_size, struct err *err)
{
	enum connect_stream stream = CONNECT_STREAM_UNKNOWN;
	size_t size = 0;
	int rc = connect_stream_of(front, &stream);

	if (rc < 0)
		return rc;
	if (stream != CONNECT_STREAM_DATA)
		return err_set(err, E_PROTOCOL, "not a data stream");
	rc = capnp_frame_size(bytes_from(front, CONNECT_PREAMBLE_BYTES), CONNECT_BYTES, &size, err);
	if (rc == 0)
		*ret_size = CONNECT_PREAMBLE_BYTES + size;
	return rc;
}

static int check_pairs(struct connect_head *h, struct err *err)
{
	if (h->pairs.count > CONNECT_PAIRS)
		return err_set(err, E_LIMIT, "%u fields in a stream's head", h->pairs.count);
	return capnp_check(&h->capnp, err);
}

int connect_get_request(struct bytes head, struct connect_head *ret, struct err *err)
{
	int rc = capnp_open(bytes_from(head, CONNECT_PREAMBLE_BYTES), &ret->capnp, err);

	if (rc < 0)
		return rc;
	struct capnp_struct s = capnp_root(&ret->capnp);
	ret->kind = capnp_u16(s, 0);
	ret->dest = capnp_text(s, 0);
	ret->pairs = capnp_list_at(s, 1);
	ret->error = BYTES_NONE;
	if (ret->kind > CONNECT_TCP)
		return err_set(err, E_PROTOCOL, "stream of unknown type %u", ret->kind);
	return check_pairs(ret, err);
}

int connect_get_response(struct bytes head, struct connect_head *ret, struct err *err)
{
	int rc = capnp_open(bytes_from(head, CONNECT_PREAMBLE_BYTES), &ret->capnp, err);

	if (rc < 0)
		return rc;
	struct capnp_struct s = capnp_root(&ret->capnp);
	ret->kind = CONNECT_HTTP;
	ret->dest = BYTES_NONE;
	ret->error = capnp_text(s, 0);
	ret->pairs = capnp_list_at(s, 1);
	return check_pairs(ret, err);
}

int connect_pair_at(const struct connect_head *head, uint32_t i, struct connect_pair *ret)
{
	struct capnp_struct s = capnp_list_struct(head->pairs, i);
	struct bytes key = capnp_text(s, 0);
	struct connect_pair pair = { .key = CONNECT_OTHER, .name = key, .value = capnp_text(s, 1) };

	if (!capnp_ok(&head->capnp))
		return E_PROTOCOL;
	if (bytes_starts_with(key, FIELD_PREFIX)) {
		pair.key = CONNECT_FIELD;
		pair.name = bytes_from(key, FIELD_PREFIX.len);
		if (bytes_index(pair.name, ':') < pair.name.len)
			return E_PROTOCOL;
	}
	for (size_t k = 0; k < ARRAY_LEN(keys) && pair.key == CONNECT_OTHER; k++)
		if (bytes_eq(key, bytes_str(keys[k].text)))
			pair = (struct connect_pair){ .key = keys[k].key, .value = pair.value };
	*ret = pair;
	return 0;
}

/* --- Encoding -------------------------------------------------------------------------------- */

static int put_preamble(struct buf *out)
{
	int rc = buf_append(out, bytes_of(data_signature, sizeof(data_signature)));

	return rc == 0 ? buf_append(out, VERSION) : rc;
}

static void put_pairs(struct capnp_writer *w, struct capnp_ref root,
		      const struct connect_pair *pairs, size_t count)
{
	if (count == 0)
		return;
	struct capnp_ref first = capnp_put_struct_list(w, root, 1, (uint32_t)count, 0, 2);
	for (size_t i = 0; i < count; i++) {
		struct capnp_ref s = capnp_element(first, (uint32_t)i);
		const struct connect_pair *p = &pairs[i];

		if (p->key == CONNECT_FIELD)
			capnp_put_text_parts(w, s, 0, FIELD_PREFIX, p->name);
		else if (p->key == CONNECT_OTHER)
			capnp_put_text(w, s, 0, p->name);
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			if (keys[k].key == p->key)
				capnp_put_text(w, s, 0, bytes_str(keys[k].text));
		capnp_put_text(w, s, 1, p->value);
	}
}

static int end_head(struct capnp_writer *w, struct buf *out, size_t start)
{
	int rc = capnp_end(w);

	if (rc < 0)
		out->len = start;
	return rc;
}

int connect_put_request(struct buf *out, enum connect_kind kind, struct bytes dest,
			const struct connect_pair *pairs, size_t count)
{
	size_t start = out->len;
	struct capnp_writer w;

	if (count > CONNECT_PAIRS || put_preamble(out) < 0) {
		out->len = start;
		return E_LIMIT;
	}
	struct capnp_ref root = capnp_begin(&w, out, 1, 2);
	capnp_put_u16(&w, root, 0, (uint16_t)kind);
	capnp_put_text(&w, root, 0, dest);
	put_pairs(&w, root, pairs, count);
	return end_head(&w, out, start);
}

int connect_put_response(struct buf *out, struct bytes error, const struct connect_pair *pairs,
			 size_t count)
{
	size_t start = out->len;
	struct capnp_writer w;

	if (count > CONNECT_PAIRS || put_preamble(out) < 0) {
		out->len = start;
		return E_LIMIT;
	}
	struct capnp_ref root = capnp_begin(&w, out, 0, 2);
	capnp_put_text(&w, root, 0, error);
	put_pairs(&w, root, pairs, count);
	return end_head(&w, out, start);
}
