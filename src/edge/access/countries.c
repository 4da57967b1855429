#include "edge/access/countries.h"

#include <errno.h>
#include <fcntl.h>
#include <maxminddb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "io/address.h"

/* A record has a country within the first few hundred nodes of a database of countries: who has looked at so many
 * holds another kind of file, or a hostile one. */
#define PROBE_NODES 20000
/* Bits of an address, the longest way down. */
#define TREE_DEPTH 128

struct countries {
	atomic_size_t refs;
	MMDB_s db;
	char *type; /* owned */
};

/* Where a record says it: MaxMind's and DB-IP's files, then IPinfo's. */
static const char *const paths[][3] = {
	{ "country", "iso_code", NULL },
	{ "country_code", NULL },
	{ "country", NULL },
};

static bool take_code(const MMDB_entry_data_s *data, char ret[COUNTRY_TEXT_SIZE])
{
	if (!data->has_data || data->type != MMDB_DATA_TYPE_UTF8_STRING || data->data_size != 2)
		return false;
	for (int i = 0; i < 2; i++) {
		char c = data->utf8_string[i];

		if (c >= 'a' && c <= 'z')
			c = (char)(c - 'a' + 'A');
		if (c < 'A' || c > 'Z') {
			ret[0] = 0;
			return false;
		}
		ret[i] = c;
	}
	ret[2] = 0;
	return true;
}

static bool read_country(MMDB_entry_s *entry, char ret[COUNTRY_TEXT_SIZE])
{
	MMDB_entry_data_s data;

	for (size_t i = 0; i < ARRAY_LEN(paths); i++)
		if (MMDB_aget_value(entry, &data, paths[i]) == MMDB_SUCCESS && take_code(&data, ret))
			return true;
	ret[0] = 0;
	return false;
}

/* --- Opening ------------------------------------------------------------------------------------ */

/* A copy in memory: the library maps the file, and one that is cut while it is mapped would end us. */
static int copy_file(const char *path, int *ret, struct err *err)
{
	/* O_NONBLOCK: whoever names a pipe is not waited for. */
	int from = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int to = -1, r = 0;
	struct stat st;

	if (from < 0)
		return err_set_errno(err, errno == ENOENT ? E_NOT_FOUND : E_IO, errno, "%.300s",
				     path);
	if (fstat(from, &st) < 0)
		r = err_set_errno(err, E_IO, errno, "%.300s", path);
	else if (!S_ISREG(st.st_mode))
		r = err_set(err, E_INVALID, "%.300s: is no file", path);
	else if (st.st_size > LIMIT_COUNTRIES_BYTES)
		r = err_set(err, E_LIMIT, "%.300s: is larger than %d MiB", path,
			    (int)(LIMIT_COUNTRIES_BYTES >> 20));
	if (r == 0) {
		to = memfd_create("countries", MFD_CLOEXEC);
		if (to < 0)
			r = err_set_errno(err, E_IO, errno, "cannot hold %.300s in memory", path);
	}
	for (off_t left = st.st_size; r == 0 && left > 0;) {
		ssize_t n = sendfile(to, from, NULL, (size_t)left);

		if (n < 0 && errno != EINTR)
			r = err_set_errno(err, E_IO, errno, "%.300s", path);
		if (n == 0)
			break; /* it has become shorter; what is there is looked at */
		left -= n > 0 ? n : 0;
	}
	(void)close(from); /* allowed: a plain file */
	if (r < 0 && to >= 0)
		(void)close(to); /* allowed: a file in memory */
	*ret = to;
	return r;
}

/* Is there a country in the first records? */
static bool has_countries(const MMDB_s *db)
{
	uint32_t waiting[TREE_DEPTH + 2];
	char code[COUNTRY_TEXT_SIZE];
	MMDB_search_node_s node;
	size_t count = 1;

	waiting[0] = 0;
	for (unsigned looked = 0; count > 0 && looked < PROBE_NODES; looked++) {
		if (MMDB_read_node(db, waiting[--count], &node) != MMDB_SUCCESS)
			return false;
		if ((node.left_record_type == MMDB_RECORD_TYPE_DATA &&
		     read_country(&node.left_record_entry, code)) ||
		    (node.right_record_type == MMDB_RECORD_TYPE_DATA &&
		     read_country(&node.right_record_entry, code)))
			return true;
		if (count + 2 > ARRAY_LEN(waiting))
			return false; /* deeper than addresses are long: nodes lead back */
		if (node.right_record_type == MMDB_RECORD_TYPE_SEARCH_NODE)
			waiting[count++] = (uint32_t)node.right_record;
		if (node.left_record_type == MMDB_RECORD_TYPE_SEARCH_NODE)
			waiting[count++] = (uint32_t)node.left_record;
	}
	return false;
}

static int open_copy(struct countries *c, int fd, const char *path, struct err *err)
{
	char name[64];
	int r;

	(void)snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	r = MMDB_open(name, MMDB_MODE_MMAP, &c->db);
	if (r == MMDB_FILE_OPEN_ERROR || r == MMDB_IO_ERROR || r == MMDB_OUT_OF_MEMORY_ERROR)
		return err_set(err, E_IO, "%.300s: %s", path, MMDB_strerror(r));
	if (r != MMDB_SUCCESS)
		return err_set(err, E_PARSE,
			       "%.300s: is no database in the MMDB format, or damaged (%s)", path,
			       MMDB_strerror(r));
	c->type = mem_strdup(c->db.metadata.database_type ? c->db.metadata.database_type : "");
	if (has_countries(&c->db))
		return 0;
	r = err_set(err, E_PARSE,
		    "%.300s: has no countries (it is of the type \"%.60s\"); one like "
		    "GeoLite2-Country or dbip-country-lite is needed",
		    path, c->type);
	MMDB_close(&c->db);
	return r;
}

struct countries *countries_open(const char *path, struct err *err)
{
	struct countries *c;
	int fd, r = copy_file(path, &fd, err);

	if (r < 0)
		return NULL;
	c = mem_alloc(sizeof(*c));
	atomic_init(&c->refs, 1);
	r = open_copy(c, fd, path, err);
	(void)close(fd); /* allowed: a file in memory */
	if (r == 0)
		return c;
	mem_free(c->type);
	return mem_free(c);
}

struct countries *countries_ref(struct countries *c)
{
	if (c)
		atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
	return c;
}

struct countries *countries_unref(struct countries *c)
{
	if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
		return NULL;
	MMDB_close(&c->db);
	mem_free(c->type);
	return mem_free(c);
}

/* --- Looking up ---------------------------------------------------------------------------------- */

void countries_find(const struct countries *c, const struct network *address,
		    char ret[COUNTRY_TEXT_SIZE])
{
	struct sockaddr_in v4 = { .sin_family = AF_INET };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
	bool is_v4 = network_is_v4(address);
	MMDB_lookup_result_s found;
	int r;

	ret[0] = 0;
	if (!c)
		return;
	memcpy(&v4.sin_addr, address->ip + 12, 4);
	memcpy(&v6.sin6_addr, address->ip, 16);
	/* An IPv6 address in a database of IPv4 alone is an error, which is to say that it is unknown. */
	found = MMDB_lookup_sockaddr(
		&c->db, is_v4 ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6, &r);
	if (r == MMDB_SUCCESS && found.found_entry)
		(void)read_country(&found.entry, ret);
}

void countries_find_ip(const struct countries *c, struct bytes ip, char ret[COUNTRY_TEXT_SIZE])
{
	struct address address;
	struct network network;

	ret[0] = 0;
	if (c && address_from_ip(ip, 0, &address) && network_of_address(&address, &network))
		countries_find(c, &network, ret);
}

const char *countries_type(const struct countries *c)
{
	return c->type;
}

usec countries_built_at(const struct countries *c)
{
	uint64_t seconds = c->db.metadata.build_epoch;

	return seconds < (uint64_t)(INT64_MAX / USEC_PER_SEC) ? (usec)seconds * USEC_PER_SEC : 0;
}
