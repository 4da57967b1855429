/* Units and scripts of init systems, which anybody may have written. */
#include "connector/cli/unit_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct unit_file u;

	(void)unit_file_parse(bytes_of(data, size), "cloudflared", &u);
	unit_file_variables(&u, bytes_of(data, size));
	unit_file_done(&u);
	return 0;
}
