#include "transport/transport.h"

const char *reason_text(enum reason why)
{
	switch (why) {
	case REASON_DONE:
		return "done";
	case REASON_CANCELLED:
		return "cancelled";
	case REASON_FAILED:
		return "failed";
	case REASON_REFUSED:
		return "refused";
	case REASON_PROTOCOL:
		return "protocol error";
	case REASON_LOST:
		return "connection lost";
	case REASON_TIMEOUT:
		return "timeout";
	case REASON_FLOOD:
		return "too many requests";
	}
	return "unknown";
}
