#include "store/names.h"

#include <stdbool.h>

#include "base/uuid.h"

/* Length of the UTF-8 character at the front (RFC 3629), 0 when it is malformed or a control
 * character (C0, DEL, C1). */
static size_t utf8_printable(struct bytes b)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t lead = b.ptr[0];
	size_t len = lead < 0x80 ? 1 : lead < 0xc0 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (len == 0 || len > b.len || lead > 0xf4)
		return 0;
	uint32_t c = len == 1 ? lead : lead & (0xffU >> (len + 1));
	for (size_t i = 1; i < len; i++) {
		if ((b.ptr[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (b.ptr[i] & 0x3f);
	}
	if (c < smallest[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return c < 0x20 || (c >= 0x7f && c < 0xa0) ? 0 : len;
}

static bool is_printable(struct bytes b)
{
	while (b.len) {
		size_t len = utf8_printable(b);
		if (len == 0)
			return false;
		b = bytes_from(b, len);
	}
	return true;
}

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool is_label(struct bytes label, bool underscores)
{
	if (label.len == 0 || label.len > NAME_LABEL_BYTES)
		return false;
	for (size_t i = 0; i < label.len; i++) {
		uint8_t c = label.ptr[i];
		bool inner = c == '-' && i > 0 && i < label.len - 1;
		if (!is_alnum(c) && !inner && !(underscores && c == '_'))
			return false;
	}
	return true;
}

static bool is_number(struct bytes label)
{
	for (size_t i = 0; i < label.len; i++)
		if (!is_digit(label.ptr[i]))
			return false;
	return true;
}

/* `name` is lower case. NULL: fine, else what is wrong with it. */
static const char *domain_fault(struct bytes name, bool underscores)
{
	struct bytes label = BYTES_NONE;
	size_t labels = 0;

	if (name.len == 0 || name.ptr[name.len - 1] == '.')
		return "an empty label";
	while (bytes_split(&name, '.', &label)) {
		if (label.len == 0)
			return "an empty label";
		if (label.len > NAME_LABEL_BYTES)
			return "a label longer than 63 characters";
		if (!is_label(label, underscores))
			return "a label that is not letters, digits and inner hyphens (write other "
			       "scripts in their xn-- form)";
		labels++;
	}
	if (labels < 2)
		return "only one label; it takes two, as in home.lan";
	return is_number(label) ? "a number at the end, like an address" : NULL;
}

/* Lower case, without the dot at the end, into `to`. */
static int fold(const char *text, const char *what, char *to, size_t max, struct err *err)
{
	struct bytes b = bytes_str(text);

	if (b.len && b.ptr[b.len - 1] == '.')
		b.len--;
	if (b.len == 0)
		return err_set(err, E_INVALID, "the %s is empty", what);
	if (b.len > max)
		return err_set(err, E_INVALID, "the %s is longer than %zu characters", what, max);
	/* Also keeps control bytes out of the messages below. */
	if (!is_printable(b))
		return err_set(err, E_INVALID, "the %s has characters that cannot be shown", what);
	for (size_t i = 0; i < b.len; i++)
		to[i] = (char)bytes_lower(b.ptr[i]);
	to[b.len] = 0;
	return 0;
}

int name_zone(const char *text, char ret[NAME_DNS_BYTES + 1], struct err *err)
{
	char name[NAME_DNS_BYTES + 1];
	int r = fold(text, "zone", name, NAME_DNS_BYTES, err);

	if (r < 0)
		return r;
	const char *fault = domain_fault(bytes_str(name), false);
	if (fault)
		return err_set(err, E_INVALID, "%s is not a valid zone: it has %s", name, fault);
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

int name_hostname(const char *text, char ret[NAME_DNS_BYTES + 1], struct err *err)
{
	char name[NAME_DNS_BYTES + 1];
	int r = fold(text, "hostname", name, NAME_DNS_BYTES, err);

	if (r < 0)
		return r;
	struct bytes domain = bytes_str(name);
	if (bytes_starts_with(domain, BYTES_LIT("*.")))
		domain = bytes_from(domain, 2);
	const char *fault = domain_fault(domain, true);
	if (fault)
		return err_set(err, E_INVALID, "%s is not a valid hostname: it has %s", name, fault);
	memcpy(ret, name, strlen(name) + 1);
	return 0;
}

/* Commands take a name or an id: the two must not be mistaken for each other. */
static int check_name(const char *text, const char *what, struct err *err)
{
	struct bytes b = bytes_str(text);
	struct uuid unused;

	if (b.len == 0)
		return err_set(err, E_INVALID, "the %s's name is empty", what);
	if (b.len > NAME_TUNNEL_BYTES)
		return err_set(err, E_INVALID, "the %s's name is longer than %d bytes", what,
			       NAME_TUNNEL_BYTES);
	if (!is_printable(b))
		return err_set(err, E_INVALID, "the %s's name has characters that cannot be shown",
			       what);
	if (uuid_parse(b, &unused))
		return err_set(err, E_INVALID, "you cannot use UUIDs as %s names", what);
	return 0;
}

int name_tunnel(const char *text, struct err *err)
{
	return check_name(text, "tunnel", err);
}

int name_vnet(const char *text, struct err *err)
{
	return check_name(text, "virtual network", err);
}

int name_note(const char *text, struct err *err)
{
	struct bytes b = bytes_str(text);

	if (b.len > NAME_NOTE_BYTES)
		return err_set(err, E_INVALID, "the note is longer than %d bytes", NAME_NOTE_BYTES);
	if (!is_printable(b))
		return err_set(err, E_INVALID, "the note has characters that cannot be shown");
	return 0;
}

int name_email(const char *text, char ret[NAME_EMAIL_BYTES + 1], struct err *err)
{
	char email[NAME_EMAIL_BYTES + 1];
	int r = fold(text, "e-mail address", email, NAME_EMAIL_BYTES, err);

	if (r < 0)
		return r;
	struct bytes b = bytes_str(email);
	size_t at = bytes_index(b, '@');
	bool blank = bytes_index(b, ' ') < b.len;
	if (at == 0 || at + 1 >= b.len || blank ||
	    bytes_index(bytes_from(b, at + 1), '@') != b.len - at - 1)
		return err_set(err, E_INVALID, "%s is not an e-mail address", email);
	memcpy(ret, email, b.len + 1);
	return 0;
}
