#include "edge/listen/sockets.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/conn.h"

struct sockets {
	struct list groups; /* struct socket_group, in the order they came */
};

static struct socket_group *group_of(struct list *node)
{
	return LIST_ENTRY(node, struct socket_group, node);
}

struct sockets *sockets_new(void)
{
	struct sockets *s = mem_alloc(sizeof(*s));

	list_init(&s->groups);
	return s;
}

static struct socket_group *group_new(struct sockets *s, const char *what, const char *address,
				      enum socket_kind kind)
{
	struct socket_group *g = mem_alloc(sizeof(*g));

	g->what = mem_strdup(what);
	g->address = mem_strdup(address);
	g->kind = kind;
	list_append(&s->groups, &g->node);
	return g;
}

void sockets_append(struct socket_group *g, int fd)
{
	g->fds = mem_resize(g->fds, (g->count + 1) * sizeof(g->fds[0]));
	g->fds[g->count++] = fd;
}

void sockets_close(struct sockets *s, struct socket_group *g)
{
	(void)s;
	list_remove(&g->node);
	for (size_t i = 0; i < g->count; i++)
		close(g->fds[i]); /* allowed: the table's own, which no loop watches */
	mem_free(g->fds);
	mem_free(g->what);
	mem_free(g->address);
	mem_free(g);
}

void sockets_close_all(struct sockets *s)
{
	while (!list_is_empty(&s->groups))
		sockets_close(s, group_of(s->groups.next));
}

struct sockets *sockets_free(struct sockets *s)
{
	if (!s)
		return NULL;
	sockets_close_all(s);
	return mem_free(s);
}

/* --- What was taken over ---------------------------------------------------------------------- */

/* One address may be written in several ways. */
static bool is_same_address(const char *a, const char *b)
{
	struct address left, right;
	char left_text[ADDRESS_TEXT_SIZE], right_text[ADDRESS_TEXT_SIZE];

	if (strcmp(a, b) == 0)
		return true;
	return address_parse(bytes_str(a), &left, NULL) == 0 &&
	       address_parse(bytes_str(b), &right, NULL) == 0 &&
	       strcmp(address_text(&left, left_text), address_text(&right, right_text)) == 0;
}

static bool fits(const struct socket_group *g, const char *what, const char *address,
		 enum socket_kind kind)
{
	return g->kind == kind && strcmp(g->what, what) == 0 && is_same_address(g->address, address);
}

struct socket_group *sockets_claim(struct sockets *s, const char *what, const char *address,
				   enum socket_kind kind)
{
	LIST_FOR_EACH(node, &s->groups) {
		struct socket_group *g = group_of(node);
		if (!g->is_claimed && fits(g, what, address, kind)) {
			g->is_claimed = true;
			return g;
		}
	}
	return NULL;
}

static bool is_of_kind(int fd, enum socket_kind kind)
{
	static const int types[] = {
		[SOCKET_STREAM] = SOCK_STREAM,
		[SOCKET_DATAGRAM] = SOCK_DGRAM,
		[SOCKET_MESSAGES] = SOCK_SEQPACKET,
		[SOCKET_PAIR] = SOCK_SEQPACKET,
	};
	int type = 0, listens = 0;
	socklen_t len = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != types[kind])
		return false;
	len = sizeof(listens);
	return kind == SOCKET_DATAGRAM || kind == SOCKET_PAIR ||
	       (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens);
}

int sockets_inherit(struct sockets *s, const char *what, const char *address, enum socket_kind kind,
		    bool is_first, int fd, struct err *err)
{
	if (!is_of_kind(fd, kind)) {
		close(fd); /* allowed: it never reached a loop */
		return err_set(err, E_INVALID, "what came for %s at %s is no such socket", what,
			       address);
	}
	struct socket_group *g = list_is_empty(&s->groups) ? NULL : group_of(s->groups.prev);
	if (!g || is_first || g->is_claimed || !fits(g, what, address, kind))
		g = group_new(s, what, address, kind);
	sockets_append(g, fd);
	return 0;
}

void sockets_drop_unclaimed(struct sockets *s)
{
	LIST_FOR_EACH(node, &s->groups) {
		struct socket_group *g = group_of(node);
		struct address address;
		if (g->is_claimed)
			continue;
		if (address_parse(bytes_str(g->address), &address, NULL) == 0 &&
		    address.any.sa_family == AF_UNIX)
			unlink(address.local.sun_path);
		sockets_close(s, g);
	}
}

const struct socket_group *sockets_next(const struct sockets *s, const struct socket_group *g)
{
	const struct list *next = g ? g->node.next : s->groups.next;

	return next == &s->groups ? NULL : LIST_ENTRY(next, const struct socket_group, node);
}

/* --- What is opened --------------------------------------------------------------------------- */

struct socket_group *sockets_add(struct sockets *s, const char *what, const char *address,
				 enum socket_kind kind, const int *fds, size_t count)
{
	struct socket_group *g = group_new(s, what, address, kind);

	g->is_claimed = true;
	for (size_t i = 0; i < count; i++)
		sockets_append(g, fds[i]);
	return g;
}

/* Sockets that share a port do so with any other process of the same user, silently: one that does not share
 * tells whether somebody is there already. */
static int probe(struct address *address, struct err *err)
{
	int fd = listen_open(address, false, err);

	if (fd < 0)
		return fd;
	close(fd); /* allowed: it never reached a loop */
	return 0;
}

struct socket_group *sockets_listen(struct sockets *s, const char *what, const char *address,
				    bool shared, size_t count, struct address *ret_address,
				    struct err *err)
{
	struct socket_group *g = sockets_claim(s, what, address, SOCKET_STREAM);

	if (address_parse(bytes_str(address), ret_address, err) < 0)
		return NULL;
	if (g) {
		if (ret_address->any.sa_family != AF_UNIX) {
			ret_address->len = sizeof(ret_address->v6);
			getsockname(g->fds[0], &ret_address->any, &ret_address->len);
		}
		return g;
	}
	if (shared && probe(ret_address, err) < 0)
		return NULL;
	g = sockets_add(s, what, address, SOCKET_STREAM, NULL, 0);
	for (size_t i = 0; i < count; i++) {
		int fd = listen_open(ret_address, shared, err);
		if (fd < 0) {
			sockets_close(s, g);
			return NULL;
		}
		sockets_append(g, fd);
	}
	return g;
}

int sockets_dup(const struct socket_group *g, size_t i, struct err *err)
{
	int fd = fcntl(g->fds[i % g->count], F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? err_set_errno(err, E_IO, errno, "%s %s", g->what, g->address) : fd;
}
