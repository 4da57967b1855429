/* Floods a name server over UDP: random bytes, and queries of which bits, bytes, counts and lengths were changed.
 *
 *   dns_flood IP:PORT ZONE COUNT [SEED]
 *
 * Each batch ends with a query that is well-formed; the next one goes out when its answer is here: so the server has
 * seen all of the batch, and nothing was lost for want of a buffer. Several sockets, so that several workers have
 * something to do. Ends with one line of JSON: packets, answers, probes that had to be repeated, seconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SOCKETS 8
#define BATCH 64
#define PACKET_BYTES 1500
#define PROBE_WAIT_MS 500
#define PROBES_MAX 60

static uint64_t state;

/* xorshift64*: the same flood for the same seed. */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * UINT64_C(0x2545f4914f6cdd1d);
}

static unsigned below(unsigned n)
{
	return (unsigned)((next() >> 32) % n);
}

static void put16(uint8_t *at, unsigned value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static size_t put_name(uint8_t *at, const char *zone)
{
	size_t len = 0;

	while (*zone) {
		size_t label = strcspn(zone, ".");
		at[len++] = (uint8_t)label;
		memcpy(at + len, zone, label);
		len += label;
		zone += label + (zone[label] == '.');
	}
	at[len++] = 0;
	return len;
}

static size_t put_edns(uint8_t *at)
{
	size_t len = 11, options = 0;

	memset(at, 0, len);
	put16(at + 1, 41);
	put16(at + 3, below(2) ? 1232 : below(65536));
	at[6] = below(8) ? 0 : (uint8_t)below(256);
	at[7] = below(2) ? 0x80 : 0;
	/* Cookies, NSID, padding, and what nobody knows; lengths that may lie. */
	for (unsigned n = below(4); n > 0; n--) {
		static const unsigned codes[] = { 3, 10, 12, 8, 15, 65001 };
		unsigned size = below(48);
		put16(at + len + options, codes[below(6)]);
		put16(at + len + options + 2, below(10) ? size : below(65536));
		for (unsigned i = 0; i < size; i++)
			at[len + options + 4 + i] = (uint8_t)next();
		options += 4 + size;
	}
	put16(at + 9, below(16) ? (unsigned)options : below(65536));
	return len + options;
}

static size_t put_tsig(uint8_t *at)
{
	static const char algorithm[] = "\013hmac-sha256";
	size_t len = put_name(at, below(2) ? "key.example" : "other"), rdata;

	put16(at + len, 250);
	put16(at + len + 2, 255);
	memset(at + len + 4, 0, 4);
	rdata = len + 10;
	memcpy(at + rdata, algorithm, sizeof(algorithm));
	size_t used = sizeof(algorithm);
	memset(at + rdata + used, 0, 6);
	put16(at + rdata + used + 6, 300);
	unsigned mac = below(40);
	put16(at + rdata + used + 8, below(8) ? mac : below(65536));
	for (unsigned i = 0; i < mac; i++)
		at[rdata + used + 10 + i] = (uint8_t)next();
	used += 10 + mac;
	put16(at + rdata + used, below(65536));
	put16(at + rdata + used + 2, 0);
	put16(at + rdata + used + 4, 0);
	used += 6;
	put16(at + len + 8, (unsigned)used);
	return rdata + used;
}

static size_t put_query(uint8_t *at, const char *zone)
{
	static const char *const labels[] = { "app", "www", "nothing", "a.b.c", "_acme-challenge",
					      "*",   "",    "x.y.z.w", "ns1" };
	static const unsigned types[] = { 1,  2,  5,  6,   12,  15,  16,  28,  33, 43,
					  46, 47, 48, 250, 251, 252, 255, 257, 0,  65535 };
	char name[256];
	const char *label = labels[below(9)];
	unsigned additional = 0;
	size_t len = 12;

	(void)snprintf(name, sizeof(name), "%s%s%s", label, *label ? "." : "", zone);
	memset(at, 0, 12);
	put16(at, (unsigned)next() & 0xffff);
	at[2] = below(2);
	if (!below(16))
		at[2] |= (uint8_t)(below(16) << 3);
	put16(at + 4, 1);
	len += put_name(at + len, name);
	put16(at + len, types[below(20)]);
	put16(at + len + 2, below(16) ? 1 : below(65536));
	len += 4;
	if (below(2)) {
		len += put_edns(at + len);
		additional++;
	}
	if (!below(4)) {
		len += put_tsig(at + len);
		additional++;
	}
	put16(at + 10, additional);
	return len;
}

/* Compression pointers into themselves, forward and backward. */
static size_t put_loops(uint8_t *at)
{
	size_t len = 12;

	memset(at, 0, 12);
	put16(at, (unsigned)next() & 0xffff);
	put16(at + 4, 1 + below(3));
	put16(at + 10, below(3));
	for (unsigned n = 1 + below(200); n > 0; n--) {
		if (below(3)) {
			put16(at + len, 0xc000 | below(below(2) ? 64 : 1400));
			len += 2;
		} else {
			at[len] = (uint8_t)(1 + below(5));
			memset(at + len + 1, 'a', at[len]);
			len += 1 + (size_t)at[len];
		}
	}
	return len;
}

static size_t mutate(uint8_t *at, size_t len)
{
	for (unsigned n = 1 + below(6); n > 0; n--) {
		switch (below(5)) {
		case 0:
			at[below((unsigned)len)] ^= (uint8_t)(1 << below(8));
			break;
		case 1:
			at[below((unsigned)len)] = (uint8_t)next();
			break;
		case 2:
			put16(at + 4 + 2 * (size_t)below(4), below(4) ? below(4) : below(65536));
			break;
		case 3:
			if (len > 13)
				len -= below((unsigned)len - 12);
			break;
		default:
			if (len < 1000)
				for (unsigned more = below(64); more > 0; more--)
					at[len++] = (uint8_t)next();
		}
	}
	return len;
}

static size_t put_packet(uint8_t *at, const char *zone)
{
	size_t len;

	switch (below(8)) {
	case 0:
	case 1:
		len = 1 + below(below(8) ? 128 : PACKET_BYTES - 1);
		for (size_t i = 0; i < len; i++)
			at[i] = (uint8_t)next();
		return len;
	case 2:
		return put_loops(at);
	case 3:
		return put_query(at, zone);
	default:
		len = put_query(at, zone);
		return mutate(at, len);
	}
}

static uint64_t answers;

/* The question is for the type NULL, which nothing else here asks for. */
static int is_probe(const uint8_t *in, size_t len, unsigned probe)
{
	size_t at = 12;

	if (len < 17 || (unsigned)(in[0] << 8 | in[1]) != probe)
		return 0;
	while (at + 5 <= len && in[at])
		at += 1 + (size_t)in[at];
	return at + 5 <= len && in[at + 1] == 0 && in[at + 2] == 10;
}

/* Reads what there is; true: the answer to the probe was among it. */
static int drain(int fd, unsigned probe)
{
	uint8_t in[65536];
	ssize_t len;
	int has_come = 0;

	while ((len = recv(fd, in, sizeof(in), MSG_DONTWAIT)) >= 0) {
		answers++;
		has_come |= is_probe(in, (size_t)len, probe);
	}
	if (errno == ECONNREFUSED) {
		fprintf(stderr, "nobody listens any more\n");
		exit(1);
	}
	return has_come;
}

struct line {
	int fd;
	unsigned probe;
	uint8_t packet[300];
	size_t packet_len;
};

static uint64_t repeated;

static void wait_for_probe(struct line *l)
{
	struct pollfd p = { .fd = l->fd, .events = POLLIN };

	for (int tries = 0; l->packet_len && !drain(l->fd, l->probe);) {
		if (poll(&p, 1, PROBE_WAIT_MS) > 0)
			continue;
		if (++tries == PROBES_MAX) {
			fprintf(stderr, "the server does not answer any more\n");
			exit(1);
		}
		repeated++;
		(void)send(l->fd, l->packet, l->packet_len, 0);
	}
	l->packet_len = 0;
}

static void send_batch(struct line *l, const char *zone, uint64_t count)
{
	static uint8_t packets[BATCH][PACKET_BYTES + 2000];
	struct mmsghdr messages[BATCH + 1];
	struct iovec vectors[BATCH + 1];
	static unsigned serial;
	unsigned n = (unsigned)count;

	memset(messages, 0, sizeof(messages));
	for (unsigned i = 0; i < n; i++)
		vectors[i] = (struct iovec){ packets[i], put_packet(packets[i], zone) };
	/* A name that is there once: it is not what rate limiting counts with the others. */
	l->probe = ++serial & 0xffff;
	memset(l->packet, 0, sizeof(l->packet));
	put16(l->packet, l->probe);
	put16(l->packet + 4, 1);
	l->packet_len = 12 + put_name(l->packet + 12, zone);
	put16(l->packet + l->packet_len, 10);
	put16(l->packet + l->packet_len + 2, 1);
	l->packet_len += 4;
	vectors[n] = (struct iovec){ l->packet, l->packet_len };
	for (unsigned i = 0; i <= n; i++) {
		messages[i].msg_hdr.msg_iov = &vectors[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	for (unsigned at = 0; at <= n;) {
		int sent = sendmmsg(l->fd, messages + at, n + 1 - at, 0);
		if (sent > 0)
			at += (unsigned)sent;
		else if (errno == ECONNREFUSED)
			drain(l->fd, 0x10000);
		else if (errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
			exit(1);
	}
}

static double seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct line lines[SOCKETS];
	char ip[64];
	unsigned port;

	if (argc < 4 || sscanf(argv[1], "%63[0-9.]:%u", ip, &port) != 2 ||
	    inet_pton(AF_INET, ip, &to.sin_addr) != 1) {
		fprintf(stderr, "dns_flood IP:PORT ZONE COUNT [SEED]\n");
		return 2;
	}
	to.sin_port = htons((uint16_t)port);
	uint64_t count = strtoull(argv[3], NULL, 10), sent = 0;
	state = argc > 4 ? strtoull(argv[4], NULL, 10) | 1 : 1;
	for (int i = 0; i < SOCKETS; i++) {
		lines[i] = (struct line){ .fd = socket(AF_INET, SOCK_DGRAM, 0) };
		if (lines[i].fd < 0 || connect(lines[i].fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			return 1;
	}
	double began = seconds();
	for (int at = 0; sent < count; at = (at + 1) % SOCKETS) {
		uint64_t n = count - sent < BATCH ? count - sent : BATCH;
		wait_for_probe(&lines[at]);
		send_batch(&lines[at], argv[2], n);
		sent += n;
	}
	for (int i = 0; i < SOCKETS; i++)
		wait_for_probe(&lines[i]);
	double took = seconds() - began;
	printf("{\"packets\": %llu, \"answers\": %llu, \"repeated_probes\": %llu, \"seconds\": %.3f}\n",
	       (unsigned long long)sent, (unsigned long long)answers, (unsigned long long)repeated,
	       took);
	return 0;
}
