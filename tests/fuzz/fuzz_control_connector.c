/* Any bytes from an edge into the connector's end. The first byte says how they are cut and whether the
 * connector sends its configuration and leaves. */
#include <stdlib.h>

#include "base/limits.h"
#include "transport/control.h"

struct owner {
	struct control *control;
	bool is_leaving;
	int registered;
};

static void on_registered(void *ctx, const struct registered *r)
{
	struct owner *o = ctx;

	if (o->registered++ || control_is_done(o->control) == r->ok)
		abort();
	if (o->is_leaving && r->ok) {
		if (control_send_local_config(o->control, BYTES_LIT("{}"), NULL) < 0)
			abort();
		control_unregister(o->control);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct control_events events = { .on_registered = on_registered };
	static const struct registration registration = {
		.account = { (const uint8_t *)"account", 7 },
		.secret = { (const uint8_t *)"secret", 6 },
	};
	struct bytes in = bytes_from(bytes_of(data, size), 1);
	uint8_t how = size ? data[0] : 0;
	struct owner o = { .is_leaving = how & 1 };
	size_t step = (how >> 1) + 1u;

	o.control = control_new(SESSION_CONNECTOR, &events, &o, &registration);
	for (; in.len; in = bytes_from(in, step)) {
		if (control_feed(o.control, bytes_first(in, step), NULL) < 0)
			break;
		control_sent(o.control, control_output(o.control).len);
	}
	control_free(o.control);
	return 0;
}
