#include "edge/access/place.h"

#include "store/names.h"

/* --- Parsing ---------------------------------------------------------------------------------- */

static size_t count_of(struct bytes text, uint8_t c)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += text.ptr[i] == c;
	return count;
}

static struct bytes trim_slashes(struct bytes path)
{
	while (path.len && path.ptr[0] == '/')
		path = bytes_from(path, 1);
	while (path.len && path.ptr[path.len - 1] == '/')
		path.len--;
	return path;
}

static int parse_host(struct bytes text, struct arena *arena, struct access_place *ret,
		      struct err *err)
{
	uint8_t *copy = arena_alloc_bytes(arena, text.len);
	struct bytes rest, label;

	if (text.len == 0 || text.len > NAME_DNS_BYTES || bytes_index(text, '.') == text.len)
		return err_set(err, E_PARSE, "\"" BYTES_FMT "\" is no hostname", BYTES_ARG(text));
	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = copy[i] = bytes_lower(text.ptr[i]);

		if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '.' &&
		    c != '_' && c != '*')
			return err_set(err, E_PARSE,
				       "\"" BYTES_FMT
				       "\": a place is a hostname and a path, without "
				       "scheme and port",
				       BYTES_ARG(text));
	}
	ret->host = rest = bytes_of(copy, text.len);
	while (bytes_split(&rest, '.', &label)) {
		size_t stars = count_of(label, '*');

		if (label.len == 0 || label.len > NAME_LABEL_BYTES || stars > 1)
			return err_set(err, E_PARSE, "\"" BYTES_FMT "\": %s", BYTES_ARG(text),
				       stars > 1 ? "a label has one * at most"
						 : "a label is empty or too long");
		ret->host_stars += (unsigned)stars;
		ret->host_labels++;
	}
	return 0;
}

static int parse_path(struct bytes text, struct arena *arena, struct access_place *ret,
		      struct err *err)
{
	struct bytes rest, segment;

	ret->path = rest = trim_slashes(arena_copy(arena, text));
	for (size_t i = 0; i < rest.len; i++) {
		uint8_t c = rest.ptr[i];

		if (c <= 0x20 || c >= 0x7f || c == '?' || c == '#' || c == '%' || c == '\\' ||
		    c == ';')
			return err_set(err, E_PARSE,
				       "\"/" BYTES_FMT
				       "\": a path has no query, blanks, %%, ; and \\",
				       BYTES_ARG(rest));
	}
	while (bytes_split(&rest, '/', &segment)) {
		size_t stars = count_of(segment, '*');

		if (segment.len == 0 || stars > 1 || bytes_eq(segment, BYTES_LIT(".")) ||
		    bytes_eq(segment, BYTES_LIT("..")))
			return err_set(err, E_PARSE, "\"/" BYTES_FMT "\": %s", BYTES_ARG(ret->path),
				       stars > 1 ? "a segment has one * at most"
						 : "segments are not empty and no dots");
		ret->path_stars += (unsigned)stars;
		ret->path_segments++;
	}
	return 0;
}

int access_place_parse(struct bytes text, struct arena *arena, struct access_place *ret,
		       struct err *err)
{
	size_t slash = bytes_index(text, '/');
	int r;

	*ret = (struct access_place){ 0 };
	if (text.len > ACCESS_PLACE_BYTES)
		return err_set(err, E_PARSE, "a place has %d bytes at most", ACCESS_PLACE_BYTES);
	r = parse_host(bytes_first(text, slash), arena, ret, err);
	return r < 0 ? r : parse_path(bytes_from(text, slash), arena, ret, err);
}

static int compare(unsigned a, unsigned b)
{
	return (a > b) - (a < b);
}

int access_place_compare(const struct access_place *a, const struct access_place *b)
{
	int r = compare(a->host_stars > 0, b->host_stars > 0);

	/* "*.*.x" holds less than "*.x", "*.b.x" less than "*.*.x", and "dev-*.x" less than "*.x". */
	if (r == 0)
		r = compare(b->host_labels, a->host_labels);
	if (r == 0)
		r = compare(a->host_stars, b->host_stars);
	if (r == 0)
		r = compare((unsigned)b->host.len, (unsigned)a->host.len);
	if (r == 0)
		r = compare(b->path_segments, a->path_segments);
	if (r == 0)
		r = compare(a->path_stars, b->path_stars);
	return r ? r : compare((unsigned)b->path.len, (unsigned)a->path.len);
}

/* --- Matching --------------------------------------------------------------------------------- */

/* One label or segment; `*` stands for any run of bytes, also none. */
static bool part_matches(struct bytes pattern, struct bytes text, bool ignore_case)
{
	size_t star = bytes_index(pattern, '*');
	struct bytes before = bytes_first(pattern, star), after = bytes_from(pattern, star + 1);

	if (star == pattern.len)
		return ignore_case ? bytes_eq_nocase(pattern, text) : bytes_eq(pattern, text);
	if (text.len < before.len + after.len)
		return false;
	if (ignore_case)
		return bytes_eq_nocase(bytes_first(text, before.len), before) &&
		       bytes_eq_nocase(bytes_from(text, text.len - after.len), after);
	return bytes_starts_with(text, before) && bytes_ends_with(text, after);
}

static bool host_holds(const struct access_place *p, struct bytes host)
{
	struct bytes pattern = p->host, wanted, label;
	size_t labels = count_of(host, '.') + 1;

	if (labels < p->host_labels)
		return false;
	if (bytes_starts_with(pattern, BYTES_LIT("*."))) {
		/* What is in the place of the first star may be empty, even: routes do not look at it. */
		for (; labels >= p->host_labels; labels--)
			(void)bytes_split(&host, '.', &label);
		(void)bytes_split(&pattern, '.', &wanted);
	}
	while (bytes_split(&pattern, '.', &wanted))
		if (!bytes_split(&host, '.', &label) || label.len == 0 ||
		    !part_matches(wanted, label, false))
			return false;
	return host.len == 0;
}

bool access_place_holds(const struct access_place *p, struct bytes host, struct bytes path,
			bool ignore_case)
{
	struct bytes pattern = p->path, wanted, segment;

	if (!host_holds(p, host))
		return false;
	while (bytes_split(&pattern, '/', &wanted)) {
		/* "/admin/" has an empty last segment, which bytes_split() does not give. */
		if (!bytes_split(&path, '/', &segment))
			return false;
		if (!part_matches(wanted, segment, ignore_case))
			return false;
	}
	return true;
}

/* --- Paths ------------------------------------------------------------------------------------ */

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = bytes_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decoded once; what is no proper escape stays. `ret` has text.len bytes. */
static struct bytes decode(struct bytes text, uint8_t *ret)
{
	size_t len = 0;

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.ptr[i];

		if (c == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 &&
		    hex_digit(text.ptr[i + 2]) >= 0) {
			c = (uint8_t)(hex_digit(text.ptr[i + 1]) << 4 | hex_digit(text.ptr[i + 2]));
			i += 2;
		}
		ret[len++] = c == '\\' ? '/' : bytes_lower(c);
	}
	return bytes_of(ret, len);
}

/* Without the last segment. */
static size_t parent_of(const uint8_t *path, size_t len)
{
	while (len > 0 && path[len - 1] != '/')
		len--;
	return len > 0 ? len - 1 : 0;
}

/* What is read of one: some cut it at a parameter or a NUL, some leave out dots and blanks at its end. */
static struct bytes plain_segment(struct bytes segment)
{
	segment = bytes_first(segment, bytes_index(segment, ';'));
	segment = bytes_first(segment, bytes_index(segment, 0));
	if (bytes_eq(segment, BYTES_LIT("..")))
		return segment;
	while (segment.len &&
	       (segment.ptr[segment.len - 1] == '.' || segment.ptr[segment.len - 1] == ' '))
		segment.len--;
	return segment;
}

/* RFC 3986 §5.2.4, and without empty segments. */
static struct bytes resolve(struct bytes path, uint8_t *ret)
{
	struct bytes segment;
	size_t len = 0;

	while (path.len) {
		bytes_split(&path, '/', &segment);
		segment = plain_segment(segment);
		if (segment.len == 0)
			continue;
		if (bytes_eq(segment, BYTES_LIT(".."))) {
			len = parent_of(ret, len);
			continue;
		}
		if (len > 0)
			ret[len++] = '/';
		memmove(ret + len, segment.ptr, segment.len);
		len += segment.len;
	}
	return bytes_of(ret, len);
}

struct access_paths access_paths_of(struct bytes target, struct arena *arena)
{
	struct bytes path = bytes_first(target, bytes_index(target, '?'));
	struct access_paths paths = { .count = 0 };
	size_t len;

	path = bytes_first(path, bytes_index(path, '#'));
	paths.as_sent = bytes_from(path, path.len && path.ptr[0] == '/');
	for (;;) {
		len = path.len;
		path = decode(path, arena_alloc_bytes(arena, len + 1));
		/* The first is not only decoded, it gets small letters. */
		if (paths.count && path.len == len)
			return paths;
		if (paths.count == ACCESS_DECODINGS)
			break;
		paths.resolved[paths.count++] =
			resolve(path, arena_alloc_bytes(arena, path.len + 1));
		if (bytes_index(path, '%') == path.len)
			return paths;
	}
	paths.is_endless = true;
	return paths;
}
