#include "transport/transport.h"

#include "base/limits.h"
#include "transport/udp_flow.h"

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

/* --- UDP --------------------------------------------------------------------------------------- */

bool session_can_open_udp(const struct session *s, bool is_hostname)
{
	return s->transport->can_open_udp && s->transport->can_open_udp(s, is_hostname);
}

struct udp_flow *session_open_udp(struct session *s, const struct udp_target *target,
				  int64_t idle_ms, const struct udp_flow_events *events, void *ctx)
{
	if (!session_can_open_udp(s, target->hostname.len > 0))
		return NULL;
	return s->transport->open_udp(s, target, idle_ms ? idle_ms : LIMIT_UDP_IDLE_MS, events, ctx);
}

void udp_flow_accept(struct udp_flow *f)
{
	f->session->transport->udp_accept(f);
}

void udp_flow_limit_idle(struct udp_flow *f, int64_t idle_ms)
{
	f->session->transport->udp_limit_idle(f, idle_ms);
}

bool udp_flow_send(struct udp_flow *f, struct bytes payload)
{
	return f->session->transport->udp_send(f, payload);
}

size_t udp_flow_max_payload(const struct udp_flow *f)
{
	return f->session->transport->udp_max_payload(f);
}

void udp_flow_close(struct udp_flow *f, enum reason why, struct bytes text)
{
	f->session->transport->udp_close(f, why, text);
}

const char *udp_drop_name(enum udp_drop why)
{
	static const char *const names[UDP_DROP_COUNT] = {
		[UDP_DROP_MALFORMED] = "malformed", [UDP_DROP_UNKNOWN_FLOW] = "unknown_flow",
		[UDP_DROP_TOO_LARGE] = "too_large", [UDP_DROP_ICMP] = "icmp",
		[UDP_DROP_TOO_EARLY] = "too_early",
	};

	return (unsigned)why < UDP_DROP_COUNT ? names[why] : "unknown";
}
