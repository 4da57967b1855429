/* Any bytes from a connector into the edge's end. The first byte says how they are cut and whether the
 * registration is answered at once, later, or never. */
#include <stdlib.h>

#include "base/limits.h"
#include "transport/control.h"

struct owner {
	struct control *control;
	bool is_prompt;
};

static const struct registered accepted = { .ok = true, .location = { (const uint8_t *)"x", 1 } };

static void on_register(void *ctx, const struct registration *r)
{
	struct owner *o = ctx;

	if (r->feature_count > LIMIT_FEATURES || r->secret.len > CONTROL_SECRET_BYTES)
		abort();
	if (o->is_prompt && !control_reply(o->control, &accepted))
		abort();
}

static void on_local_config(void *ctx, struct bytes json)
{
	if (json.len && !json.ptr)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct control_events events = {
		.on_register = on_register,
		.on_local_config = on_local_config,
	};
	struct bytes in = bytes_from(bytes_of(data, size), 1);
	uint8_t how = size ? data[0] : 0;
	struct owner o = { .is_prompt = how & 1 };
	size_t step = (how >> 2) + 1u;

	o.control = control_new(SESSION_EDGE, &events, &o, NULL);
	for (; in.len; in = bytes_from(in, step)) {
		if (control_feed(o.control, bytes_first(in, step), NULL) < 0)
			break;
		if (how & 2) {
			(void)control_reply(o.control, &accepted);
			control_sent(o.control, control_output(o.control).len / 2);
		}
	}
	control_free(o.control);
	return 0;
}
