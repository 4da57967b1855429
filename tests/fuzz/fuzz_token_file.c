/* A stored token, or what stands where one should: its claims, read before anything is verified. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "connector/cli/token_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *claims = token_claims(bytes_of(data, size));
	char *text = mem_strndup(bytes_of(data, size)), *part = token_file_part(text);

	(void)token_is_for(claims, "app");
	if (part)
		BUG_IF(strchr(part, '/'));
	mem_free(part);
	mem_free(text);
	json_decref(claims);
	return 0;
}
