#include "edge/dns/settings.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <string.h>

#include "base/mem.h"
#include "edge/edge_config.h"

#define ADDRESSES_MAX 32
#define GLUE_TTL 3600

static void add_address(struct dns_settings *s, const struct address *a)
{
	char text[ADDRESS_TEXT_SIZE], other[ADDRESS_TEXT_SIZE];

	address_ip_text(a, text);
	for (size_t i = 0; i < s->address_count; i++)
		if (strcmp(address_ip_text(&s->addresses[i], other), text) == 0)
			return;
	if (s->address_count == ADDRESSES_MAX)
		return;
	s->addresses = mem_resize(s->addresses, (s->address_count + 1) * sizeof(s->addresses[0]));
	/* Without the port, and without a scope. */
	if (address_from_ip(bytes_str(text), 0, &s->addresses[s->address_count]))
		s->address_count++;
}

static bool is_all(const struct address *a)
{
	return a->any.sa_family == AF_INET ? a->v4.sin_addr.s_addr == 0
					   : IN6_IS_ADDR_UNSPECIFIED(&a->v6.sin6_addr);
}

static void take_listeners(struct dns_settings *s, const struct edge_texts *listeners)
{
	struct address a;

	for (size_t i = 0; i < listeners->count; i++)
		if (address_parse(bytes_str(listeners->list[i]), &a, NULL) == 0 &&
		    a.any.sa_family != AF_UNIX && !is_all(&a))
			add_address(s, &a);
}

/* Reachable from anywhere, as far as an address tells (RFC 6890). */
static bool is_public(const struct address *a)
{
	if (a->any.sa_family == AF_INET6)
		return (a->v6.sin6_addr.s6_addr[0] & 0xe0) == 0x20;
	uint32_t ip = ntohl(a->v4.sin_addr.s_addr);
	return ip >> 24 != 0 && ip >> 24 != 10 && ip >> 24 != 127 && ip >> 22 != 0x64400000 >> 22 &&
	       ip >> 16 != 0xa9fe && ip >> 20 != 0xac1 && ip >> 16 != 0xc0a8 && ip >> 28 < 14;
}

static void take_interfaces(struct dns_settings *s)
{
	struct ifaddrs *list = NULL;

	if (getifaddrs(&list) < 0)
		return;
	for (const struct ifaddrs *i = list; i; i = i->ifa_next) {
		struct address a = { 0 };
		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP))
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			a.len = sizeof(a.v4);
		else if (i->ifa_addr->sa_family == AF_INET6)
			a.len = sizeof(a.v6);
		else
			continue;
		memcpy(&a.any, i->ifa_addr, a.len);
		if (is_public(&a))
			add_address(s, &a);
	}
	freeifaddrs(list);
}

static void take_addresses(const struct edge_config *cfg, struct dns_settings *s)
{
	struct address a;

	for (size_t i = 0; i < cfg->dns_addresses.count; i++)
		if (address_from_ip(bytes_str(cfg->dns_addresses.list[i]), 0, &a))
			add_address(s, &a);
	if (s->address_count == 0 && cfg->control_host &&
	    address_from_ip(bytes_str(cfg->control_host), 0, &a))
		add_address(s, &a);
	if (s->address_count == 0)
		take_listeners(s, &cfg->https);
	if (s->address_count == 0)
		take_interfaces(s);
}

static void take_name_servers(const struct edge_config *cfg, struct dns_settings *s)
{
	const struct edge_texts *texts = &cfg->dns_name_servers;

	s->name_servers = mem_alloc_array(texts->count + 1, sizeof(s->name_servers[0]));
	s->glue = mem_alloc_array(texts->count + 1, sizeof(s->glue[0]));
	for (size_t i = 0; i < texts->count; i++) {
		struct bytes text = bytes_str(texts->list[i]);
		struct bytes name = bytes_first(text, bytes_index(text, '='));
		char *copy = mem_strndup(name);
		size_t at = 0;
		for (char *c = copy; *c; c++)
			*c = (char)bytes_lower((uint8_t)*c);
		if (bytes_ends_with(name, BYTES_LIT(".")))
			copy[name.len - 1] = 0;
		/* The same one again may add an address. */
		while (at < s->name_server_count && strcmp(s->name_servers[at], copy) != 0)
			at++;
		if (at < s->name_server_count)
			mem_free(copy);
		else
			s->name_servers[s->name_server_count++] = copy;
		if (name.len < text.len) {
			char *ip = mem_strndup(bytes_from(text, name.len + 1));
			s->glue[s->glue_count++] = (struct dns_record){
				.name = s->name_servers[at],
				.type = strchr(ip, ':') ? "AAAA" : "A",
				.data = ip,
				.ttl = GLUE_TTL,
			};
		}
	}
}

int dns_settings_make(const struct edge_config *cfg, struct dns_settings *ret, struct err *err)
{
	*ret = (struct dns_settings){ 0 };
	take_addresses(cfg, ret);
	take_name_servers(cfg, ret);
	if (ret->address_count > 0)
		return 0;
	dns_settings_done(ret);
	return err_set(
		err, E_INVALID,
		"dns: what should hostnames resolve to? This host has no public address of its own; "
		"set dns-address to the one that visitors reach it by");
}

void dns_settings_done(struct dns_settings *s)
{
	for (size_t i = 0; i < s->name_server_count; i++)
		mem_free(s->name_servers[i]);
	for (size_t i = 0; i < s->glue_count; i++)
		mem_free((char *)(uintptr_t)s->glue[i].data);
	mem_free(s->name_servers);
	mem_free(s->glue);
	mem_free(s->addresses);
	*s = (struct dns_settings){ 0 };
}
