/* HTTP/2 services. */
#include "connector/origin/origin_internal.h"

static void refuse(struct exchange *x)
{
	exchange_failed(x, FAILURE_CONNECTOR, 502, 0, "Service not supported",
			"Services of this kind are not available in this version.");
	exchange_fail(x);
}

void origin_h2_start(struct origin *o, struct exchange *x)
{
	(void)o;
	refuse(x);
}

void origin_h2_close(struct origin *o)
{
	(void)o;
}

void origin_h2_forget(struct origin *o)
{
	(void)o;
}
