/* What another name server may answer to NOTIFY and updates, signed and not. */
#include <string.h>

#include "base/check.h"
#include "edge/dns/ask.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct dns_tsig_key key = { "key.example", "hmac-sha256.",
						 "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw==" };
	static const struct dns_tsig_mac mac = { .len = 32 };
	struct dns_reply reply;

	if (size < 4)
		return 0;
	/* The id and opcode of the answer are those that were asked with, or all would be foreign. */
	const struct dns_asked asked = {
		.id = (uint16_t)(data[1] << 8 | data[2]),
		.opcode = data[3] >> 3 & 15,
		.key = data[0] & 1 ? &key : NULL,
		.mac = &mac,
	};
	enum dns_reply_verdict verdict =
		dns_reply_read(bytes_of(data + 1, size - 1), &asked, clock_wall_now(), &reply);
	BUG_IF(asked.key && verdict == DNS_REPLY_GOOD);
	if (verdict != DNS_REPLY_FOREIGN) {
		BUG_IF(strlen(dns_rcode_name(reply.rcode)) == 0);
		BUG_IF(strlen(dns_rcode_meaning(reply.tsig_error)) == 0);
	}
	return 0;
}
