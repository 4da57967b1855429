/* Whole and as a connection brings it, at least as many bytes at a time as were said to be missing: the same name. */
#include "edge/listen/client_hello.h"

#include <string.h>

#include "base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct client_hello hello, again;
	size_t len = 0, missing;
	int rc;

	if (size > CLIENT_HELLO_MAX)
		size = CLIENT_HELLO_MAX;
	while ((rc = client_hello_parse(bytes_of(data, len), &hello, &missing)) == E_AGAIN) {
		BUG_IF(missing == 0 || missing > CLIENT_HELLO_MAX - len);
		if (missing > size - len)
			return 0;
		len += missing;
	}
	BUG_IF(rc != 0 && hello.name[0]);
	BUG_IF(strlen(hello.name) >= sizeof(hello.name));
	BUG_IF(client_hello_parse(bytes_of(data, len), &again, &missing) != rc);
	BUG_IF(strcmp(hello.name, again.name) != 0);
	return 0;
}
