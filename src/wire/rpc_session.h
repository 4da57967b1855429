/* What travels on short RPC streams besides registration (PROTOCOL.md §3.3, §3.4): SessionManager, UDP
 * sessions of datagram v2, and ConfigurationManager, pushed configuration. Decoders borrow from the
 * message, encoders append as those of rpc.h; results without fields are rpc_put_return_empty(). */
#pragma once

#include "wire/rpc.h"

#define RPC_SESSION_INTERFACE 0x839445a59fb01686u
#define RPC_CONFIGURATION_INTERFACE 0xb48edfbdaa25db04u

enum rpc_session_method {
	RPC_REGISTER_UDP_SESSION = 0,
	RPC_UNREGISTER_UDP_SESSION = 1,
};

enum rpc_configuration_method {
	RPC_UPDATE_CONFIGURATION = 0,
};

struct rpc_udp_session {
	struct bytes session; /* 16 bytes; checked by the decoder */
	struct bytes address; /* 4 or 16 bytes, IPv4 also as ::ffff:a.b.c.d; checked */
	uint16_t port;
	int64_t idle_ns;    /* 0: the connector's default */
	struct bytes trace; /* text */
};

int rpc_get_register_udp(const struct rpc_call *call, struct rpc_udp_session *ret,
			 struct err *err) MUST_USE;
int rpc_put_register_udp(struct buf *out, uint32_t question, const struct rpc_target *target,
			 const struct rpc_udp_session *s) MUST_USE;
/* `error` is empty when the session was registered. */
int rpc_get_registered_udp(const struct rpc_return *r, struct bytes *ret_error,
			   struct bytes *ret_spans, struct err *err) MUST_USE;
int rpc_put_registered_udp(struct buf *out, uint32_t answer, struct bytes error,
			   struct bytes spans) MUST_USE;

int rpc_get_unregister_udp(const struct rpc_call *call, struct bytes *ret_session,
			   struct bytes *ret_message, struct err *err) MUST_USE;
int rpc_put_unregister_udp(struct buf *out, uint32_t question, const struct rpc_target *target,
			   struct bytes session, struct bytes message) MUST_USE;

int rpc_get_configuration(const struct rpc_call *call, int32_t *ret_version, struct bytes *ret_json,
			  struct err *err) MUST_USE;
int rpc_put_configuration(struct buf *out, uint32_t question, const struct rpc_target *target,
			  int32_t version, struct bytes json) MUST_USE;
/* `version` is the one in force afterwards; `error` is empty when the new one was applied. */
int rpc_get_configured(const struct rpc_return *r, int32_t *ret_version, struct bytes *ret_error,
		       struct err *err) MUST_USE;
int rpc_put_configured(struct buf *out, uint32_t answer, int32_t version,
		       struct bytes error) MUST_USE;
