#include "edge/ports/port_allow.h"

const char *port_protocol_name(enum port_protocol protocol)
{
	return protocol == PORT_UDP ? "udp" : "tcp";
}

static bool read_port(struct bytes text, uint16_t *ret)
{
	uint64_t number;

	if (!bytes_to_u64(text, &number) || number < 1 || number > UINT16_MAX)
		return false;
	*ret = (uint16_t)number;
	return true;
}

int port_range_parse(struct bytes text, struct port_range *ret, struct err *err)
{
	struct bytes shown = bytes_first(text, 60);
	size_t slash = bytes_index(text, '/');
	struct bytes ports = bytes_first(text, slash), protocol = bytes_from(text, slash + 1);
	size_t dash = bytes_index(ports, '-');
	struct port_range range = { .has = { true, true } };

	if (slash < text.len) {
		range.has[PORT_TCP] = bytes_eq(protocol, BYTES_LIT("tcp"));
		range.has[PORT_UDP] = bytes_eq(protocol, BYTES_LIT("udp"));
		if (!range.has[PORT_TCP] && !range.has[PORT_UDP])
			return err_set(err, E_INVALID,
				       "'" BYTES_FMT "': behind the slash stands tcp or udp",
				       BYTES_ARG(shown));
	}
	if (!read_port(bytes_first(ports, dash), &range.first))
		return err_set(err, E_INVALID,
			       "'" BYTES_FMT "' is no port: write 2222, 20000-20100 or 53/udp",
			       BYTES_ARG(shown));
	range.last = range.first;
	if (dash < ports.len &&
	    (!read_port(bytes_from(ports, dash + 1), &range.last) || range.last < range.first))
		return err_set(err, E_INVALID,
			       "'" BYTES_FMT "' is no range of ports: write 20000-20100",
			       BYTES_ARG(shown));
	*ret = range;
	return 0;
}

bool port_allow_has(const struct port_allow *allow, enum port_protocol protocol, uint16_t port)
{
	struct port_range range;

	for (size_t i = 0; i < allow->count; i++)
		if (port_range_parse(bytes_str(allow->list[i]), &range, NULL) == 0 &&
		    range.has[protocol] && port >= range.first && port <= range.last)
			return true;
	return false;
}
