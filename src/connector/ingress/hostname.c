/* Hostname patterns: what a rule may say, and whether a request's host fits. */
#include "connector/ingress/ingress_internal.h"

#include "base/idn.h"

static bool is_catch_all(const char *hostname, const char *path)
{
	return (!*hostname || strcmp(hostname, "*") == 0) && !*path;
}

struct bytes hostname_without_port(struct bytes host)
{
	size_t colon = host.len;

	while (colon > 0 && host.ptr[colon - 1] != ':')
		colon--;
	if (colon == 0)
		return host;
	struct bytes name = bytes_first(host, colon - 1);
	if (name.len >= 2 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
		return bytes_of(name.ptr + 1, name.len - 2);
	/* A second colon: an IPv6 address without brackets, or nonsense; it stays whole. */
	return bytes_index(name, ':') < name.len ? host : name;
}

int hostname_check(const char *hostname, const char *path, size_t index, size_t count,
		   struct err *err)
{
	struct bytes name = bytes_str(hostname);
	bool is_last = index + 1 == count;
	const char *star = strrchr(hostname, '*');

	if (hostname_without_port(name).len != name.len)
		return err_set(err, E_INVALID, "Hostname cannot contain a port");
	if (star && star != hostname)
		return err_set(
			err, E_INVALID,
			"Hostname patterns can have at most one wildcard character (\"*\") and it "
			"can only be used for subdomains, e.g. \"*.example.com\"");
	if (is_last && !is_catch_all(hostname, path))
		return err_set(err, E_INVALID,
			       "The last ingress rule must match all URLs (i.e. it should not have a "
			       "hostname or path filter)");
	if (!is_last && is_catch_all(hostname, path))
		return err_set(
			err, E_INVALID,
			"Rule #%zu is matching the hostname '%s', but this will match every "
			"hostname, meaning the rules which follow it will never be triggered.",
			index + 1, hostname);
	return 0;
}

/* ------------------------------------------------------------------------------------------ */

void hostname_compile(struct arena *arena, const char *hostname, struct ingress_matcher *m)
{
	struct bytes name = bytes_str(hostname);
	bool is_ascii = true;
	struct buf encoded;

	m->is_any_host = !*hostname || strcmp(hostname, "*") == 0;
	m->is_suffix = bytes_starts_with(name, BYTES_LIT("*."));
	m->host = m->is_suffix ? bytes_from(name, 1) : name;
	for (size_t i = 0; i < m->host.len; i++)
		is_ascii &= m->host.ptr[i] < 0x80;
	if (is_ascii)
		return;
	/* A name in DNS is at most 253 bytes; a longer one cannot arrive. */
	buf_init(&encoded, 256);
	if (idn_encode(m->host, &encoded) == 0)
		m->idn_host = arena_copy(arena, buf_bytes(&encoded));
	buf_done(&encoded);
}

static bool host_fits(const struct ingress_matcher *m, struct bytes pattern, struct bytes host)
{
	if (!m->is_suffix)
		return bytes_eq_nocase(pattern, host);
	return host.len >= pattern.len &&
	       bytes_eq_nocase(pattern, bytes_from(host, host.len - pattern.len));
}

bool hostname_matches(const struct ingress_matcher *m, struct bytes host)
{
	return m->is_any_host || host_fits(m, m->host, host) ||
	       (m->idn_host.len && host_fits(m, m->idn_host, host));
}
