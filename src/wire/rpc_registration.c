#include "wire/rpc_registration.h"

#define UUID_BYTES 16

/* --- registerConnection ---------------------------------------------------------------------- */

static int get_features(struct capnp_list list, struct rpc_registration *ret, struct err *err)
{
	if (list.count > LIMIT_FEATURES)
		return err_set(err, E_LIMIT, "%u features, at most %d are allowed", list.count,
			       LIMIT_FEATURES);
	for (uint32_t i = 0; i < list.count; i++) {
		ret->features[i] = capnp_list_text(list, i);
		if (ret->features[i].len > LIMIT_FEATURE_BYTES)
			return err_set(err, E_LIMIT, "feature of %zu bytes", ret->features[i].len);
	}
	ret->feature_count = list.count;
	return 0;
}

int rpc_get_registration(const struct rpc_call *call, struct rpc_registration *ret, struct err *err)
{
	struct capnp_struct params = call->params;
	struct capnp_struct auth = capnp_struct_at(params, 0);
	struct capnp_struct options = capnp_struct_at(params, 2);
	struct capnp_struct client = capnp_struct_at(options, 0);

	if (!params.message)
		return err_set(err, E_PROTOCOL, "registerConnection without parameters");
	ret->account = capnp_text(auth, 0);
	ret->secret = capnp_data(auth, 1);
	ret->tunnel = capnp_data(params, 1);
	ret->index = capnp_u8(params, 0);
	ret->replace_existing = capnp_bool(options, 0);
	ret->compression_quality = capnp_u8(options, 1);
	ret->attempts = capnp_u8(options, 2);
	ret->local_ip = capnp_data(options, 1);
	ret->connector = capnp_data(client, 0);
	ret->version = capnp_text(client, 2);
	ret->arch = capnp_text(client, 3);
	int rc = get_features(capnp_list_at(client, 1), ret, err);
	if (rc < 0)
		return rc;
	rc = capnp_check(params.message, err);
	if (rc < 0)
		return rc;
	if (ret->tunnel.len != UUID_BYTES)
		return err_set(err, E_PROTOCOL, "tunnel id of %zu bytes", ret->tunnel.len);
	if (ret->connector.len != UUID_BYTES)
		return err_set(err, E_PROTOCOL, "client id of %zu bytes", ret->connector.len);
	if (ret->local_ip.len != 0 && ret->local_ip.len != 4 && ret->local_ip.len != 16)
		return err_set(err, E_PROTOCOL, "origin address of %zu bytes", ret->local_ip.len);
	if (ret->version.len > LIMIT_FEATURE_BYTES || ret->arch.len > LIMIT_FEATURE_BYTES)
		return err_set(err, E_LIMIT, "version or architecture too long");
	return 0;
}

int rpc_put_register(struct buf *out, uint32_t question, const struct rpc_target *target,
		     const struct rpc_registration *r)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_call(
		&w, out, question, target, RPC_REGISTRATION_INTERFACE, RPC_REGISTER_CONNECTION);
	struct capnp_ref params = capnp_put_struct(&w, payload, 0, 1, 3);

	capnp_put_u8(&w, params, 0, r->index);
	struct capnp_ref auth = capnp_put_struct(&w, params, 0, 0, 2);
	capnp_put_text(&w, auth, 0, r->account);
	capnp_put_data(&w, auth, 1, r->secret);
	capnp_put_data(&w, params, 1, r->tunnel);
	struct capnp_ref options = capnp_put_struct(&w, params, 2, 1, 2);
	capnp_put_bool(&w, options, 0, r->replace_existing);
	capnp_put_u8(&w, options, 1, r->compression_quality);
	capnp_put_u8(&w, options, 2, r->attempts);
	struct capnp_ref client = capnp_put_struct(&w, options, 0, 0, 4);
	capnp_put_data(&w, client, 0, r->connector);
	struct capnp_ref features =
		capnp_put_pointer_list(&w, client, 1, (uint32_t)r->feature_count);
	for (size_t i = 0; i < r->feature_count; i++)
		capnp_put_text(&w, features, (uint32_t)i, r->features[i]);
	capnp_put_text(&w, client, 2, r->version);
	capnp_put_text(&w, client, 3, r->arch);
	capnp_put_data(&w, options, 1, r->local_ip);
	return rpc_end_payload(&w, payload);
}

int rpc_get_registered(const struct rpc_return *r, struct rpc_registered *ret, struct err *err)
{
	struct capnp_struct response = capnp_struct_at(r->results, 0);

	*ret = (struct rpc_registered){ .ok = capnp_u16(response, 0) == 1 };
	if (!r->results.message)
		return err_set(err, E_PROTOCOL, "registerConnection answered without a result");
	if (capnp_u16(response, 0) > 1)
		return err_set(err, E_PROTOCOL,
			       "registerConnection answered with an unknown result");
	struct capnp_struct member = capnp_struct_at(response, 0);
	if (ret->ok) {
		ret->connection = capnp_data(member, 0);
		ret->location = capnp_text(member, 1);
		ret->remotely_managed = capnp_bool(member, 0);
		ret->features = capnp_text(member, 2);
	} else {
		ret->cause = capnp_text(member, 0);
		ret->retry_after_ns = (int64_t)capnp_u64(member, 0);
		ret->should_retry = capnp_bool(member, 64);
	}
	int rc = capnp_check(r->results.message, err);
	if (rc < 0)
		return rc;
	if (ret->ok && ret->connection.len != UUID_BYTES)
		return err_set(err, E_PROTOCOL, "connection id of %zu bytes", ret->connection.len);
	return 0;
}

int rpc_put_registered(struct buf *out, uint32_t answer, const struct rpc_registered *r)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_results(&w, out, answer);
	struct capnp_ref results = capnp_put_struct(&w, payload, 0, 0, 1);
	struct capnp_ref response = capnp_put_struct(&w, results, 0, 1, 1);

	capnp_put_u16(&w, response, 0, r->ok);
	if (r->ok) {
		/* A third pointer is there only when somebody looks for it: stock messages stay as they are. */
		struct capnp_ref details =
			capnp_put_struct(&w, response, 0, 1, r->features.len ? 3 : 2);
		capnp_put_bool(&w, details, 0, r->remotely_managed);
		capnp_put_data(&w, details, 0, r->connection);
		capnp_put_text(&w, details, 1, r->location);
		if (r->features.len)
			capnp_put_text(&w, details, 2, r->features);
	} else {
		struct capnp_ref error = capnp_put_struct(&w, response, 0, 2, 1);
		capnp_put_u64(&w, error, 0, (uint64_t)r->retry_after_ns);
		capnp_put_bool(&w, error, 64, r->should_retry);
		capnp_put_text(&w, error, 0, r->cause);
	}
	return rpc_end_payload(&w, payload);
}

/* --- unregisterConnection, updateLocalConfiguration -------------------------------------------- */

int rpc_put_unregister(struct buf *out, uint32_t question, const struct rpc_target *target)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_call(
		&w, out, question, target, RPC_REGISTRATION_INTERFACE, RPC_UNREGISTER_CONNECTION);

	capnp_put_struct(&w, payload, 0, 0, 0);
	return rpc_end_payload(&w, payload);
}

int rpc_get_local_configuration(const struct rpc_call *call, struct bytes *ret_json, struct err *err)
{
	if (!call->params.message)
		return err_set(err, E_PROTOCOL, "updateLocalConfiguration without parameters");
	struct bytes json = capnp_data(call->params, 0);
	int rc = capnp_check(call->params.message, err);
	if (rc == 0)
		*ret_json = json;
	return rc;
}

int rpc_put_local_configuration(struct buf *out, uint32_t question, const struct rpc_target *target,
				struct bytes json)
{
	struct capnp_writer w;
	struct capnp_ref payload =
		rpc_begin_call(&w, out, question, target, RPC_REGISTRATION_INTERFACE,
			       RPC_UPDATE_LOCAL_CONFIGURATION);

	capnp_put_data(&w, capnp_put_struct(&w, payload, 0, 0, 1), 0, json);
	return rpc_end_payload(&w, payload);
}
