/* Any bytes as what traceroute printed. */
#include <stdlib.h>

#include "connector/cli/diag.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *hops = diag_parse_hops(bytes_of(data, size)), *hop;
	size_t i;

	json_array_foreach(hops, i, hop)
	{
		json_int_t number = json_integer_value(json_object_get(hop, "hop"));
		if (number < 1 || !*json_text_at(hop, "domain"))
			abort();
	}
	json_decref(hops);
	return 0;
}
