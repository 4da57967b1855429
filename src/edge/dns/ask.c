#include "edge/dns/ask.h"

#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/random.h"
#include "edge/dns/shape.h"
#include "io/udp_peer.h"

#define HEADER_BYTES 12
#define WAIT_MAX_MS 60000
/* What passes any path unfragmented, over UDP. */
#define MESSAGE_BYTES_MAX 1232

struct dns_ask {
	struct loop *loop;
	struct address server;
	struct dns_asked asked;
	struct dns_tsig_mac mac;
	uint8_t wire[MESSAGE_BYTES_MAX];
	size_t wire_len;
	struct udp_peer *peer;
	struct timer timer;
	unsigned attempts_left, attempts;
	int64_t wait_ms;
	ldns_pkt *answer; /* owned */
	struct err why;   /* the last thing that went wrong */
	void (*done)(void *ctx, int rcode, const struct err *err);
	void *ctx;
};

/* --- Answers ---------------------------------------------------------------------------------- */

static const struct {
	int rcode;
	const char *name, *meaning;
} rcodes[] = {
	{ 0, "NOERROR", "done" },
	{ 1, "FORMERR", "the server does not understand the message" },
	{ 2, "SERVFAIL", "the server has failed" },
	{ 3, "NXDOMAIN", "a name is missing that should be there" },
	{ 4, "NOTIMP", "the server does not do this" },
	{ 5, "REFUSED", "the server does not allow it" },
	{ 6, "YXDOMAIN", "a name is there that should not be" },
	{ 7, "YXRRSET", "records are there that should not be" },
	{ 8, "NXRRSET", "records are missing that should be there" },
	{ 9, "NOTAUTH", "the server is not authoritative for the zone, or does not take the key" },
	{ 10, "NOTZONE", "the name is not in the zone" },
	{ 16, "BADSIG", "the signature is wrong: is the secret the same on both sides?" },
	{ 17, "BADKEY", "the server does not know the key" },
	{ 18, "BADTIME", "the clocks of the two servers differ too much" },
	{ 22, "BADTRUNC", "the signature is too short" },
};

const char *dns_rcode_name(int rcode)
{
	for (size_t i = 0; i < ARRAY_LEN(rcodes); i++)
		if (rcodes[i].rcode == rcode)
			return rcodes[i].name;
	return "an unknown code";
}

const char *dns_rcode_meaning(int rcode)
{
	for (size_t i = 0; i < ARRAY_LEN(rcodes); i++)
		if (rcodes[i].rcode == rcode)
			return rcodes[i].meaning;
	return "the server has its own reasons";
}

enum dns_reply_verdict dns_reply_read(struct bytes packet, const struct dns_asked *asked, usec now,
				      struct dns_reply *ret)
{
	enum dns_reply_verdict verdict = DNS_REPLY_GOOD;
	ldns_pkt *p;

	/* Of most that is not meant for us the header is enough. */
	if (packet.len < HEADER_BYTES || !(packet.ptr[2] & 0x80) ||
	    (packet.ptr[0] << 8 | packet.ptr[1]) != asked->id ||
	    (packet.ptr[2] >> 3 & 15) != asked->opcode || !dns_reply_has_shape(packet) ||
	    ldns_wire2pkt(&p, packet.ptr, packet.len) != LDNS_STATUS_OK)
		return DNS_REPLY_FOREIGN;
	*ret = (struct dns_reply){ ldns_pkt_get_rcode(p), dns_tsig_error(packet) };
	if (asked->key &&
	    dns_tsig_verify_answer(packet, asked->key, now, asked->mac) != DNS_TSIG_GOOD)
		verdict = DNS_REPLY_UNSIGNED;
	ldns_pkt_free(p);
	return verdict;
}

/* --- Asking ----------------------------------------------------------------------------------- */

static void finish(struct dns_ask *a, int rcode, const struct err *err)
{
	timer_stop(&a->timer);
	a->peer = udp_peer_free(a->peer);
	a->done(a->ctx, rcode, err);
}

static void on_datagram(void *ctx, struct bytes data, bool is_cut)
{
	struct dns_ask *a = ctx;
	struct dns_reply reply;
	char text[ADDRESS_TEXT_SIZE];

	if (is_cut)
		return;
	switch (dns_reply_read(data, &a->asked, clock_wall_now(), &reply)) {
	case DNS_REPLY_GOOD:
		if (ldns_wire2pkt(&a->answer, data.ptr, data.len) != LDNS_STATUS_OK)
			a->answer = NULL;
		finish(a, reply.rcode, NULL);
		return;
	case DNS_REPLY_UNSIGNED: {
		int code = reply.tsig_error ? reply.tsig_error : reply.rcode;
		err_set(&a->why, E_DENIED, "%s answers %s (%s), without a valid signature",
			address_text(&a->server, text), dns_rcode_name(code),
			dns_rcode_meaning(code));
		return;
	}
	case DNS_REPLY_FOREIGN:
		return;
	}
}

static void on_unreachable(void *ctx, int sys_errno)
{
	struct dns_ask *a = ctx;
	char text[ADDRESS_TEXT_SIZE];

	/* Not final: a server that restarts is back in a moment. */
	err_set_errno(&a->why, E_REFUSED, sys_errno, "nobody answers at %s",
		      address_text(&a->server, text));
}

static const struct udp_peer_events peer_events = {
	.on_datagram = on_datagram,
	.on_unreachable = on_unreachable,
};

static void send_again(struct timer *t)
{
	struct dns_ask *a = CONTAINER_OF(t, struct dns_ask, timer);
	char text[ADDRESS_TEXT_SIZE];

	if (a->attempts_left == 0) {
		if (!a->why.code)
			err_set(&a->why, E_TIMEOUT, "no answer from %s, asked %u times",
				address_text(&a->server, text), a->attempts);
		struct err why = a->why;
		finish(a, -1, &why);
		return;
	}
	a->attempts_left--;
	if (!a->peer)
		a->peer = udp_peer_new(a->loop, &a->server, &peer_events, a, &a->why);
	if (a->peer)
		(void)udp_peer_send(a->peer, bytes_of(a->wire, a->wire_len));
	timer_set(&a->timer, a->wait_ms);
	a->wait_ms = a->wait_ms * 2 < WAIT_MAX_MS ? a->wait_ms * 2 : WAIT_MAX_MS;
}

static bool write_message(struct dns_ask *a, const ldns_pkt *question)
{
	uint8_t *wire = NULL;
	bool is_well = ldns_pkt2wire(&wire, question, &a->wire_len) == LDNS_STATUS_OK &&
		       a->wire_len <= sizeof(a->wire);

	if (is_well)
		memcpy(a->wire, wire, a->wire_len);
	LDNS_FREE(wire);
	return is_well;
}

struct dns_ask *dns_ask_new(struct loop *l, const struct dns_asking *how, ldns_pkt *question,
			    void (*done)(void *ctx, int rcode, const struct err *err), void *ctx)
{
	struct dns_ask *a = mem_alloc(sizeof(*a));

	a->loop = l;
	a->server = *how->server;
	a->attempts_left = a->attempts = how->attempts;
	a->wait_ms = how->first_ms;
	a->done = done;
	a->ctx = ctx;
	a->asked.key = how->key;
	a->asked.opcode = (uint8_t)ldns_pkt_get_opcode(question);
	random_bytes(&a->asked.id, sizeof(a->asked.id));
	ldns_pkt_set_id(question, a->asked.id);
	timer_init(&a->timer, l, send_again);
	if (!write_message(a, question) ||
	    (how->key && !dns_tsig_sign(a->wire, &a->wire_len, sizeof(a->wire), how->key,
					clock_wall_now(), &a->mac, false))) {
		a->attempts_left = 0;
		err_set(&a->why, E_INTERNAL, "the message could not be made");
	}
	a->asked.mac = &a->mac;
	ldns_pkt_free(question);
	timer_set(&a->timer, 0);
	return a;
}

const ldns_pkt *dns_ask_answer(const struct dns_ask *a)
{
	return a->answer;
}

struct dns_ask *dns_ask_free(struct dns_ask *a)
{
	if (!a)
		return NULL;
	timer_stop(&a->timer);
	udp_peer_free(a->peer);
	if (a->answer)
		ldns_pkt_free(a->answer);
	return mem_free(a);
}
