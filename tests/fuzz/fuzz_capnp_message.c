/* Any bytes as a Cap'n Proto message: walks everything it points at. */
#include <stdlib.h>

#include "wire/capnp.h"

static void walk(struct capnp_struct s)
{
	for (uint32_t i = 0; i < s.pointer_count && capnp_ok(s.message); i++) {
		uint32_t cap;

		switch (capnp_kind_of(s, i)) {
		case CAPNP_STRUCT:
			walk(capnp_struct_at(s, i));
			break;
		case CAPNP_LIST: {
			struct capnp_list l = capnp_list_at(s, i);
			for (uint32_t k = 0; k < l.count && capnp_ok(l.message); k++) {
				if (l.size == CAPNP_BIT)
					(void)capnp_list_bool(l, k);
				else if (l.size == CAPNP_COMPOSITE || l.size == CAPNP_POINTER)
					walk(capnp_list_struct(l, k));
				else
					(void)capnp_u64(capnp_list_struct(l, k), 0);
			}
			break;
		}
		case CAPNP_CAPABILITY:
			(void)capnp_capability(s, i, &cap);
			break;
		case CAPNP_NULL:
			break;
		}
	}
	for (uint32_t at = 0; at < s.data_bytes; at += 8)
		(void)capnp_u64(s, at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct capnp_message m;
	struct bytes front = bytes_of(data, size);
	size_t frame = 0;

	if (capnp_frame_size(front, LIMIT_RPC_BYTES, &frame, NULL) < 0 || frame > size)
		return 0;
	if (capnp_open(bytes_first(front, frame), &m, NULL) < 0)
		abort();
	walk(capnp_root(&m));
	return 0;
}
