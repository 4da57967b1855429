/* The service of a rule: a URL or a word. */
#include "connector/ingress/ingress_internal.h"

static const struct scheme {
	const char *name;
	enum ingress_kind kind;
	uint16_t port; /* default */
	bool is_tls;
} schemes[] = {
	{ "http", INGRESS_HTTP, 80, false }, { "https", INGRESS_HTTP, 443, true },
	{ "ws", INGRESS_HTTP, 80, false },   { "wss", INGRESS_HTTP, 443, true },
	{ "h2c", INGRESS_HTTP, 80, false },  { "tcp", INGRESS_TCP, 7864, false },
	{ "ssh", INGRESS_TCP, 22, false },   { "rdp", INGRESS_TCP, 3389, false },
	{ "smb", INGRESS_TCP, 445, false },  { "udp", INGRESS_UDP, 0, false },
};

static int unix_parse(struct ingress *in, const char *scheme, const char *path, const char *text,
		      struct ingress_rule *rule)
{
	rule->kind = INGRESS_UNIX;
	rule->scheme = scheme;
	rule->is_tls = strcmp(scheme, "unix+tls") == 0;
	rule->unix_path = arena_strdup(&in->arena, bytes_str(path));
	rule->service = arena_strdup(&in->arena, bytes_str(text));
	return 0;
}

/* As Go's strconv.Atoi reads it, and complains. */
static int status_parse(struct ingress *in, const char *digits, struct ingress_rule *rule,
			struct err *err)
{
	bool is_negative = *digits == '-';
	struct bytes number = bytes_str(digits + (is_negative || *digits == '+'));
	uint64_t value;
	bool is_number = number.len > 0;

	for (size_t i = 0; i < number.len; i++)
		is_number &= number.ptr[i] >= '0' && number.ptr[i] <= '9';
	if (!is_number)
		return err_set(
			err, E_INVALID,
			"invalid HTTP status code: strconv.Atoi: parsing \"%.100s\": invalid syntax",
			digits);
	if (!bytes_to_u64(number, &value) || value > INT64_MAX)
		return err_set(
			err, E_INVALID,
			"invalid HTTP status code: strconv.Atoi: parsing \"%.100s\": value out of "
			"range",
			digits);
	if (is_negative || value < 100 || value > 999)
		return err_set(err, E_INVALID, "invalid HTTP status code: %s%llu",
			       is_negative ? "-" : "", (unsigned long long)value);
	rule->kind = INGRESS_STATUS;
	rule->status = (uint16_t)value;
	rule->service = ingress_text(in, "http_status:%u", rule->status);
	return 0;
}

static int word_set(enum ingress_kind kind, const char *word, struct ingress_rule *rule)
{
	rule->kind = kind;
	rule->service = word;
	return 0;
}

/* RFC 3986 §3.1, lower case into `ret`. False when there is no "scheme://". */
static bool scheme_take(struct arena *arena, struct bytes *text, const char **ret)
{
	size_t len = bytes_index(*text, ':');
	struct bytes scheme = bytes_first(*text, len);

	if (!bytes_starts_with(bytes_from(*text, len), BYTES_LIT("://")))
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = bytes_lower(scheme.ptr[i]);
		bool is_letter = c >= 'a' && c <= 'z';
		bool is_other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
		if (!is_letter && !(i > 0 && is_other))
			return false;
	}
	if (len == 0 || len > 32)
		return false;
	char *name = arena_strdup(arena, scheme);
	for (size_t i = 0; i < len; i++)
		name[i] = (char)bytes_lower((uint8_t)name[i]);
	*ret = name;
	*text = bytes_from(*text, len + 3);
	return true;
}

static int invalid_address(const char *text, struct err *err)
{
	return err_set(
		err, E_INVALID,
		"%.200s is an invalid address, please make sure it has a scheme and a hostname",
		text);
}

/* "host", "host:port", "[v6]:port". *ret_port stays 0 when none is written. */
static int authority_parse(struct bytes authority, const char *text, struct bytes *ret_host,
			   uint16_t *ret_port, struct err *err)
{
	struct bytes host = authority, port = BYTES_NONE;
	uint64_t number;

	if (authority.len && authority.ptr[0] == '[') {
		size_t end = bytes_index(authority, ']');
		if (end == authority.len)
			return err_set(err, E_INVALID, "parse \"%.200s\": missing ']' in host",
				       text);
		host = bytes_first(bytes_from(authority, 1), end - 1);
		port = bytes_from(authority, end + 1);
	} else {
		size_t colon = bytes_index(authority, ':');
		host = bytes_first(authority, colon);
		port = bytes_from(authority, colon);
	}
	if (host.len == 0 || host.len > 255)
		return invalid_address(text, err);
	for (size_t i = 0; i < host.len; i++)
		if (host.ptr[i] <= ' ' || host.ptr[i] == 0x7f || strchr("\"<>\\^`{|}", host.ptr[i]))
			return err_set(
				err, E_INVALID,
				"parse \"%.200s\": invalid character \"%c\" in host name", text,
				host.ptr[i] <= ' ' || host.ptr[i] == 0x7f ? ' ' : host.ptr[i]);
	*ret_host = host;
	/* A colon with nothing behind it is the default port, as in Go. */
	if (port.len <= 1 && (port.len == 0 || port.ptr[0] == ':'))
		return 0;
	if (port.ptr[0] != ':' || !bytes_to_u64(bytes_from(port, 1), &number) || number == 0 ||
	    number > 65535)
		return err_set(err, E_INVALID, "parse \"%.200s\": invalid port \"%.60s\" after host",
			       text, (const char *)port.ptr);
	*ret_port = (uint16_t)number;
	return 0;
}

static int url_parse(struct ingress *in, const char *text, struct ingress_rule *rule,
		     struct err *err)
{
	struct bytes rest = bytes_str(text), host = BYTES_NONE;
	uint16_t port = 0;

	if (!scheme_take(&in->arena, &rest, &rule->scheme))
		return invalid_address(text, err);
	size_t end = 0;
	while (end < rest.len && !strchr("/?#", rest.ptr[end]))
		end++;
	struct bytes authority = bytes_first(rest, end), tail = bytes_from(rest, end);
	size_t at = authority.len;
	while (at > 0 && authority.ptr[at - 1] != '@')
		at--;
	bool has_user = at > 0;
	int r = authority_parse(bytes_from(authority, at), text, &host, &port, err);
	if (r < 0)
		return r;
	if (tail.len && tail.ptr[0] == '/')
		return err_set(
			err, E_INVALID,
			"%.200s is an invalid address, ingress rules don't support proxying to a "
			"different path on the origin service. The path will be the same as the "
			"eyeball request's path",
			text);

	rule->kind = INGRESS_TCP;
	rule->port = port;
	rule->host = arena_strdup(&in->arena, host);
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
		if (strcmp(rule->scheme, schemes[i].name) != 0)
			continue;
		rule->kind = schemes[i].kind;
		rule->is_tls = schemes[i].is_tls;
		if (port == 0)
			rule->port = schemes[i].port;
	}
	if (rule->kind == INGRESS_UDP && rule->port == 0)
		return err_set(err, E_INVALID,
			       "%.200s names no port: a UDP service is written udp://host:port",
			       text);
	/* The text for people shows a port that was written, or that raw TCP could not do without; and no
	 * password. */
	uint16_t shown = rule->kind == INGRESS_TCP ? rule->port : port;
	bool is_v6 = strchr(rule->host, ':') != NULL;
	const char *open = is_v6 ? "[" : "", *close = is_v6 ? "]" : "";
	if (shown)
		rule->service = ingress_text(in, "%s://%s%s%s:%u", rule->scheme, open, rule->host,
					     close, shown);
	else
		rule->service =
			ingress_text(in, "%s://%s%s%s", rule->scheme, open, rule->host, close);
	if (has_user || tail.len)
		ingress_warn(in, "The service %s is used without its user name, query and fragment",
			     rule->service);
	return 0;
}

int service_parse(struct ingress *in, const char *text, bool is_bastion, struct ingress_rule *rule,
		  struct err *err)
{
	struct bytes b = bytes_str(text);

	rule->scheme = rule->host = rule->unix_path = "";
	if (bytes_starts_with(b, BYTES_LIT("unix:")))
		return unix_parse(in, "unix", text + 5, text, rule);
	if (bytes_starts_with(b, BYTES_LIT("unix+tls:")))
		return unix_parse(in, "unix+tls", text + 9, text, rule);
	if (bytes_starts_with(b, BYTES_LIT("http_status:")))
		return status_parse(in, text + 12, rule, err);
	if (strcmp(text, "hello_world") == 0 || strcmp(text, "hello-world") == 0)
		return word_set(INGRESS_HELLO_WORLD, "hello_world", rule);
	if (strcmp(text, "socks-proxy") == 0)
		return word_set(INGRESS_SOCKS, "socks-proxy", rule);
	if (strcmp(text, "bastion") == 0 || is_bastion)
		return word_set(INGRESS_BASTION, "bastion", rule);
	return url_parse(in, text, rule, err);
}
