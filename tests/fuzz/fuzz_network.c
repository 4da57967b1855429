/* What is taken for a network has one text, which is the same network. */
#include "base/check.h"
#include "io/network.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct network n, again;
	char text[NETWORK_TEXT_SIZE];
	uint8_t last[16];

	if (!network_parse(bytes_of(data, size), &n))
		return 0;
	network_text(&n, text);
	BUG_IF(!network_parse(bytes_str(text), &again));
	BUG_IF(again.bits != n.bits || memcmp(again.ip, n.ip, sizeof(n.ip)) != 0);
	BUG_IF(!network_holds(&n, &n));
	network_last(&n, last);
	struct network end = { .bits = 128 };
	memcpy(end.ip, last, sizeof(last));
	/* An IPv6 network can end in the range that stands for IPv4 (::/80), of which it holds nothing. */
	BUG_IF(network_holds(&n, &end) != (network_is_v4(&n) == network_is_v4(&end)));
	return 0;
}
