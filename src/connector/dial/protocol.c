#include "connector/dial/protocol.h"

void protocol_init(struct protocol *p, enum connector_protocol mode)
{
	*p = (struct protocol){ .mode = mode };
}

enum protocol_plan protocol_plan(const struct protocol *p, bool is_proxied)
{
	if (p->mode == CONNECTOR_QUIC)
		return PLAN_QUIC;
	if (p->mode == CONNECTOR_HTTP2 || is_proxied || p->avoids_quic)
		return PLAN_HTTP2;
	return PLAN_RACE;
}

static usec wait_after(unsigned probes)
{
	int64_t ms = PROTOCOL_FIRST_PROBE_MS;

	if (probes) {
		ms = PROTOCOL_PROBE_MS;
		while (--probes && ms < PROTOCOL_PROBE_MAX_MS)
			ms *= 2;
	}
	return (ms < PROTOCOL_PROBE_MAX_MS ? ms : PROTOCOL_PROBE_MAX_MS) * USEC_PER_MSEC;
}

static bool avoid(struct protocol *p, usec now, const struct err *why)
{
	bool is_new = !p->avoids_quic;

	if (p->mode != CONNECTOR_AUTO)
		return false;
	if (p->registered_at && now - p->registered_at >= PROTOCOL_STEADY_MS * USEC_PER_MSEC)
		p->probes = 0;
	p->registered_at = 0;
	p->avoids_quic = true;
	p->probed_at = now;
	p->why = *why;
	return is_new;
}

bool protocol_beaten(struct protocol *p, usec now, const struct err *quic)
{
	struct err slow;

	err_set(&slow, E_TIMEOUT, "QUIC had not answered when HTTP/2 had: UDP may be blocked");
	bool is_new = avoid(p, now, quic ? quic : &slow);

	/* It has failed, and not just been slower. */
	if (quic && p->probes == 0)
		p->probes = 1;
	p->probe_at = now + wait_after(p->probes);
	return is_new;
}

bool protocol_failed(struct protocol *p, usec now, const struct err *why)
{
	bool is_new = avoid(p, now, why);

	p->probes++;
	p->probe_at = now + wait_after(p->probes);
	return is_new;
}

void protocol_refused(struct protocol *p, usec now)
{
	p->probes++;
	p->probe_at = now + wait_after(p->probes);
}

bool protocol_registered(struct protocol *p, usec now)
{
	bool was_avoided = p->avoids_quic;

	p->avoids_quic = false;
	p->probe_at = 0;
	p->registered_at = now;
	return was_avoided;
}

bool protocol_silent(struct protocol *p, usec now, usec registered_at)
{
	struct err why;

	if (p->short_life_at && now - p->short_life_at < PROTOCOL_TOGETHER_MS * USEC_PER_MSEC)
		return false;
	p->short_life_at = now;
	if (now - registered_at >= PROTOCOL_SHORT_MS * USEC_PER_MSEC) {
		p->short_lives = 0;
		return false;
	}
	if (++p->short_lives < PROTOCOL_SHORT_LIVES)
		return false;
	p->short_lives = 0;
	/* The next probe would tell no more than that handshakes get through: be patient with this path. */
	err_set(&why, E_TIMEOUT,
		"connections over QUIC fell silent again and again soon after they began");
	bool is_new = avoid(p, now, &why);
	if (p->probes < 3)
		p->probes = 3;
	p->probes++;
	p->probe_at = now + wait_after(p->probes);
	return is_new;
}

void protocol_http2_failed(struct protocol *p)
{
	p->avoids_quic = false;
}

void protocol_network_changed(struct protocol *p, usec now)
{
	usec soon = now + PROTOCOL_FIRST_PROBE_MS * USEC_PER_MSEC;
	usec earliest = p->probed_at + PROTOCOL_PROBE_MS * USEC_PER_MSEC;

	/* Links may come and go all the time: they are no reason to hurry more than once per PROTOCOL_PROBE_MS. */
	if (p->probed_at && soon < earliest)
		soon = earliest;
	if (p->probe_at > soon)
		p->probe_at = soon;
}

usec protocol_probe_at(const struct protocol *p, usec now)
{
	if (p->mode != CONNECTOR_AUTO)
		return 0;
	return p->probe_at ? p->probe_at : now;
}
