#include "wire/rpc.h"

#include "base/reader.h"
#include "base/writer.h"

/* The largest message that is sent back whole as unimplemented: what stock peers might send fits, and a
 * large one does not cost us its size. */
#define WRAP_BYTES 4096

/* Bools whose default is true are stored inverted: Return.releaseParamCaps, Finish.releaseResultCaps. */
#define INVERTED_BIT 32

/* --- Decoding -------------------------------------------------------------------------------- */

static struct rpc_exception exception_of(struct capnp_struct s)
{
	return (struct rpc_exception){ .reason = capnp_text(s, 0), .type = capnp_u16(s, 4) };
}

static struct rpc_target target_of(struct capnp_struct s)
{
	struct rpc_target t = { .kind = RPC_TO_UNKNOWN };
	uint16_t tag = capnp_u16(s, 4);

	if (tag == 0) {
		t.kind = RPC_TO_CAPABILITY;
		t.id = capnp_u32(s, 0);
	} else if (tag == 1) {
		struct capnp_struct answer = capnp_struct_at(s, 0);
		struct capnp_list ops = capnp_list_at(answer, 0);

		t.kind = RPC_TO_ANSWER;
		t.id = capnp_u32(answer, 0);
		/* Each op is a noop (0) or a pointer field to take. */
		for (uint32_t i = 0; i < ops.count; i++)
			if (capnp_u16(capnp_list_struct(ops, i), 0) != 0)
				t.has_path = true;
	}
	return t;
}

static struct rpc_call call_of(struct capnp_struct s)
{
	struct capnp_struct payload = capnp_struct_at(s, 1);
	struct rpc_call call = {
		.question = capnp_u32(s, 0),
		.method = capnp_u16(s, 4),
		.to_caller = capnp_u16(s, 6) == 0,
		.interface = capnp_u64(s, 8),
		.target = target_of(capnp_struct_at(s, 0)),
	};

	if (capnp_kind_of(payload, 0) == CAPNP_STRUCT)
		call.params = capnp_struct_at(payload, 0);
	return call;
}

static struct rpc_return return_of(struct capnp_struct s)
{
	struct rpc_return r = {
		.answer = capnp_u32(s, 0),
		.release_params = !capnp_bool(s, INVERTED_BIT),
		.kind = capnp_u16(s, 6),
	};

	if (r.kind == RPC_EXCEPTION) {
		r.exception = exception_of(capnp_struct_at(s, 0));
		return r;
	}
	if (r.kind != RPC_RESULTS)
		return r;
	struct capnp_struct payload = capnp_struct_at(s, 0);
	switch (capnp_kind_of(payload, 0)) {
	case CAPNP_STRUCT:
		r.results = capnp_struct_at(payload, 0);
		break;
	case CAPNP_CAPABILITY: {
		uint32_t index = 0;
		r.is_capability = capnp_capability(payload, 0, &index);
		/* Outside of the table everything reads as 0: RPC_CAP_NONE. */
		struct capnp_struct cap = capnp_list_struct(capnp_list_at(payload, 1), index);
		r.cap_kind = capnp_u16(cap, 0);
		r.cap_id = capnp_u32(cap, 4);
		break;
	}
	case CAPNP_LIST:
	case CAPNP_NULL:
		break;
	}
	return r;
}

int rpc_decode(struct bytes frame, struct rpc_message *ret, struct err *err)
{
	int rc = capnp_open(frame, &ret->capnp, err);

	if (rc < 0)
		return rc;
	struct capnp_struct root = capnp_root(&ret->capnp);
	ret->kind = capnp_u16(root, 0);
	switch (ret->kind) {
	case RPC_ABORT:
		ret->abort = exception_of(capnp_struct_at(root, 0));
		break;
	case RPC_CALL:
		ret->call = call_of(capnp_struct_at(root, 0));
		break;
	case RPC_RETURN:
		ret->ret = return_of(capnp_struct_at(root, 0));
		break;
	case RPC_FINISH: {
		struct capnp_struct s = capnp_struct_at(root, 0);
		ret->finish.question = capnp_u32(s, 0);
		ret->finish.release_caps = !capnp_bool(s, INVERTED_BIT);
		break;
	}
	case RPC_RELEASE: {
		struct capnp_struct s = capnp_struct_at(root, 0);
		ret->release.id = capnp_u32(s, 0);
		ret->release.count = capnp_u32(s, 4);
		break;
	}
	case RPC_BOOTSTRAP:
		ret->bootstrap = capnp_u32(capnp_struct_at(root, 0), 0);
		break;
	default:
		break;
	}
	return capnp_check(&ret->capnp, err);
}

/* --- Encoding -------------------------------------------------------------------------------- */

static struct capnp_ref begin(struct capnp_writer *w, struct buf *out, enum rpc_kind kind,
			      uint32_t data_words, uint32_t pointer_count)
{
	struct capnp_ref root = capnp_begin(w, out, 1, 1);

	capnp_put_u16(w, root, 0, (uint16_t)kind);
	return capnp_put_struct(w, root, 0, data_words, pointer_count);
}

static void put_exception(struct capnp_writer *w, struct capnp_ref s, enum rpc_exception_type type,
			  struct bytes reason)
{
	capnp_put_u16(w, s, 4, (uint16_t)type);
	capnp_put_text(w, s, 0, reason);
}

int rpc_put_bootstrap(struct buf *out, uint32_t question)
{
	struct capnp_writer w;
	struct capnp_ref s = begin(&w, out, RPC_BOOTSTRAP, 1, 1);

	capnp_put_u32(&w, s, 0, question);
	return capnp_end(&w);
}

int rpc_put_finish(struct buf *out, uint32_t question, bool release_caps)
{
	struct capnp_writer w;
	struct capnp_ref s = begin(&w, out, RPC_FINISH, 1, 0);

	capnp_put_u32(&w, s, 0, question);
	capnp_put_bool(&w, s, INVERTED_BIT, !release_caps);
	return capnp_end(&w);
}

int rpc_put_release(struct buf *out, uint32_t id, uint32_t count)
{
	struct capnp_writer w;
	struct capnp_ref s = begin(&w, out, RPC_RELEASE, 1, 0);

	capnp_put_u32(&w, s, 0, id);
	capnp_put_u32(&w, s, 4, count);
	return capnp_end(&w);
}

int rpc_put_abort(struct buf *out, struct bytes reason)
{
	struct capnp_writer w;
	struct capnp_ref s = begin(&w, out, RPC_ABORT, 1, 1);

	put_exception(&w, s, RPC_FAILED, reason);
	return capnp_end(&w);
}

/* The frame's only segment when its root is a plain struct pointer inside it, else empty. */
static struct bytes wrappable(const struct capnp_message *m, int32_t *ret_offset,
			      uint32_t *ret_shape)
{
	struct bytes segment = m->segments[0];
	struct reader r = reader_of(segment);
	uint32_t low = reader_u32le(&r);
	uint32_t shape = reader_u32le(&r);

	if (m->segment_count != 1 || !reader_ok(&r) || (low & 3) != 0)
		return BYTES_NONE;
	*ret_offset = (int32_t)low >> 2;
	*ret_shape = shape;
	return segment;
}

int rpc_put_unimplemented(struct buf *out, struct bytes frame)
{
	struct capnp_message m;
	struct capnp_struct original;
	int32_t offset = 0;
	uint32_t shape = 0;

	if (capnp_open(frame, &m, NULL) < 0)
		return E_PROTOCOL;
	original = capnp_root(&m);
	struct bytes segment = wrappable(&m, &offset, &shape);
	size_t words = 3 + segment.len / 8;
	if (segment.len == 0 || segment.len > WRAP_BYTES || !capnp_ok(&m)) {
		struct capnp_writer w;
		struct capnp_ref root = capnp_begin(&w, out, 1, 1);
		struct capnp_ref tag = capnp_put_struct(&w, root, 0, 1, 1);

		capnp_put_u16(&w, tag, 0, capnp_u16(original, 0));
		return capnp_end(&w);
	}

	/* Three words in front of the old segment: a root pointer, the new Message (tag 0), and its
	 * pointer to the old root. Old pointers are relative and stay right. The old root pointer, now
	 * word 3, is left as a word nobody points at; its target was word 1 + offset, now 4 + offset,
	 * which from word 2 is 1 + offset away. */
	uint8_t head[32];
	struct writer w = writer_of(head, sizeof(head));
	writer_u32le(&w, 0);
	writer_u32le(&w, (uint32_t)words);
	writer_u64le(&w, 0x0001000100000000); /* struct 1,1 right behind */
	writer_u64le(&w, RPC_UNIMPLEMENTED);
	writer_u32le(&w, (uint32_t)(offset + 1) << 2);
	writer_u32le(&w, shape);
	int rc = buf_reserve(out, sizeof(head) + segment.len);
	if (rc == 0)
		rc = buf_append(out, writer_bytes(&w));
	return rc == 0 ? buf_append(out, segment) : rc;
}

static struct capnp_ref begin_return(struct capnp_writer *w, struct buf *out, uint32_t answer,
				     enum rpc_return_kind kind)
{
	struct capnp_ref s = begin(w, out, RPC_RETURN, 2, 1);

	capnp_put_u32(w, s, 0, answer);
	capnp_put_bool(w, s, INVERTED_BIT, true);
	capnp_put_u16(w, s, 6, (uint16_t)kind);
	return s;
}

struct capnp_ref rpc_begin_results(struct capnp_writer *w, struct buf *out, uint32_t answer)
{
	return capnp_put_struct(w, begin_return(w, out, answer, RPC_RESULTS), 0, 0, 2);
}

int rpc_end_payload(struct capnp_writer *w, struct capnp_ref payload)
{
	capnp_put_struct_list(w, payload, 1, 0, 1, 1);
	return capnp_end(w);
}

int rpc_put_return_capability(struct buf *out, uint32_t answer, uint32_t cap_id)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_results(&w, out, answer);

	capnp_put_capability(&w, payload, 0, 0);
	struct capnp_ref cap = capnp_put_struct_list(&w, payload, 1, 1, 1, 1);
	capnp_put_u16(&w, cap, 0, RPC_CAP_SENDER_HOSTED);
	capnp_put_u32(&w, cap, 4, cap_id);
	return capnp_end(&w);
}

int rpc_put_return_empty(struct buf *out, uint32_t answer)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_results(&w, out, answer);

	capnp_put_struct(&w, payload, 0, 0, 0);
	return rpc_end_payload(&w, payload);
}

int rpc_put_return_exception(struct buf *out, uint32_t answer, enum rpc_exception_type type,
			     struct bytes reason)
{
	struct capnp_writer w;
	struct capnp_ref s = begin_return(&w, out, answer, RPC_EXCEPTION);

	put_exception(&w, capnp_put_struct(&w, s, 0, 1, 1), type, reason);
	return capnp_end(&w);
}

int rpc_put_return_canceled(struct buf *out, uint32_t answer)
{
	struct capnp_writer w;

	begin_return(&w, out, answer, RPC_CANCELED);
	return capnp_end(&w);
}

struct capnp_ref rpc_begin_call(struct capnp_writer *w, struct buf *out, uint32_t question,
				const struct rpc_target *target, uint64_t interface, uint16_t method)
{
	struct capnp_ref call = begin(w, out, RPC_CALL, 3, 3);

	capnp_put_u32(w, call, 0, question);
	capnp_put_u16(w, call, 4, method);
	capnp_put_u64(w, call, 8, interface);
	struct capnp_ref to = capnp_put_struct(w, call, 0, 1, 1);
	if (target->kind == RPC_TO_CAPABILITY) {
		capnp_put_u32(w, to, 0, target->id);
	} else {
		capnp_put_u16(w, to, 4, 1);
		struct capnp_ref answer = capnp_put_struct(w, to, 0, 1, 1);
		capnp_put_u32(w, answer, 0, target->id);
		capnp_put_struct_list(w, answer, 0, 0, 1, 0);
	}
	return capnp_put_struct(w, call, 1, 0, 2);
}
