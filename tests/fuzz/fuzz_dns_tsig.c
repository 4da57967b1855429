/* Any bytes as a signed message: the signature is found or not, within bounds, and nobody's key fits. What we sign is
 * good, and not any more with one bit changed. */
#include <string.h>

#include "base/check.h"
#include "edge/dns/tsig.h"
#include "edge/dns/tsig_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct dns_tsig_key key = { "key.example", "hmac-sha256.",
					 "c2VjcmV0IG9mIDMyIGJ5dGVzLCBubyBsZXNzLCBvaw==" };

static enum dns_tsig verify(struct bytes message)
{
	const struct dns_tsig_key *found = NULL;
	struct dns_tsig_mac mac = { .len = 0 };
	enum dns_tsig verdict = dns_tsig_verify(message, &key, 1, clock_wall_now(), &found, &mac);

	if (verdict == DNS_TSIG_GOOD)
		BUG_IF(found != &key || mac.len != 32);
	return verdict;
}

/* The id is not covered (the original one is in the record), nor is the case of names. */
static void sign_and_change(struct bytes message, size_t bit)
{
	uint8_t copy[1024];
	struct dns_tsig_mac mac = { .len = 0 };
	struct dns_tsig_record t;
	size_t len = message.len;

	if (len < 12 || len > 512 || dns_tsig_find(message, &t) != DNS_TSIG_ABSENT)
		return;
	memcpy(copy, message.ptr, len);
	if (!dns_tsig_sign(copy, &len, sizeof(copy), &key, clock_wall_now(), &mac, false))
		return;
	/* What stood behind the message is none of its records: then the signature is not found. */
	if (dns_tsig_find(bytes_of(copy, len), &t) != DNS_TSIG_PRESENT || t.at != message.len)
		return;
	BUG_IF(verify(bytes_of(copy, len)) != DNS_TSIG_GOOD);
	bit = 16 + bit % (8 * len - 16);
	copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
	BUG_IF(bit % 8 != 5 && verify(bytes_of(copy, len)) == DNS_TSIG_GOOD);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t answer[4096];
	struct dns_tsig_record t;

	if (size < 2)
		return 0;
	struct bytes message = bytes_of(data + 2, size - 2);
	enum dns_tsig_found found = dns_tsig_find(message, &t);
	if (found == DNS_TSIG_PRESENT) {
		BUG_IF(t.at < 12 || t.at >= message.len);
		BUG_IF(t.name.len == 0 || t.name.len > DNS_NAME_BYTES ||
		       t.name.bytes[t.name.len - 1]);
		BUG_IF(t.mac.len + t.other.len > message.len);
	}
	BUG_IF((found == DNS_TSIG_ABSENT) != (verify(message) == DNS_TSIG_NONE));
	BUG_IF(verify(message) == DNS_TSIG_GOOD);
	sign_and_change(message, (size_t)data[0] << 8 | data[1]);
	if (message.len >= 12 && message.len <= sizeof(answer) && found != DNS_TSIG_ABSENT) {
		size_t len = message.len;
		memcpy(answer, message.ptr, len);
		dns_tsig_answer(message, &key, 1, clock_wall_now(), answer, &len, sizeof(answer));
		/* Never longer than what came, but for names that were compressed. */
		BUG_IF(len > 12 + 2 * DNS_NAME_BYTES + 26 || (answer[3] != 9 && answer[3] != 1));
		BUG_IF(len > 12 && dns_tsig_error(bytes_of(answer, len)) < DNS_TSIG_BAD_MAC);
	}
	return 0;
}
