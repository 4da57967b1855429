/* A connector's report about its services, and a host that is looked up in it. */
#include <stdlib.h>

#include "edge/tunnels/service_report.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes host = bytes_first(bytes_of(data, size), size ? data[0] % 40 : 0);
	struct service_report *r =
		service_report_parse(size ? bytes_of(data + 1, size - 1) : BYTES_NONE);

	if (!r)
		return 0;
	if (r->unhealthy > r->checked || r->checked > r->count)
		abort();
	(void)service_report_is_down(r, host);
	json_t *json = service_report_json(r);
	if (json_array_size(json) != r->checked)
		abort();
	json_decref(json);
	service_report_unref(r);
	return 0;
}
