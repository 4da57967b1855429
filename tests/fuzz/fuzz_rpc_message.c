/* Any bytes as an RPC message: every decoder there is over it, and the way back as Unimplemented. */
#include <stdlib.h>

#include "wire/rpc_registration.h"
#include "wire/rpc_session.h"

static void read_call(const struct rpc_call *call)
{
	struct rpc_registration r;
	struct rpc_udp_session s;
	struct bytes a, b;
	int32_t version;
	struct buf out;

	buf_init(&out, 1 << 20);
	/* What was understood can be said again. */
	if (rpc_get_registration(call, &r, NULL) == 0 &&
	    rpc_put_register(&out, call->question, &call->target, &r) < 0)
		abort();
	(void)(rpc_get_local_configuration(call, &a, NULL) == 0);
	(void)(rpc_get_register_udp(call, &s, NULL) == 0);
	(void)(rpc_get_unregister_udp(call, &a, &b, NULL) == 0);
	(void)(rpc_get_configuration(call, &version, &a, NULL) == 0);
	buf_done(&out);
}

static void read_return(const struct rpc_return *r)
{
	struct rpc_registered registered;
	struct bytes a, b;
	int32_t version;

	(void)(rpc_get_registered(r, &registered, NULL) == 0);
	(void)(rpc_get_registered_udp(r, &a, &b, NULL) == 0);
	(void)(rpc_get_configured(r, &version, &a, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rpc_message m;
	struct buf out;

	if (size > LIMIT_RPC_UNREGISTERED_BYTES || rpc_decode(bytes_of(data, size), &m, NULL) < 0)
		return 0;
	if (m.kind == RPC_CALL)
		read_call(&m.call);
	if (m.kind == RPC_RETURN)
		read_return(&m.ret);
	buf_init(&out, 1 << 20);
	if (rpc_put_unimplemented(&out, bytes_of(data, size)) < 0 ||
	    rpc_decode(buf_bytes(&out), &m, NULL) < 0 || m.kind != RPC_UNIMPLEMENTED)
		abort();
	buf_done(&out);
	return 0;
}
