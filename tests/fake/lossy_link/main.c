/* A bad line between two network namespaces:
 *
 *	lossy_link NAMESPACE NAME-A NAME-B [SETTING...]
 *
 * It makes the TUN device NAME-A in its own namespace and NAME-B in the one of the file NAMESPACE (as
 * /proc/PID/ns/net), says "up", and carries IP packets between them until its standard input ends. Addresses and
 * routes are the caller's business. Settings, both as arguments and, several to a line, on standard input:
 *
 *	loss=PERCENT reorder=PERCENT delay=MS jitter=MS late=MS rate=MBIT queue=KIB mtu=BYTES
 *	block=none|udp|tcp|all seed=N rebind counts
 *
 * All hold for both directions; packets on their way stay as they are. Each line is answered with one: "ok",
 * "error: ..." (what stands before the error holds), or the numbers asked for with `counts`.
 *
 * It reads and writes descriptors itself: the devices are no sockets, and nothing else is in this process. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "fake/lossy_link/link.h"

#define PACKET_MAX 65536
#define LINE_MAX_BYTES 512
/* Packets read from one side before the other has its turn. */
#define TURN 64

static int open_device(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		perror("/dev/net/tun");
		return -1;
	}
	(void)snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0) {
		perror(name);
		close(fd);
		return -1;
	}
	return fd;
}

static bool enter(const char *namespace)
{
	int fd = open(namespace, O_RDONLY | O_CLOEXEC);

	if (fd < 0 || setns(fd, CLONE_NEWNET) < 0) {
		perror(namespace);
		return false;
	}
	close(fd);
	return true;
}

/* --- Settings -------------------------------------------------------------------------------- */

static bool parse_number(const char *text, double max, double *ret)
{
	char *end;

	*ret = strtod(text, &end);
	return end != text && !*end && *ret >= 0 && *ret <= max;
}

static bool set_block(struct link_settings *s, const char *value)
{
	bool is_all = strcmp(value, "all") == 0, is_udp = strcmp(value, "udp") == 0;
	bool is_tcp = strcmp(value, "tcp") == 0;

	if (!is_all && !is_udp && !is_tcp && strcmp(value, "none") != 0)
		return false;
	s->no_ip = is_all;
	s->no_udp = is_udp;
	s->no_tcp = is_tcp;
	return true;
}

static bool set(struct link *l, const char *name, const char *value)
{
	struct link_settings *s = link_settings(l);
	double n;

	if (strcmp(name, "block") == 0)
		return set_block(s, value);
	if (!parse_number(value, 1e9, &n))
		return false;
	if (strcmp(name, "loss") == 0 && n <= 100)
		s->loss = (unsigned)(n * 10000);
	else if (strcmp(name, "reorder") == 0 && n <= 100)
		s->reorder = (unsigned)(n * 10000);
	else if (strcmp(name, "delay") == 0)
		s->delay = (usec)(n * 1000);
	else if (strcmp(name, "jitter") == 0)
		s->jitter = (usec)(n * 1000);
	else if (strcmp(name, "late") == 0)
		s->late = (usec)(n * 1000);
	else if (strcmp(name, "rate") == 0)
		s->rate = (uint64_t)(n * 1e6 / 8);
	else if (strcmp(name, "queue") == 0)
		s->queue = (uint64_t)(n * 1024);
	else if (strcmp(name, "mtu") == 0)
		s->mtu = (size_t)n;
	else if (strcmp(name, "seed") == 0)
		link_seed(l, (uint64_t)n);
	else
		return false;
	return true;
}

/* One word of a line or one argument. */
static bool obey(struct link *l, char *word)
{
	char *value = strchr(word, '=');

	if (strcmp(word, "rebind") == 0) {
		link_rebind(l);
		return true;
	}
	if (!value)
		return false;
	*value = '\0';
	bool is_good = set(l, word, value + 1);
	*value = '=';
	return is_good;
}

static void answer(struct link *l, char *line)
{
	char *rest;

	if (strcmp(line, "counts") == 0) {
		struct link_counts c = link_counts(l);
		printf("passed=%" PRIu64 " bytes=%" PRIu64 " lost=%" PRIu64 " dropped=%" PRIu64
		       " blocked=%" PRIu64 " too_large=%" PRIu64 " reordered=%" PRIu64 "\n",
		       c.passed, c.bytes, c.lost, c.dropped, c.blocked, c.too_large, c.reordered);
		return;
	}
	for (char *word = strtok_r(line, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (!obey(l, word)) {
			printf("error: %s\n", word);
			return;
		}
	}
	puts("ok");
}

/* False at the end of the input. */
static bool read_lines(struct link *l)
{
	static char text[LINE_MAX_BYTES];
	static size_t len;
	char *end;

	ssize_t n = read(STDIN_FILENO, text + len, sizeof(text) - 1 - len);
	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	len += (size_t)n;
	text[len] = '\0';
	while ((end = strchr(text, '\n'))) {
		*end = '\0';
		answer(l, text);
		len -= (size_t)(end + 1 - text);
		memmove(text, end + 1, len + 1);
	}
	return len < sizeof(text) - 1;
}

/* --- Packets --------------------------------------------------------------------------------- */

/* False: the device is gone. A device that is down gives and takes nothing. */
static bool read_packets(struct link *l, int fd, enum link_side side)
{
	static uint8_t packet[PACKET_MAX];
	usec now = clock_now();

	for (int i = 0; i < TURN; i++) {
		ssize_t n = read(fd, packet, sizeof(packet));
		if (n < 0)
			return errno == EAGAIN || errno == EINTR || errno == EIO;
		link_put(l, side, packet, (size_t)n, now);
	}
	return true;
}

static void write_packets(struct link *l, const int *fds)
{
	const uint8_t *packet;
	enum link_side to;
	size_t len;

	while ((packet = link_take(l, clock_now(), &to, &len))) {
		/* What the device does not take is lost, as on a cable that nobody listens to. */
		ssize_t n = write(fds[to], packet, len);
		(void)n;
	}
}

static int carry(struct link *l, const int *fds)
{
	struct pollfd polled[3] = {
		{ .fd = fds[SIDE_A], .events = POLLIN },
		{ .fd = fds[SIDE_B], .events = POLLIN },
		{ .fd = STDIN_FILENO, .events = POLLIN },
	};

	for (;;) {
		usec next = link_next(l), wait = next < 0 ? 0 : next - clock_now();
		struct timespec timeout = { 0 };
		if (wait > 0) {
			timeout.tv_sec = wait / USEC_PER_SEC;
			timeout.tv_nsec = (long)(wait % USEC_PER_SEC) * 1000;
		}
		int n = ppoll(polled, 3, next < 0 ? NULL : &timeout, NULL);
		if (n < 0 && errno != EINTR) {
			perror("poll");
			return 1;
		}
		for (int side = SIDE_A; n > 0 && side <= SIDE_B; side++) {
			if (polled[side].revents &&
			    !read_packets(l, fds[side], (enum link_side)side)) {
				/* With its namespace. */
				return 0;
			}
		}
		if (n > 0 && polled[2].revents && !read_lines(l))
			return 0;
		write_packets(l, fds);
	}
}

int main(int argc, char **argv)
{
	int fds[2];

	if (argc < 4) {
		(void)fputs("usage: lossy_link NAMESPACE NAME-A NAME-B [SETTING...]\n", stderr);
		return 2;
	}
	struct link *l = link_new();
	for (int i = 4; i < argc; i++) {
		if (!obey(l, argv[i])) {
			(void)fprintf(stderr, "lossy_link: no such setting: %s\n", argv[i]);
			return 2;
		}
	}
	fds[SIDE_A] = open_device(argv[2]);
	if (fds[SIDE_A] < 0 || !enter(argv[1]))
		return 1;
	fds[SIDE_B] = open_device(argv[3]);
	if (fds[SIDE_B] < 0)
		return 1;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	/* Packets leave when they are due, not when the kernel finds it convenient. */
	(void)prctl(PR_SET_TIMERSLACK, 1UL);
	puts("up");
	int rc = carry(l, fds);
	link_free(l);
	close(fds[SIDE_A]);
	close(fds[SIDE_B]);
	return rc;
}
