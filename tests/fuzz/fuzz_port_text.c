/* What people write about public ports: ranges, and where a port leads. */
#include <assert.h>
#include <string.h>

#include "edge/ports/port_allow.h"
#include "edge/ports/port_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct port_range range;
	struct port_target target, again;

	if (port_range_parse(bytes_of(data, size), &range, NULL) == 0) {
		assert(range.first >= 1 && range.first <= range.last);
		assert(range.has[PORT_TCP] || range.has[PORT_UDP]);
	}
	if (port_target_parse(bytes_of(data, size), &target, NULL) == 0) {
		/* The one form is its own one form. */
		assert(port_target_parse(bytes_str(target.text), &again, NULL) == 0);
		assert(strcmp(target.text, again.text) == 0);
		assert(target.is_address == again.is_address);
	}
	return 0;
}
