#include "edge/ports/port_target.h"

#include <string.h>

#include "base/check.h"
#include "store/names.h"

static int take_address(struct bytes host, uint16_t port, struct port_target *t, struct err *err)
{
	char text[ADDRESS_TEXT_SIZE];

	if (port == 0)
		return err_set(err, E_INVALID, "port 0 cannot be reached");
	if (!address_from_ip(host, port, &t->address))
		return err_set(
			err, E_INVALID,
			"a service is a hostname of the tunnel's ingress rules, without a port "
			"(ssh.example.com), or an IP address with one (10.0.0.5:22)");
	address_text(&t->address, text);
	BUG_IF(strlen(text) >= sizeof(t->text));
	memcpy(t->text, text, strlen(text) + 1);
	t->is_address = true;
	return 0;
}

int port_target_parse(struct bytes text, struct port_target *ret, struct err *err)
{
	struct port_target t = { .is_address = false };
	char given[NAME_DNS_BYTES + 2], name[NAME_DNS_BYTES + 1]; /* with a dot at the end */
	struct bytes host;
	uint16_t port;
	int r;

	if (text.len == 0 || text.len >= sizeof(given) || memchr(text.ptr, 0, text.len))
		return err_set(err, E_INVALID, "a service is a hostname or an IP address and port");
	if (address_from_ip(text, 0, &t.address))
		return err_set(err, E_INVALID, "the address " BYTES_FMT " needs a port: " BYTES_FMT,
			       BYTES_ARG(text),
			       BYTES_ARG(t.address.any.sa_family == AF_INET6
						 ? BYTES_LIT("[address]:port")
						 : BYTES_LIT("address:port")));
	if (address_split(text, &host, &port, NULL) == 0) {
		r = take_address(host, port, &t, err);
	} else {
		memcpy(given, text.ptr, text.len);
		given[text.len] = 0;
		r = name_hostname(given, name, err);
		if (r == 0 && strchr(name, '*'))
			r = err_set(err, E_INVALID,
				    "a port leads to one hostname, not to all of %.100s", name);
		if (r == 0)
			memcpy(t.text, name, strlen(name) + 1);
	}
	if (r == 0)
		*ret = t;
	return r;
}
