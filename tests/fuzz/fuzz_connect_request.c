/* Any bytes as the head of a QUIC data stream, request and response. */
#include "wire/connect_request.h"

static void read_pairs(const struct connect_head *head)
{
	struct connect_pair pair;

	for (uint32_t i = 0; i < head->pairs.count; i++)
		if (connect_pair_at(head, i, &pair) < 0)
			return;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes front = bytes_of(data, size);
	struct connect_head head;
	size_t len = 0;

	if (connect_head_size(front, &len, NULL) < 0 || len > size)
		return 0;
	if (connect_get_request(bytes_first(front, len), &head, NULL) == 0)
		read_pairs(&head);
	if (connect_get_response(bytes_first(front, len), &head, NULL) == 0)
		read_pairs(&head);
	return 0;
}
