/* RegistrationServer, the interface an edge serves on the control stream: its parameters and results
 * (PROTOCOL.md §3.3, §3.4). Decoders borrow from the message, encoders append as those of rpc.h. */
#pragma once

#include "wire/rpc.h"

#define RPC_REGISTRATION_INTERFACE 0xf71695ec7fe85497u

enum rpc_registration_method {
	RPC_REGISTER_CONNECTION = 0,
	RPC_UNREGISTER_CONNECTION = 1,
	RPC_UPDATE_LOCAL_CONFIGURATION = 2,
};

struct rpc_registration {
	struct bytes account; /* text */
	struct bytes secret;  /* raw */
	struct bytes tunnel;  /* 16 bytes; checked by the decoder */
	uint8_t index;
	/* options */
	struct bytes connector; /* clientId, 16 bytes; checked */
	struct bytes features[LIMIT_FEATURES];
	size_t feature_count;
	struct bytes version, arch;
	struct bytes local_ip; /* as sent: 0, 4 or 16 bytes; checked */
	bool replace_existing;
	uint8_t compression_quality;
	uint8_t attempts;
};

struct rpc_registered {
	bool ok;
	/* ok */
	struct bytes connection; /* 16 bytes; the decoder checks */
	struct bytes location;
	bool remotely_managed;
	struct bytes features; /* of ours: the edge's, comma-separated; a stock edge sends none */
	/* not ok */
	struct bytes cause;
	bool should_retry;
	int64_t retry_after_ns;
};

/* E_PROTOCOL: malformed or a field of the wrong length; E_LIMIT: more features, or longer texts, than
 * LIMIT_FEATURES and LIMIT_FEATURE_BYTES. */
int rpc_get_registration(const struct rpc_call *call, struct rpc_registration *ret,
			 struct err *err) MUST_USE;
int rpc_get_registered(const struct rpc_return *r, struct rpc_registered *ret,
		       struct err *err) MUST_USE;
int rpc_get_local_configuration(const struct rpc_call *call, struct bytes *ret_json,
				struct err *err) MUST_USE;

int rpc_put_register(struct buf *out, uint32_t question, const struct rpc_target *target,
		     const struct rpc_registration *r) MUST_USE;
int rpc_put_registered(struct buf *out, uint32_t answer, const struct rpc_registered *r) MUST_USE;
int rpc_put_unregister(struct buf *out, uint32_t question, const struct rpc_target *target) MUST_USE;
int rpc_put_local_configuration(struct buf *out, uint32_t question, const struct rpc_target *target,
				struct bytes json) MUST_USE;
