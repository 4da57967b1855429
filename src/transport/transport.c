#include "transport/transport.h"

#include "base/limits.h"

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

bool feature_is_label(struct bytes label)
{
	if (label.len == 0 || label.len > LIMIT_REPLICA_LABEL_BYTES || label.ptr[0] == ' ' ||
	    label.ptr[label.len - 1] == ' ')
		return false;
	for (size_t i = 0; i < label.len; i++)
		if (label.ptr[i] < ' ' || label.ptr[i] > '~' || strchr(",\"\\", label.ptr[i]))
			return false;
	return true;
}

bool session_report(struct session *s, struct bytes json)
{
	return s->transport->report && session_has_feature(s, FEATURE_HEALTH) &&
	       s->transport->report(s, json);
}
