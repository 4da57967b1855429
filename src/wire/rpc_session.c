#include "wire/rpc_session.h"

#define UUID_BYTES 16

static int check_params(const struct rpc_call *call, const char *method, struct err *err)
{
	if (!call->params.message)
		return err_set(err, E_PROTOCOL, "%s without parameters", method);
	return capnp_check(call->params.message, err);
}

static int check_results(const struct rpc_return *r, const char *method, struct err *err)
{
	if (!r->results.message)
		return err_set(err, E_PROTOCOL, "%s answered without a result", method);
	return capnp_check(r->results.message, err);
}

/* --- registerUdpSession ---------------------------------------------------------------------- */

int rpc_get_register_udp(const struct rpc_call *call, struct rpc_udp_session *ret, struct err *err)
{
	struct capnp_struct p = call->params;

	*ret = (struct rpc_udp_session){
		.session = capnp_data(p, 0),
		.address = capnp_data(p, 1),
		.port = capnp_u16(p, 0),
		.idle_ns = (int64_t)capnp_u64(p, 8),
		.trace = capnp_text(p, 2),
	};
	int rc = check_params(call, "registerUdpSession", err);
	if (rc < 0)
		return rc;
	if (ret->session.len != UUID_BYTES)
		return err_set(err, E_PROTOCOL, "session id of %zu bytes", ret->session.len);
	if (ret->address.len != 4 && ret->address.len != 16)
		return err_set(err, E_PROTOCOL, "address of %zu bytes", ret->address.len);
	return 0;
}

int rpc_put_register_udp(struct buf *out, uint32_t question, const struct rpc_target *target,
			 const struct rpc_udp_session *s)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_call(&w, out, question, target, RPC_SESSION_INTERFACE,
						  RPC_REGISTER_UDP_SESSION);
	struct capnp_ref p = capnp_put_struct(&w, payload, 0, 2, 3);

	capnp_put_u16(&w, p, 0, s->port);
	capnp_put_u64(&w, p, 8, (uint64_t)s->idle_ns);
	capnp_put_data(&w, p, 0, s->session);
	capnp_put_data(&w, p, 1, s->address);
	capnp_put_text(&w, p, 2, s->trace);
	return rpc_end_payload(&w, payload);
}

int rpc_get_registered_udp(const struct rpc_return *r, struct bytes *ret_error,
			   struct bytes *ret_spans, struct err *err)
{
	struct capnp_struct response = capnp_struct_at(r->results, 0);
	struct bytes error = capnp_text(response, 0);
	struct bytes spans = capnp_data(response, 1);
	int rc = check_results(r, "registerUdpSession", err);

	if (rc == 0) {
		*ret_error = error;
		*ret_spans = spans;
	}
	return rc;
}

int rpc_put_registered_udp(struct buf *out, uint32_t answer, struct bytes error, struct bytes spans)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_results(&w, out, answer);
	struct capnp_ref results = capnp_put_struct(&w, payload, 0, 0, 1);
	struct capnp_ref response = capnp_put_struct(&w, results, 0, 0, 2);

	capnp_put_text(&w, response, 0, error);
	capnp_put_data(&w, response, 1, spans);
	return rpc_end_payload(&w, payload);
}

/* --- unregisterUdpSession -------------------------------------------------------------------- */

int rpc_get_unregister_udp(const struct rpc_call *call, struct bytes *ret_session,
			   struct bytes *ret_message, struct err *err)
{
	struct bytes session = capnp_data(call->params, 0);
	struct bytes message = capnp_text(call->params, 1);
	int rc = check_params(call, "unregisterUdpSession", err);

	if (rc < 0)
		return rc;
	if (session.len != UUID_BYTES)
		return err_set(err, E_PROTOCOL, "session id of %zu bytes", session.len);
	*ret_session = session;
	*ret_message = message;
	return 0;
}

int rpc_put_unregister_udp(struct buf *out, uint32_t question, const struct rpc_target *target,
			   struct bytes session, struct bytes message)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_call(&w, out, question, target, RPC_SESSION_INTERFACE,
						  RPC_UNREGISTER_UDP_SESSION);
	struct capnp_ref p = capnp_put_struct(&w, payload, 0, 0, 2);

	capnp_put_data(&w, p, 0, session);
	capnp_put_text(&w, p, 1, message);
	return rpc_end_payload(&w, payload);
}

/* --- updateConfiguration --------------------------------------------------------------------- */

int rpc_get_configuration(const struct rpc_call *call, int32_t *ret_version, struct bytes *ret_json,
			  struct err *err)
{
	int32_t version = (int32_t)capnp_u32(call->params, 0);
	struct bytes json = capnp_data(call->params, 0);
	int rc = check_params(call, "updateConfiguration", err);

	if (rc == 0) {
		*ret_version = version;
		*ret_json = json;
	}
	return rc;
}

int rpc_put_configuration(struct buf *out, uint32_t question, const struct rpc_target *target,
			  int32_t version, struct bytes json)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_call(
		&w, out, question, target, RPC_CONFIGURATION_INTERFACE, RPC_UPDATE_CONFIGURATION);
	struct capnp_ref p = capnp_put_struct(&w, payload, 0, 1, 1);

	capnp_put_u32(&w, p, 0, (uint32_t)version);
	capnp_put_data(&w, p, 0, json);
	return rpc_end_payload(&w, payload);
}

int rpc_get_configured(const struct rpc_return *r, int32_t *ret_version, struct bytes *ret_error,
		       struct err *err)
{
	struct capnp_struct response = capnp_struct_at(r->results, 0);
	int32_t version = (int32_t)capnp_u32(response, 0);
	struct bytes error = capnp_text(response, 0);
	int rc = check_results(r, "updateConfiguration", err);

	if (rc == 0) {
		*ret_version = version;
		*ret_error = error;
	}
	return rc;
}

int rpc_put_configured(struct buf *out, uint32_t answer, int32_t version, struct bytes error)
{
	struct capnp_writer w;
	struct capnp_ref payload = rpc_begin_results(&w, out, answer);
	struct capnp_ref results = capnp_put_struct(&w, payload, 0, 0, 1);
	struct capnp_ref response = capnp_put_struct(&w, results, 0, 1, 1);

	capnp_put_u32(&w, response, 0, (uint32_t)version);
	capnp_put_text(&w, response, 0, error);
	return rpc_end_payload(&w, payload);
}
