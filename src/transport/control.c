#include "transport/control.h"

#include <stdio.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/secret.h"
#include "wire/rpc_registration.h"
#include "wire/token.h"

#define MAGIC_CONTROL 0x6374726cu

/* The one capability an edge has: its RegistrationServer. */
#define EDGE_CAP 0
/* What an answer may wait with while a connector does not read: hundreds of ours. */
#define EDGE_OUTPUT_BYTES (64 * 1024)
/* One local configuration and whatever small stands around it. */
#define CONNECTOR_OUTPUT_BYTES (LIMIT_RPC_BYTES + 64 * 1024)
/* RPC around a local configuration; the real number is 112. */
#define CALL_OVERHEAD_BYTES 1024
/* Room for the longest registration at once, so that growing never leaves copies of the secret. */
#define REGISTRATION_BYTES (16 * 1024)
/* Buffers above this are given back when they are empty: sessions live for weeks and talk for a second. */
#define KEEP_BYTES 4096

_Static_assert(CONTROL_ACCOUNT_BYTES >= TOKEN_ACCOUNT_BYTES, "what a token may carry registers");
_Static_assert(CONTROL_SECRET_BYTES >= TOKEN_SECRET_BYTES, "what a token may carry registers");

#define CAUSE_DUPLICATE BYTES_LIT("EDUPCONN")

/* Edge: a question of the connector that it has not finished yet. */
struct answer_slot {
	uint32_t id;
	enum { ANSWER_FREE, ANSWER_BOOTSTRAP, ANSWER_CALL } kind;
};

/* Connector: what we asked, by question id. */
enum question {
	QUESTION_FREE,
	QUESTION_BOOTSTRAP,
	QUESTION_REGISTER,
	QUESTION_LOCAL_CONFIG,
	QUESTION_UNREGISTER,
};

struct control {
	uint32_t magic;
	enum session_side side;
	const struct control_events *events; /* borrowed */
	void *ctx;                           /* borrowed */
	struct buf in;                       /* the message that is not complete yet */
	struct buf out;
	size_t sent; /* of out */
	int failed;  /* enum err_code of the first failure */
	bool is_done;
	bool is_registered;
	bool is_leaving; /* unregister was asked */

	/* edge */
	struct answer_slot answers[LIMIT_RPC_ANSWERS];
	bool is_bootstrapped;
	bool is_asked;  /* registerConnection waits for control_reply() */
	uint32_t asked; /* its question */

	/* connector */
	enum question questions[LIMIT_RPC_ANSWERS];
	bool has_cap;
	uint32_t cap; /* the edge's RegistrationServer */
};

/* --- Output ---------------------------------------------------------------------------------- */

struct bytes control_output(const struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	return bytes_from(buf_bytes(&c->out), c->sent);
}

/* Forgets memory that may hold a secret. */
static void wipe_buf(struct buf *b)
{
	secret_wipe(b->ptr, b->cap);
	b->len = 0;
	if (b->cap > KEEP_BYTES)
		buf_done(b);
}

void control_sent(struct control *c, size_t n)
{
	CHECK(c, MAGIC_CONTROL);
	BUG_IF(n > c->out.len - c->sent);
	c->sent += n;
	if (c->sent == c->out.len) {
		wipe_buf(&c->out);
		c->sent = 0;
	} else if (c->sent > c->out.len / 2) {
		/* Moving less than was sent: in all not more than the output itself. */
		size_t old = c->out.len;

		buf_drop(&c->out, c->sent);
		secret_wipe(c->out.ptr + c->out.len, old - c->out.len);
		c->sent = 0;
	}
}

bool control_is_done(const struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	return c->is_done;
}

bool control_is_registered(const struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	return c->is_registered && !c->is_leaving && !c->is_done;
}

/* Says goodbye. Without room for it the end of the channel says the same. */
static void put_abort(struct control *c, struct bytes reason)
{
	int rc = rpc_put_abort(&c->out, reason);

	(void)rc;
}

/* The stream is dead; the peer hears why. */
static void fail(struct control *c, const struct err *why)
{
	if (c->failed)
		return;
	c->failed = why->code;
	c->is_done = true;
	put_abort(c, bytes_str(why->text));
}

static void end(struct control *c, struct bytes reason)
{
	c->is_done = true;
	if (c->events->on_ended)
		c->events->on_ended(c->ctx, reason);
}

/* --- Edge: answers --------------------------------------------------------------------------- */

static struct answer_slot *find_answer(struct control *c, uint32_t id)
{
	for (size_t i = 0; i < LIMIT_RPC_ANSWERS; i++)
		if (c->answers[i].kind != ANSWER_FREE && c->answers[i].id == id)
			return &c->answers[i];
	return NULL;
}

static int add_answer(struct control *c, uint32_t id, int kind, struct err *err)
{
	if (find_answer(c, id))
		return err_set(err, E_PROTOCOL, "question id %u reused before its Finish", id);
	for (size_t i = 0; i < LIMIT_RPC_ANSWERS; i++) {
		if (c->answers[i].kind == ANSWER_FREE) {
			c->answers[i].id = id;
			c->answers[i].kind = kind;
			return 0;
		}
	}
	return err_set(err, E_LIMIT, "more than %d open questions", LIMIT_RPC_ANSWERS);
}

/* A full output means a peer that asks and does not read. */
static int check_put(int rc, struct err *err)
{
	return rc < 0 ? err_set(err, rc, "the peer does not read its answers") : 0;
}

static int put_exception(struct control *c, uint32_t answer, enum rpc_exception_type type,
			 const char *reason, struct err *err)
{
	return check_put(rpc_put_return_exception(&c->out, answer, type, bytes_str(reason)), err);
}

static bool is_our_cap(struct control *c, const struct rpc_target *t)
{
	if (t->kind == RPC_TO_CAPABILITY)
		return c->is_bootstrapped && t->id == EDGE_CAP;
	if (t->kind != RPC_TO_ANSWER || t->has_path)
		return false;
	const struct answer_slot *a = find_answer(c, t->id);
	return a && a->kind == ANSWER_BOOTSTRAP;
}

/* --- Edge: methods --------------------------------------------------------------------------- */

static struct uuid uuid_from(struct bytes b)
{
	struct uuid u;

	BUG_IF(b.len != sizeof(u.b));
	memcpy(u.b, b.ptr, sizeof(u.b));
	return u;
}

static int on_register_call(struct control *c, const struct rpc_call *call, struct err *err)
{
	struct rpc_registration r;
	struct err why = { 0 };

	if (c->is_asked || c->is_registered)
		return put_exception(c, call->question, RPC_FAILED, "already registered", err);
	if (!c->events->on_register)
		return put_exception(c, call->question, RPC_NOT_IMPLEMENTED,
				     "registration is not served here", err);
	if (rpc_get_registration(call, &r, &why) < 0)
		return put_exception(c, call->question, RPC_FAILED, why.text, err);
	if (r.account.len > CONTROL_ACCOUNT_BYTES || r.secret.len > CONTROL_SECRET_BYTES)
		return put_exception(c, call->question, RPC_FAILED, "account or secret too long",
				     err);
	c->is_asked = true;
	c->asked = call->question;
	c->events->on_register(c->ctx, &(struct registration){
					       .account = r.account,
					       .secret = r.secret,
					       .tunnel = uuid_from(r.tunnel),
					       .index = r.index,
					       .connector = uuid_from(r.connector),
					       .version = r.version,
					       .arch = r.arch,
					       .features = r.features,
					       .feature_count = r.feature_count,
					       .attempts = r.attempts,
					       .local_ip = r.local_ip,
				       });
	/* A reply from inside the event that found no room has failed already. */
	return c->failed ? err_set(err, c->failed, "the peer does not read its answers") : 0;
}

bool control_reply(struct control *c, const struct registered *r)
{
	CHECK(c, MAGIC_CONTROL);
	BUG_IF(c->side != SESSION_EDGE);
	if (!c->is_asked || c->is_done)
		return false;
	c->is_asked = false;
	int rc = rpc_put_registered(&c->out, c->asked,
				    &(struct rpc_registered){
					    .ok = r->ok,
					    .connection = uuid_bytes(&r->connection),
					    .location = r->location,
					    .remotely_managed = r->remotely_managed,
					    .features = r->features,
					    .cause = r->is_duplicate ? CAUSE_DUPLICATE : r->cause,
					    .should_retry = r->should_retry,
				    });
	if (rc < 0) {
		struct err why;
		err_set(&why, rc, "the answer does not fit");
		fail(c, &why);
		return false;
	}
	c->is_registered = r->ok;
	return true;
}

static int on_unregister_call(struct control *c, const struct rpc_call *call, struct err *err)
{
	if (!c->is_leaving) {
		c->is_leaving = true;
		if (c->events->on_unregister)
			c->events->on_unregister(c->ctx);
	}
	return check_put(rpc_put_return_empty(&c->out, call->question), err);
}

static int on_local_config_call(struct control *c, const struct rpc_call *call, struct err *err)
{
	struct bytes json;
	struct err why = { 0 };

	if (!c->is_registered)
		return put_exception(c, call->question, RPC_FAILED, "not registered", err);
	if (rpc_get_local_configuration(call, &json, &why) < 0)
		return put_exception(c, call->question, RPC_FAILED, why.text, err);
	if (c->events->on_local_config)
		c->events->on_local_config(c->ctx, json);
	return check_put(rpc_put_return_empty(&c->out, call->question), err);
}

static int on_edge_call(struct control *c, const struct rpc_call *call, struct err *err)
{
	int rc = add_answer(c, call->question, ANSWER_CALL, err);

	if (rc < 0)
		return rc;
	if (!is_our_cap(c, &call->target))
		return put_exception(c, call->question, RPC_FAILED, "rpc: target not found", err);
	if (!call->to_caller)
		return put_exception(c, call->question, RPC_NOT_IMPLEMENTED,
				     "results can only go to the caller", err);
	if (call->interface == RPC_REGISTRATION_INTERFACE) {
		switch (call->method) {
		case RPC_REGISTER_CONNECTION:
			return on_register_call(c, call, err);
		case RPC_UNREGISTER_CONNECTION:
			return on_unregister_call(c, call, err);
		case RPC_UPDATE_LOCAL_CONFIGURATION:
			return on_local_config_call(c, call, err);
		default:
			break;
		}
	}
	return put_exception(c, call->question, RPC_NOT_IMPLEMENTED, "method not implemented", err);
}

static int on_edge_bootstrap(struct control *c, uint32_t question, struct err *err)
{
	int rc = add_answer(c, question, ANSWER_BOOTSTRAP, err);

	if (rc < 0)
		return rc;
	c->is_bootstrapped = true;
	return check_put(rpc_put_return_capability(&c->out, question, EDGE_CAP), err);
}

static int on_edge_finish(struct control *c, uint32_t question, struct err *err)
{
	struct answer_slot *a = find_answer(c, question);

	if (!a)
		return 0;
	a->kind = ANSWER_FREE;
	if (c->is_asked && c->asked == question) {
		/* It waited long enough; the format still wants a Return for the question. */
		c->is_asked = false;
		return check_put(rpc_put_return_canceled(&c->out, question), err);
	}
	return 0;
}

/* --- Connector ------------------------------------------------------------------------------- */

/* The lowest free question id, as stock does; -1 when all are in use. */
static int free_question(const struct control *c)
{
	for (int i = 0; i < LIMIT_RPC_ANSWERS; i++)
		if (c->questions[i] == QUESTION_FREE)
			return i;
	return -1;
}

/* Calls go to the capability, or, until it is known, to the answer that will bring it. */
static struct rpc_target edge_target(const struct control *c)
{
	if (c->has_cap)
		return (struct rpc_target){ .kind = RPC_TO_CAPABILITY, .id = c->cap };
	return (struct rpc_target){ .kind = RPC_TO_ANSWER, .id = 0 };
}

static void start_connector(struct control *c, const struct registration *r)
{
	struct rpc_registration wire = {
		.account = r->account,
		.secret = r->secret,
		.tunnel = uuid_bytes(&r->tunnel),
		.index = r->index,
		.connector = uuid_bytes(&r->connector),
		.feature_count = r->feature_count,
		.version = r->version,
		.arch = r->arch,
		.local_ip = r->local_ip,
		.attempts = r->attempts,
	};
	struct rpc_target target = edge_target(c);

	if (r->feature_count > LIMIT_FEATURES || buf_reserve(&c->out, REGISTRATION_BYTES) < 0 ||
	    r->account.len > CONTROL_ACCOUNT_BYTES || r->secret.len > CONTROL_SECRET_BYTES) {
		c->is_done = true;
		return;
	}
	for (size_t i = 0; i < r->feature_count; i++)
		wire.features[i] = r->features[i];
	/* Pipelined: the call goes out before the bootstrap is answered, and saves a round trip. */
	if (rpc_put_bootstrap(&c->out, 0) < 0 || rpc_put_register(&c->out, 1, &target, &wire) < 0 ||
	    c->out.len > LIMIT_RPC_UNREGISTERED_BYTES) {
		wipe_buf(&c->out);
		c->is_done = true;
		return;
	}
	c->questions[0] = QUESTION_BOOTSTRAP;
	c->questions[1] = QUESTION_REGISTER;
}

void control_shutdown(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	if (c->is_done)
		return;
	c->is_done = true;
	int rc = 0;
	for (uint32_t i = 0; i < LIMIT_RPC_ANSWERS && rc == 0; i++) {
		if (c->questions[i] != QUESTION_FREE)
			rc = rpc_put_finish(&c->out, i, true);
		c->questions[i] = QUESTION_FREE;
	}
	if (rc == 0 && c->has_cap)
		rc = rpc_put_release(&c->out, c->cap, 1);
	if (rc == 0)
		put_abort(c, BYTES_LIT("rpc: shutdown"));
}

static void refused(struct control *c, const struct registered *r)
{
	control_shutdown(c);
	if (c->events->on_registered)
		c->events->on_registered(c->ctx, r);
}

static void refused_by(struct control *c, const char *what, const struct rpc_return *r)
{
	/* Long enough for what a person can use of a reason. */
	char text[512];

	if (r->kind == RPC_EXCEPTION)
		snprintf(text, sizeof(text), "%s: rpc exception: " BYTES_FMT, what,
			 BYTES_ARG(bytes_first(r->exception.reason, 400)));
	else
		snprintf(text, sizeof(text), "%s: no answer (return kind %u)", what, r->kind);
	refused(c, &(struct registered){ .cause = bytes_str(text) });
}

static int on_register_return(struct control *c, const struct rpc_return *r, struct err *err)
{
	struct rpc_registered wire;

	if (r->kind != RPC_RESULTS) {
		refused_by(c, "registerConnection", r);
		return 0;
	}
	int rc = rpc_get_registered(r, &wire, err);
	if (rc < 0)
		return rc;
	if (!wire.ok) {
		refused(c, &(struct registered){
				   .cause = wire.cause,
				   .should_retry = wire.should_retry,
				   .is_duplicate = bytes_eq(wire.cause, CAUSE_DUPLICATE),
			   });
		return 0;
	}
	c->is_registered = true;
	if (c->events->on_registered)
		c->events->on_registered(c->ctx, &(struct registered){
							 .ok = true,
							 .connection = uuid_from(wire.connection),
							 .location = wire.location,
							 .remotely_managed = wire.remotely_managed,
							 .features = wire.features,
						 });
	return 0;
}

static int on_bootstrap_return(struct control *c, const struct rpc_return *r)
{
	if (r->kind == RPC_RESULTS && r->is_capability &&
	    (r->cap_kind == RPC_CAP_SENDER_HOSTED || r->cap_kind == RPC_CAP_SENDER_PROMISE)) {
		c->has_cap = true;
		c->cap = r->cap_id;
	} else if (!c->is_registered) {
		refused_by(c, "bootstrap", r);
	}
	return 0;
}

static int on_return(struct control *c, const struct rpc_return *r, struct err *err)
{
	/* Late, or never asked. */
	if (r->answer >= LIMIT_RPC_ANSWERS || c->questions[r->answer] == QUESTION_FREE)
		return 0;
	enum question question = c->questions[r->answer];
	c->questions[r->answer] = QUESTION_FREE;
	int rc = check_put(rpc_put_finish(&c->out, r->answer, r->kind == RPC_EXCEPTION), err);
	if (rc < 0)
		return rc;
	switch (question) {
	case QUESTION_BOOTSTRAP:
		return on_bootstrap_return(c, r);
	case QUESTION_REGISTER:
		return on_register_return(c, r, err);
	case QUESTION_UNREGISTER:
		control_shutdown(c);
		if (c->events->on_unregistered)
			c->events->on_unregistered(c->ctx);
		return 0;
	case QUESTION_LOCAL_CONFIG:
	case QUESTION_FREE:
		break;
	}
	return 0;
}

int control_send_local_config(struct control *c, struct bytes json, struct err *err)
{
	CHECK(c, MAGIC_CONTROL);
	BUG_IF(c->side != SESSION_CONNECTOR);
	if (!control_is_registered(c))
		return err_set(err, E_INVALID, "not registered");
	if (json.len > LIMIT_RPC_BYTES - CALL_OVERHEAD_BYTES)
		return err_set(err, E_LIMIT, "configuration of %zu bytes, at most %d are allowed",
			       json.len, LIMIT_RPC_BYTES - CALL_OVERHEAD_BYTES);
	int question = free_question(c);
	if (question < 0)
		return err_set(err, E_LIMIT, "%d questions without an answer", LIMIT_RPC_ANSWERS);
	struct rpc_target target = edge_target(c);
	int rc = rpc_put_local_configuration(&c->out, (uint32_t)question, &target, json);
	if (rc < 0)
		return err_set(err, rc, "the edge does not read");
	c->questions[question] = QUESTION_LOCAL_CONFIG;
	return 0;
}

void control_unregister(struct control *c)
{
	CHECK(c, MAGIC_CONTROL);
	BUG_IF(c->side != SESSION_CONNECTOR);
	if (c->is_leaving || c->is_done)
		return;
	c->is_leaving = true;
	int question = free_question(c);
	struct rpc_target target = edge_target(c);
	if (!c->is_registered || question < 0 ||
	    rpc_put_unregister(&c->out, (uint32_t)question, &target) < 0) {
		control_shutdown(c);
		return;
	}
	c->questions[question] = QUESTION_UNREGISTER;
}

/* --- Input ----------------------------------------------------------------------------------- */

static int on_edge_message(struct control *c, struct rpc_message *m, struct bytes frame,
			   struct err *err)
{
	switch (m->kind) {
	case RPC_BOOTSTRAP:
		return on_edge_bootstrap(c, m->bootstrap, err);
	case RPC_CALL:
		return on_edge_call(c, &m->call, err);
	case RPC_FINISH:
		return on_edge_finish(c, m->finish.question, err);
	case RPC_ABORT:
		end(c, m->abort.reason);
		return 0;
	case RPC_RETURN: /* we never ask */
	case RPC_RELEASE:
	case RPC_UNIMPLEMENTED:
		return 0;
	default:
		return check_put(rpc_put_unimplemented(&c->out, frame), err);
	}
}

static int on_connector_message(struct control *c, struct rpc_message *m, struct bytes frame,
				struct err *err)
{
	switch (m->kind) {
	case RPC_RETURN:
		return on_return(c, &m->ret, err);
	case RPC_ABORT:
		end(c, m->abort.reason);
		return 0;
	case RPC_BOOTSTRAP: /* we serve nothing on this stream */
		return put_exception(c, m->bootstrap, RPC_FAILED, "nothing is served here", err);
	case RPC_CALL:
		return put_exception(c, m->call.question, RPC_FAILED, "rpc: target not found", err);
	case RPC_FINISH:
	case RPC_RELEASE:
	case RPC_UNIMPLEMENTED:
		return 0;
	default:
		return check_put(rpc_put_unimplemented(&c->out, frame), err);
	}
}

static int on_frame(struct control *c, struct bytes frame, struct err *err)
{
	struct rpc_message m;
	int rc = rpc_decode(frame, &m, err);

	if (rc < 0)
		return rc;
	return c->side == SESSION_EDGE ? on_edge_message(c, &m, frame, err)
				       : on_connector_message(c, &m, frame, err);
}

static size_t max_frame(const struct control *c)
{
	return c->is_registered ? LIMIT_RPC_BYTES : LIMIT_RPC_UNREGISTERED_BYTES;
}

/* Moves bytes from *data into c->in until it holds one message. 1 when it does, 0 when data is used up. */
static int collect(struct control *c, struct bytes *data, struct err *err)
{
	size_t size = 0;
	int rc;

	/* The header is at most 72 bytes: byte by byte is no cost, and takes nothing of what follows. */
	while ((rc = capnp_frame_size(buf_bytes(&c->in), max_frame(c), &size, err)) == E_AGAIN) {
		if (data->len == 0)
			return 0;
		rc = buf_append(&c->in, bytes_first(*data, 1));
		if (rc < 0)
			return err_set(err, rc, "out of memory");
		*data = bytes_from(*data, 1);
	}
	if (rc < 0)
		return rc;
	struct bytes part = bytes_first(*data, size - c->in.len);
	/* All at once: growing by copying would leave pieces of a secret behind. */
	rc = buf_reserve(&c->in, size - c->in.len);
	if (rc == 0)
		rc = buf_append(&c->in, part);
	if (rc < 0)
		return err_set(err, rc, "out of memory");
	*data = bytes_from(*data, part.len);
	return c->in.len == size;
}

static int feed(struct control *c, struct bytes data, struct err *err)
{
	while (data.len && !c->is_done) {
		size_t size = 0;
		int rc = c->in.len ? E_AGAIN : capnp_frame_size(data, max_frame(c), &size, err);

		if (rc == 0 && size <= data.len) {
			/* The usual case: whole messages are read in place. */
			rc = on_frame(c, bytes_first(data, size), err);
			data = bytes_from(data, size);
		} else if (rc == 0 || rc == E_AGAIN) {
			rc = collect(c, &data, err);
			if (rc == 1) {
				rc = on_frame(c, buf_bytes(&c->in), err);
				wipe_buf(&c->in);
			}
		}
		if (rc < 0)
			return rc;
	}
	return 0;
}

int control_feed(struct control *c, struct bytes data, struct err *err)
{
	struct err why = { 0 };

	CHECK(c, MAGIC_CONTROL);
	if (c->failed)
		return err_set(err, c->failed, "the control stream has failed before");
	int rc = feed(c, data, &why);
	if (rc == 0)
		return 0;
	fail(c, &why);
	return err_set(err, rc, "%s", why.text);
}

/* --- Life ------------------------------------------------------------------------------------ */

struct control *control_new(enum session_side side, const struct control_events *events, void *ctx,
			    const struct registration *registration)
{
	struct control *c = mem_alloc(sizeof(*c));

	BUG_IF((side == SESSION_CONNECTOR) != (registration != NULL));
	c->magic = MAGIC_CONTROL;
	c->side = side;
	c->events = events;
	c->ctx = ctx;
	/* A collected message never exceeds max_frame(). */
	buf_init(&c->in, LIMIT_RPC_BYTES);
	buf_init(&c->out, side == SESSION_EDGE ? EDGE_OUTPUT_BYTES : CONNECTOR_OUTPUT_BYTES);
	if (registration)
		start_connector(c, registration);
	return c;
}

struct control *control_free(struct control *c)
{
	if (!c)
		return NULL;
	CHECK(c, MAGIC_CONTROL);
	secret_wipe(c->in.ptr, c->in.cap);
	buf_done(&c->in);
	secret_wipe(c->out.ptr, c->out.cap);
	buf_done(&c->out);
	c->magic = 0;
	return mem_free(c);
}
