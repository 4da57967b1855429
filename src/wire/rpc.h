/* Cap'n Proto RPC messages (rpc.capnp, level 1 without promises), as stock cloudflared speaks them on
 * control streams (PROTOCOL.md §3.2). The interfaces spoken through them are in rpc_registration.h and
 * rpc_session.h.
 *
 * Decoding borrows from the frame and copies nothing. Encoders append one framed message to `out` and
 * return 0, or E_LIMIT (out is full; unchanged). Where nothing is said they write the very bytes the
 * stock Go library writes.
 */
#pragma once

#include "wire/capnp.h"

enum rpc_kind { /* the tag on the wire; others decode as they are, without a body */
		RPC_UNIMPLEMENTED = 0,
		RPC_ABORT = 1,
		RPC_CALL = 2,
		RPC_RETURN = 3,
		RPC_FINISH = 4,
		RPC_RESOLVE =
			5, /* never needed: answered with Unimplemented, which the format allows */
		RPC_RELEASE = 6,
		RPC_BOOTSTRAP = 8,
		RPC_DISEMBARGO = 13,
};

enum rpc_exception_type {
	RPC_FAILED,
	RPC_OVERLOADED,
	RPC_DISCONNECTED,
	RPC_NOT_IMPLEMENTED,
};

struct rpc_exception {
	struct bytes reason;
	uint16_t type; /* enum rpc_exception_type, or what a newer peer sends */
};

/* Whom a call is for. */
struct rpc_target {
	enum { RPC_TO_CAPABILITY, RPC_TO_ANSWER, RPC_TO_UNKNOWN } kind;
	uint32_t id;   /* of an imported capability, or of the question whose answer it is */
	bool has_path; /* RPC_TO_ANSWER: it means a field inside the answer, not the answer itself */
};

struct rpc_call {
	uint32_t question;
	struct rpc_target target;
	uint64_t interface;
	uint16_t method;
	bool to_caller;             /* results are wanted back; anything else we never support */
	struct capnp_struct params; /* the content; null when it is no struct */
};

enum rpc_return_kind { /* the tag on the wire */
		       RPC_RESULTS = 0,
		       RPC_EXCEPTION = 1,
		       RPC_CANCELED = 2,
		       RPC_SENT_ELSEWHERE = 3,
		       RPC_TAKE_FROM_OTHER = 4,
};

/* One entry of a capability table. */
enum rpc_cap_kind {
	RPC_CAP_NONE = 0,
	RPC_CAP_SENDER_HOSTED = 1,
	RPC_CAP_SENDER_PROMISE = 2,
	RPC_CAP_RECEIVER_HOSTED = 3,
	RPC_CAP_RECEIVER_ANSWER = 4,
};

struct rpc_return {
	uint32_t answer;
	uint16_t kind; /* enum rpc_return_kind */
	bool release_params;
	struct rpc_exception exception; /* RPC_EXCEPTION */
	struct capnp_struct results;    /* RPC_RESULTS: the content; null when it is no struct */
	bool is_capability;             /* RPC_RESULTS: the content is one; then */
	uint16_t cap_kind;              /* enum rpc_cap_kind, from the table */
	uint32_t cap_id;
};

struct rpc_message {
	struct capnp_message capnp; /* structs point here: do not move or copy */
	uint16_t kind;              /* enum rpc_kind */
	union {
		struct rpc_call call;
		struct rpc_return ret;
		struct rpc_exception abort;
		uint32_t bootstrap; /* question */
		struct {
			uint32_t question;
			bool release_caps;
		} finish;
		struct {
			uint32_t id, count;
		} release;
	};
};

/* `frame` is one whole framed message (capnp_frame_size). E_PROTOCOL when it is malformed. A call's
 * params and a return's results are only pointed at; their decoders check them. */
int rpc_decode(struct bytes frame, struct rpc_message *ret, struct err *err) MUST_USE;

int rpc_put_bootstrap(struct buf *out, uint32_t question) MUST_USE;
int rpc_put_finish(struct buf *out, uint32_t question, bool release_caps) MUST_USE;
int rpc_put_release(struct buf *out, uint32_t id, uint32_t count) MUST_USE;
int rpc_put_abort(struct buf *out, struct bytes reason) MUST_USE;
/* Sends `frame` back, as the format asks for. It is wrapped, not copied object by object, so a hostile
 * one cannot grow; one that came in several segments, or is large, is sent back as its tag alone. */
int rpc_put_unimplemented(struct buf *out, struct bytes frame) MUST_USE;

/* Returns. None of them releases the parameters' capabilities: there never are any. */
int rpc_put_return_capability(struct buf *out, uint32_t answer, uint32_t cap_id) MUST_USE;
int rpc_put_return_empty(struct buf *out, uint32_t answer) MUST_USE;
int rpc_put_return_exception(struct buf *out, uint32_t answer, enum rpc_exception_type type,
			     struct bytes reason) MUST_USE;
int rpc_put_return_canceled(struct buf *out, uint32_t answer) MUST_USE;

/* --- For the interfaces' own encoders --------------------------------------------------------- */

/* Begins a Call; its params are then made at pointer 0 of the Payload that is returned.
 * rpc_end_payload() adds the empty capability table and completes the message. */
struct capnp_ref rpc_begin_call(struct capnp_writer *w, struct buf *out, uint32_t question,
				const struct rpc_target *target, uint64_t interface,
				uint16_t method);
struct capnp_ref rpc_begin_results(struct capnp_writer *w, struct buf *out, uint32_t answer);
int rpc_end_payload(struct capnp_writer *w, struct capnp_ref payload) MUST_USE;
