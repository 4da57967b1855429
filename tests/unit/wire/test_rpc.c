/* Every RPC message of the vectors decodes to the fields an independent reader saw, and is encoded again
 * to the very bytes stock wrote. */
#include "unit/wire/vectors.h"
#include "wire/rpc_registration.h"
#include "wire/rpc_session.h"

static uint64_t number(json_t *o, const char *member)
{
	return (uint64_t)json_integer_value(json_object_get(o, member));
}

static bool truth(json_t *o, const char *member)
{
	assert_non_null(json_object_get(o, member));
	return json_is_true(json_object_get(o, member));
}

static const char *text(json_t *o, const char *member)
{
	const char *t = json_string_value(json_object_get(o, member));

	return t ? t : "";
}

/* --- Calls ----------------------------------------------------------------------------------- */

static void check_target(const struct rpc_target *t, json_t *want)
{
	json_t *answer = json_object_get(want, "promisedAnswer");

	if (answer) {
		assert_int_equal(t->kind, RPC_TO_ANSWER);
		assert_int_equal(t->id, number(answer, "questionId"));
		assert_false(t->has_path);
	} else {
		assert_int_equal(t->kind, RPC_TO_CAPABILITY);
		assert_int_equal(t->id, number(want, "importedCap"));
	}
}

static void check_register(const struct rpc_call *call, json_t *want, struct buf *again)
{
	struct rpc_registration r;
	json_t *auth = json_object_get(want, "auth");
	json_t *options = json_object_get(want, "options");
	json_t *client = json_object_get(options, "client");
	json_t *features = json_object_get(client, "features");

	assert_int_equal(rpc_get_registration(call, &r, NULL), 0);
	assert_text(r.account, text(auth, "accountTag"));
	assert_hex(r.secret, json_object_get(auth, "tunnelSecret"));
	assert_hex(r.tunnel, json_object_get(want, "tunnelId"));
	assert_int_equal(r.index, number(want, "connIndex"));
	assert_hex(r.connector, json_object_get(client, "clientId"));
	assert_int_equal(r.feature_count, json_array_size(features));
	for (size_t i = 0; i < r.feature_count; i++)
		assert_text(r.features[i], json_string_value(json_array_get(features, i)));
	assert_text(r.version, text(client, "version"));
	assert_text(r.arch, text(client, "arch"));
	assert_hex(r.local_ip, json_object_get(options, "originLocalIp"));
	assert_int_equal(r.replace_existing, truth(options, "replaceExisting"));
	assert_int_equal(r.compression_quality, number(options, "compressionQuality"));
	assert_int_equal(r.attempts, number(options, "numPreviousAttempts"));
	assert_int_equal(rpc_put_register(again, call->question, &call->target, &r), 0);
}

static void check_call(const struct rpc_call *call, json_t *want, struct buf *again)
{
	char interface[32];
	const char *method = text(want, "method");
	json_t *params = json_object_get(want, "params");
	struct bytes a, b;

	snprintf(interface, sizeof(interface), "0x%llx", (unsigned long long)call->interface);
	assert_string_equal(interface, text(want, "interfaceId"));
	assert_int_equal(call->question, number(want, "questionId"));
	assert_int_equal(call->method, number(want, "methodId"));
	assert_true(call->to_caller);
	check_target(&call->target, json_object_get(want, "target"));

	if (strcmp(method, "registerConnection") == 0) {
		assert_int_equal(call->interface, RPC_REGISTRATION_INTERFACE);
		assert_int_equal(call->method, RPC_REGISTER_CONNECTION);
		check_register(call, params, again);
	} else if (strcmp(method, "unregisterConnection") == 0) {
		assert_int_equal(call->method, RPC_UNREGISTER_CONNECTION);
		assert_int_equal(rpc_put_unregister(again, call->question, &call->target), 0);
	} else if (strcmp(method, "updateLocalConfiguration") == 0) {
		assert_int_equal(call->method, RPC_UPDATE_LOCAL_CONFIGURATION);
		assert_int_equal(rpc_get_local_configuration(call, &a, NULL), 0);
		assert_hex(a, json_object_get(params, "config"));
		assert_int_equal(
			rpc_put_local_configuration(again, call->question, &call->target, a), 0);
	} else if (strcmp(method, "registerUdpSession") == 0) {
		struct rpc_udp_session s;
		assert_int_equal(call->interface, RPC_SESSION_INTERFACE);
		assert_int_equal(rpc_get_register_udp(call, &s, NULL), 0);
		assert_hex(s.session, json_object_get(params, "sessionId"));
		assert_hex(s.address, json_object_get(params, "dstIp"));
		assert_int_equal(s.port, number(params, "dstPort"));
		assert_int_equal(s.idle_ns, number(params, "closeAfterIdleHint"));
		assert_text(s.trace, text(params, "traceContext"));
		assert_int_equal(rpc_put_register_udp(again, call->question, &call->target, &s), 0);
	} else if (strcmp(method, "unregisterUdpSession") == 0) {
		assert_int_equal(rpc_get_unregister_udp(call, &a, &b, NULL), 0);
		assert_hex(a, json_object_get(params, "sessionId"));
		assert_text(b, text(params, "message"));
		assert_int_equal(rpc_put_unregister_udp(again, call->question, &call->target, a, b),
				 0);
	} else {
		int32_t version = 0;
		assert_string_equal(method, "updateConfiguration");
		assert_int_equal(call->interface, RPC_CONFIGURATION_INTERFACE);
		assert_int_equal(rpc_get_configuration(call, &version, &a, NULL), 0);
		assert_int_equal(version, number(params, "version"));
		/* The vectors leave the configuration out; it is there in the bytes. */
		assert_true(bytes_starts_with(a, BYTES_LIT("{\"ingress\":")));
		assert_int_equal(
			rpc_put_configuration(again, call->question, &call->target, version, a), 0);
	}
}

/* --- Returns --------------------------------------------------------------------------------- */

static void check_results(const struct rpc_return *r, json_t *want, struct buf *again)
{
	json_t *results = json_object_get(want, "results");
	json_t *result = json_object_get(results, "result");
	json_t *details = json_object_get(result, "connectionDetails");
	json_t *error = json_object_get(result, "error");

	if (json_is_string(results)) {
		json_t *cap = json_array_get(json_object_get(want, "capTable"), 0);
		assert_true(r->is_capability);
		assert_int_equal(r->cap_kind, number(cap, "which"));
		assert_int_equal(r->cap_id, number(cap, "id"));
		assert_int_equal(rpc_put_return_capability(again, r->answer, r->cap_id), 0);
	} else if (!result) {
		assert_int_equal(rpc_put_return_empty(again, r->answer), 0);
	} else if (details || error) {
		struct rpc_registered got;
		assert_int_equal(rpc_get_registered(r, &got, NULL), 0);
		assert_int_equal(got.ok, details != NULL);
		if (details) {
			assert_hex(got.connection, json_object_get(details, "uuid"));
			assert_text(got.location, text(details, "locationName"));
			assert_int_equal(got.remotely_managed,
					 truth(details, "tunnelIsRemotelyManaged"));
		} else {
			assert_text(got.cause, text(error, "cause"));
			assert_int_equal(got.retry_after_ns, number(error, "retryAfter"));
			assert_int_equal(got.should_retry, truth(error, "shouldRetry"));
		}
		assert_int_equal(rpc_put_registered(again, r->answer, &got), 0);
	} else if (json_object_get(result, "latestAppliedVersion")) {
		int32_t version = 0;
		struct bytes why;
		assert_int_equal(rpc_get_configured(r, &version, &why, NULL), 0);
		assert_int_equal(version, number(result, "latestAppliedVersion"));
		assert_text(why, text(result, "err"));
		assert_int_equal(rpc_put_configured(again, r->answer, version, why), 0);
	} else {
		struct bytes why, spans;
		assert_int_equal(rpc_get_registered_udp(r, &why, &spans, NULL), 0);
		assert_text(why, text(result, "err"));
		assert_int_equal(spans.len, 0);
		assert_int_equal(rpc_put_registered_udp(again, r->answer, why, spans), 0);
	}
}

static void check_return(const struct rpc_return *r, json_t *want, struct buf *again)
{
	json_t *exception = json_object_get(want, "exception");

	assert_int_equal(r->answer, number(want, "answerId"));
	assert_int_equal(r->release_params, truth(want, "releaseParamCaps"));
	if (exception) {
		assert_int_equal(r->kind, RPC_EXCEPTION);
		assert_text(r->exception.reason, text(exception, "reason"));
		assert_int_equal(r->exception.type, number(exception, "type"));
		assert_int_equal(rpc_put_return_exception(again, r->answer, r->exception.type,
							  r->exception.reason),
				 0);
	} else {
		assert_int_equal(r->kind, RPC_RESULTS);
		check_results(r, want, again);
	}
}

/* --- All ------------------------------------------------------------------------------------- */

static void check_message(const struct rpc_message *m, json_t *want, struct buf *again)
{
	const char *which = text(want, "which");

	if (strcmp(which, "bootstrap") == 0) {
		assert_int_equal(m->kind, RPC_BOOTSTRAP);
		assert_int_equal(m->bootstrap, number(want, "questionId"));
		assert_int_equal(rpc_put_bootstrap(again, m->bootstrap), 0);
	} else if (strcmp(which, "call") == 0) {
		assert_int_equal(m->kind, RPC_CALL);
		check_call(&m->call, want, again);
	} else if (strcmp(which, "return") == 0) {
		assert_int_equal(m->kind, RPC_RETURN);
		check_return(&m->ret, want, again);
	} else if (strcmp(which, "finish") == 0) {
		assert_int_equal(m->kind, RPC_FINISH);
		assert_int_equal(m->finish.question, number(want, "questionId"));
		assert_int_equal(m->finish.release_caps, truth(want, "releaseResultCaps"));
		assert_int_equal(rpc_put_finish(again, m->finish.question, m->finish.release_caps),
				 0);
	} else if (strcmp(which, "release") == 0) {
		assert_int_equal(m->kind, RPC_RELEASE);
		assert_int_equal(m->release.id, number(want, "id"));
		assert_int_equal(m->release.count, number(want, "referenceCount"));
		assert_int_equal(rpc_put_release(again, m->release.id, m->release.count), 0);
	} else {
		json_t *exception = json_object_get(want, "exception");
		assert_string_equal(which, "abort");
		assert_int_equal(m->kind, RPC_ABORT);
		assert_text(m->abort.reason, text(exception, "reason"));
		assert_int_equal(m->abort.type, number(exception, "type"));
		assert_int_equal(rpc_put_abort(again, m->abort.reason), 0);
	}
}

/* An empty text: stock writes null in some places and one NUL in others. Ours is null. */
static bool has_empty_text(json_t *want)
{
	json_t *params = json_object_get(want, "params");

	return json_object_get(params, "traceContext") && !*text(params, "traceContext");
}

static void every_vector_decodes_and_encodes_to_the_same_bytes(void **state)
{
	json_t *vectors = vectors_load();
	json_t *v;
	size_t i, count = 0;

	json_array_foreach(vectors, i, v)
	{
		struct buf bytes, again;
		struct rpc_message m;
		struct err err = { 0 };

		if (strcmp(vector_text(v, "kind"), "rpc-message") != 0)
			continue;
		buf_init(&bytes, 4096);
		buf_init(&again, 4096);
		vector_bytes(v, &bytes);
		if (rpc_decode(buf_bytes(&bytes), &m, &err) < 0)
			fail_msg("%s: %s", vector_text(v, "name"), err.text);
		check_message(&m, json_object_get(v, "decoded"), &again);
		if (!has_empty_text(json_object_get(v, "decoded")) &&
		    !bytes_eq(buf_bytes(&bytes), buf_bytes(&again))) {
			char *a = hex_text(buf_bytes(&bytes)), *b = hex_text(buf_bytes(&again));
			fail_msg("%s\nstock %s\nours  %s", vector_text(v, "name"), a, b);
		}
		assert_int_equal(rpc_decode(buf_bytes(&again), &m, &err), 0);
		struct buf third;
		buf_init(&third, 4096);
		check_message(&m, json_object_get(v, "decoded"), &third);
		assert_bytes_equal(buf_bytes(&again), buf_bytes(&third));
		buf_done(&bytes);
		buf_done(&again);
		buf_done(&third);
		count++;
	}
	assert_true(count > 80);
	json_decref(vectors);
}

/* --- What vectors do not have ------------------------------------------------------------------ */

static void decode_hex(const char *hex, struct buf *bytes, struct rpc_message *m)
{
	buf_init(bytes, 4096);
	hex_append(bytes, hex);
	assert_int_equal(rpc_decode(buf_bytes(bytes), m, NULL), 0);
}

static void a_target_inside_an_answer_is_told_apart(void **state)
{
	/* A call to the answer of question 0 with ops [noop, getPointerField 2]. */
	struct capnp_writer w;
	struct buf out;
	struct rpc_message m;

	buf_init(&out, 1024);
	struct capnp_ref root = capnp_begin(&w, &out, 1, 1);
	capnp_put_u16(&w, root, 0, RPC_CALL);
	struct capnp_ref call = capnp_put_struct(&w, root, 0, 3, 3);
	struct capnp_ref target = capnp_put_struct(&w, call, 0, 1, 1);
	capnp_put_u16(&w, target, 4, 1);
	struct capnp_ref answer = capnp_put_struct(&w, target, 0, 1, 1);
	struct capnp_ref op = capnp_put_struct_list(&w, answer, 0, 2, 1, 0);
	capnp_put_u16(&w, capnp_element(op, 1), 0, 1);
	capnp_put_u16(&w, capnp_element(op, 1), 2, 2);
	assert_int_equal(capnp_end(&w), 0);
	assert_int_equal(rpc_decode(buf_bytes(&out), &m, NULL), 0);
	assert_int_equal(m.call.target.kind, RPC_TO_ANSWER);
	assert_true(m.call.target.has_path);
	assert_null(m.call.params.message);
	struct rpc_registration r;
	struct err err;
	assert_int_equal(rpc_get_registration(&m.call, &r, &err), E_PROTOCOL);
	assert_string_equal(err.text, "registerConnection without parameters");
	buf_done(&out);
}

static void an_unknown_message_is_sent_back_whole(void **state)
{
	/* Resolve(promiseId 7) as data, 1 pointer. */
	struct buf bytes, out;
	struct rpc_message m;

	decode_hex("0000000005000000"
		   "0000000001000100"
		   "0500000000000000"
		   "0000000001000100"
		   "0700000001000000"
		   "0000000000000000",
		   &bytes, &m);
	assert_int_equal(m.kind, RPC_RESOLVE);
	buf_init(&out, 1024);
	assert_int_equal(rpc_put_unimplemented(&out, buf_bytes(&bytes)), 0);
	assert_int_equal(rpc_decode(buf_bytes(&out), &m, NULL), 0);
	assert_int_equal(m.kind, RPC_UNIMPLEMENTED);
	struct capnp_struct inner = capnp_struct_at(capnp_root(&m.capnp), 0);
	assert_int_equal(capnp_u16(inner, 0), RPC_RESOLVE);
	assert_int_equal(capnp_u32(capnp_struct_at(inner, 0), 0), 7);
	assert_true(capnp_ok(&m.capnp));
	buf_done(&bytes);
	buf_done(&out);
}

static void an_unknown_message_in_two_segments_is_sent_back_as_its_tag(void **state)
{
	/* Two segments: a far root pointer, a Message with tag 13 in the other one. */
	struct buf bytes, out;
	struct rpc_message m;

	decode_hex("0100000001000000"
		   "0300000000000000"
		   "0200000001000000"
		   "0000000001000100"
		   "0d00000000000000"
		   "0000000000000000",
		   &bytes, &m);
	assert_int_equal(m.kind, RPC_DISEMBARGO);
	buf_init(&out, 1024);
	assert_int_equal(rpc_put_unimplemented(&out, buf_bytes(&bytes)), 0);
	assert_int_equal(rpc_decode(buf_bytes(&out), &m, NULL), 0);
	assert_int_equal(m.kind, RPC_UNIMPLEMENTED);
	assert_int_equal(capnp_u16(capnp_struct_at(capnp_root(&m.capnp), 0), 0), RPC_DISEMBARGO);
	buf_done(&bytes);
	buf_done(&out);
}

static void a_canceled_return_reads_back(void **state)
{
	struct buf out;
	struct rpc_message m;

	buf_init(&out, 1024);
	assert_int_equal(rpc_put_return_canceled(&out, 9), 0);
	assert_int_equal(rpc_decode(buf_bytes(&out), &m, NULL), 0);
	assert_int_equal(m.ret.kind, RPC_CANCELED);
	assert_int_equal(m.ret.answer, 9);
	buf_done(&out);
}

static int try_registration(const struct rpc_registration *r, struct err *err)
{
	struct buf out;
	struct rpc_message m;
	struct rpc_registration got;
	struct rpc_target target = { .kind = RPC_TO_CAPABILITY };

	buf_init(&out, 65536);
	assert_int_equal(rpc_put_register(&out, 1, &target, r), 0);
	assert_int_equal(rpc_decode(buf_bytes(&out), &m, NULL), 0);
	int rc = rpc_get_registration(&m.call, &got, err);
	buf_done(&out);
	return rc;
}

static void registrations_out_of_bounds_are_refused(void **state)
{
	static uint8_t long_text[LIMIT_FEATURE_BYTES + 1];
	struct err err;
	struct rpc_registration r = {
		.tunnel = BYTES_LIT("0123456789abcdef"),
		.connector = BYTES_LIT("0123456789abcdef"),
		.feature_count = LIMIT_FEATURES,
	};

	memset(long_text, 'x', sizeof(long_text));
	assert_int_equal(try_registration(&r, &err), 0);
	struct rpc_registration bad = r;
	bad.tunnel = BYTES_LIT("0123456789abcde");
	assert_int_equal(try_registration(&bad, &err), E_PROTOCOL);
	assert_string_equal(err.text, "tunnel id of 15 bytes");
	bad = r;
	bad.connector = BYTES_NONE;
	assert_int_equal(try_registration(&bad, &err), E_PROTOCOL);
	bad = r;
	bad.local_ip = BYTES_LIT("12345");
	assert_int_equal(try_registration(&bad, &err), E_PROTOCOL);
	bad = r;
	bad.features[LIMIT_FEATURES - 1] = bytes_of(long_text, sizeof(long_text));
	assert_int_equal(try_registration(&bad, &err), E_LIMIT);
	bad = r;
	bad.version = bytes_of(long_text, sizeof(long_text));
	assert_int_equal(try_registration(&bad, &err), E_LIMIT);
}

static void encoders_leave_a_full_buffer_unchanged(void **state)
{
	for (size_t max = 1; max < 96; max++) {
		struct buf out;

		buf_init(&out, max);
		assert_int_equal(buf_append_str(&out, "x"), 0);
		assert_int_equal(rpc_put_return_capability(&out, 1, 2), E_LIMIT);
		assert_int_equal(rpc_put_return_empty(&out, 1), max > 80 ? 0 : E_LIMIT);
		if (max <= 80)
			assert_text(buf_bytes(&out), "x");
		buf_done(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_vector_decodes_and_encodes_to_the_same_bytes),
		cmocka_unit_test(a_target_inside_an_answer_is_told_apart),
		cmocka_unit_test(an_unknown_message_is_sent_back_whole),
		cmocka_unit_test(an_unknown_message_in_two_segments_is_sent_back_as_its_tag),
		cmocka_unit_test(a_canceled_return_reads_back),
		cmocka_unit_test(registrations_out_of_bounds_are_refused),
		cmocka_unit_test(encoders_leave_a_full_buffer_unchanged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
