#include "base/bytes.h"

bool bytes_to_u64(struct bytes b, uint64_t *ret_value)
{
	uint64_t value = 0;

	if (b.len == 0)
		return false;
	for (size_t i = 0; i < b.len; i++) {
		if (b.ptr[i] < '0' || b.ptr[i] > '9')
			return false;
		if (__builtin_mul_overflow(value, (uint64_t)10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(b.ptr[i] - '0'), &value))
			return false;
	}
	*ret_value = value;
	return true;
}
