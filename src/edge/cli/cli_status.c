/* `adit-edge status`, for people: sections of aligned lines, and tables.
 *
 * What the answer has and no row here names is shown all the same: plain members under "Other", a part
 * (control_status_add()) as a section of its own. Endings of names say what a value is: "_at" a time,
 * "_seconds" a duration, "_bytes" a size, "_per_second" a rate. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "edge/cli/command.h"

#define LABEL_WIDTH 26
/* Rows of one table: the rest has a command of its own. */
#define ROWS_MAX 12
#define COLUMNS_MAX 8
#define CELL_BYTES 60
#define VALUE_BYTES 65536

/* --- Values ----------------------------------------------------------------------------------- */

static bool ends_with(const char *name, const char *end)
{
	return bytes_ends_with(bytes_str(name), bytes_str(end));
}

static int add_duration(struct buf *out, long long seconds)
{
	if (seconds >= 2 * 86400)
		return buf_printf(out, "%lld days", seconds / 86400);
	if (seconds >= 2 * 3600)
		return buf_printf(out, "%lld hours", seconds / 3600);
	if (seconds >= 120)
		return buf_printf(out, "%lld minutes", seconds / 60);
	return buf_printf(out, "%lld seconds", seconds);
}

/* "2026-12-01 (in 30 days)" */
static int add_time(struct buf *out, const char *text)
{
	usec wall = clock_parse_rfc3339(text);
	usec away = wall - clock_wall_now();
	int ret;

	if (wall < 0)
		return buf_append_str(out, text);
	ret = buf_printf(out, "%.10s (%s", text, away < 0 ? "" : "in ");
	ret |= add_duration(out, (long long)((away < 0 ? -away : away) / USEC_PER_SEC));
	return ret | buf_append_str(out, away < 0 ? " ago)" : ")");
}

static int add_size(struct buf *out, long long bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes;
	size_t unit = 0;

	for (; value >= 1024 && unit + 1 < ARRAY_LEN(units); unit++)
		value /= 1024;
	return buf_printf(out, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

/* Words of other programs (a certificate authority's, say) do nothing to the terminal. */
static int add_text(struct buf *out, const char *text)
{
	int ret = 0;

	for (const char *p = text; *p; p++) {
		bool is_control = (unsigned char)*p < ' ' || *p == 127;
		ret |= buf_append(out, bytes_of(is_control ? "?" : p, 1));
	}
	return ret;
}

static int add_value(struct buf *out, const char *name, const json_t *value);

static int add_list(struct buf *out, const json_t *list)
{
	const json_t *item;
	int ret = 0;
	size_t i;

	json_array_foreach(list, i, item)
	{
		ret |= buf_append_str(out, i ? ", " : "");
		ret |= add_value(out, "", item);
	}
	return ret;
}

static int add_value(struct buf *out, const char *name, const json_t *value)
{
	if (json_is_string(value))
		return ends_with(name, "_at") ? add_time(out, json_string_value(value))
					      : add_text(out, json_string_value(value));
	if (json_is_integer(value)) {
		long long number = (long long)json_integer_value(value);
		return ends_with(name, "_seconds") ? add_duration(out, number)
		       : ends_with(name, "_bytes") ? add_size(out, number)
						   : buf_printf(out, "%lld", number);
	}
	if (json_is_real(value))
		return buf_printf(out, "%.1f%s", json_real_value(value),
				  ends_with(name, "_per_second") ? "/s" : "");
	if (json_is_boolean(value))
		return buf_append_str(out, json_is_true(value) ? "yes" : "no");
	if (json_is_array(value))
		return add_list(out, value);
	return buf_append_str(out, "-");
}

/* As a person would read it; owned. */
static char *value_text(const char *name, const json_t *value)
{
	struct buf out;
	char *text;

	buf_init(&out, VALUE_BYTES);
	text = add_value(&out, name, value) < 0 ? mem_strdup("(too long to show)")
						: buf_take_str(&out);
	buf_done(&out);
	return text;
}

/* "tunnel_connections" -> "tunnel connections"; the ending that only says what a value is goes. */
static char *label_of(const char *name)
{
	static const char *const endings[] = { "_seconds", "_bytes", "_per_second", "_at" };
	struct bytes rest = bytes_str(name);
	char *label;

	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		if (bytes_ends_with(rest, bytes_str(endings[i]))) {
			rest.len -= strlen(endings[i]);
			break;
		}
	}
	label = mem_strndup(rest);
	for (char *p = label; *p; p++)
		*p = *p == '_' ? ' ' : *p;
	return label;
}

/* --- Tables ----------------------------------------------------------------------------------- */

/* The columns are the members of the first row; all rows of a list have the same. */
static size_t columns_of(const json_t *row, const char *ret[COLUMNS_MAX])
{
	void *at = json_object_iter((json_t *)(uintptr_t)row);
	size_t count = 0;

	for (; at && count < COLUMNS_MAX; at = json_object_iter_next((json_t *)(uintptr_t)row, at))
		ret[count++] = json_object_iter_key(at);
	return count;
}

static char *title_of(const char *name)
{
	char *title = label_of(name);

	for (char *p = title; *p; p++)
		*p = (char)(*p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
	return title;
}

/* The last column, where words of others stand, moves nothing. */
static char *cell_of(const char *name, const json_t *value, bool is_last)
{
	char *text = value_text(name, value);

	if (!is_last && strlen(text) > CELL_BYTES) {
		char *cut = mem_printf("%.*s…", CELL_BYTES - 1, text);
		mem_free(text);
		text = cut;
	}
	return text;
}

static void print_table(const json_t *list)
{
	const char *names[COLUMNS_MAX];
	size_t columns = columns_of(json_array_get(list, 0), names), total = json_array_size(list);
	size_t rows = total > ROWS_MAX ? ROWS_MAX : total;
	char **cells = mem_alloc_array((rows + 1) * (columns + 1), sizeof(*cells));

	/* The first column is empty: it indents. */
	for (size_t row = 0; row <= rows; row++) {
		const json_t *item = row ? json_array_get(list, row - 1) : NULL;
		char **at = &cells[row * (columns + 1)];
		at[0] = mem_strdup("");
		for (size_t i = 0; i < columns; i++)
			at[i + 1] = row ? cell_of(names[i], json_object_get(item, names[i]),
						  i + 1 == columns)
					: title_of(names[i]);
	}
	cli_print_table((const char *const *)cells, rows + 1, columns + 1);
	if (total > rows)
		printf("  … and %zu more\n", total - rows);
	for (size_t i = 0; i < (rows + 1) * (columns + 1); i++)
		mem_free(cells[i]);
	mem_free(cells);
}

/* --- Lines and sections ----------------------------------------------------------------------- */

static bool is_table(const json_t *value)
{
	return json_is_array(value) && json_is_object(json_array_get(value, 0));
}

static void print_line(const char *name, const json_t *value)
{
	char *label = label_of(name), *text = value_text(name, value);

	printf("  %-*s %s\n", LABEL_WIDTH, label, text);
	mem_free(label);
	mem_free(text);
}

/* What is in a member goes before what is in its own members. */
static void print_part(const json_t *part)
{
	const char *name;
	json_t *value;

	if (is_table(part))
		print_table(part);
	else if (json_is_array(part))
		printf("  none\n");
	json_object_foreach((json_t *)(uintptr_t)part, name, value)
	{
		if (!is_table(value) && !json_is_object(value) && !json_is_null(value))
			print_line(name, value);
	}
	json_object_foreach((json_t *)(uintptr_t)part, name, value)
	{
		if (is_table(value)) {
			char *label = label_of(name);
			printf("  %s\n", label);
			mem_free(label);
			print_table(value);
		} else if (json_is_object(value)) {
			print_part(value);
		}
	}
}

/* Plain members, of the answer itself or of its member "edge". */
static const struct section {
	const char *title;
	const char *members[16];
} sections[] = {
	{ "", { "version", "tls", "public_url", "location", "uptime_seconds", "workers" } },
	{ "Configured",
	  { "zones", "tunnels", "routes", "network_routes", "users", "revision", "ports_open",
	    "ports_failed" } },
	{ "Connectors",
	  { "connectors", "tunnel_connections", "tunnel_connections_http2",
	    "tunnel_connections_quic", "services_checked", "services_unhealthy", "ejections",
	    "requests_retried" } },
	{ "Visitors",
	  { "visitors", "exchanges", "requests", "tls_full_handshakes", "tls_resumed_handshakes",
	    "tls_failed_handshakes" } },
};

/* Parts that have another title than their name, and their order; others follow. */
static const struct part_title {
	const char *name, *title;
} part_titles[] = {
	{ "names", "Names" },
	{ "rates", "Rates, over a minute" },
	{ "limits", "Limits" },
	{ "certificates", "Certificates" },
	{ "access", "Access" },
	{ "acme", "Certificates of ACME" },
	{ "stapling", "OCSP stapling" },
	{ "dns", "DNS" },
	{ "dns_secondaries", "DNS secondaries" },
	{ "dns_updates", "DNS updates" },
};

static bool is_in_sections(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(sections); i++)
		for (const char *const *m = sections[i].members; *m; m++)
			if (strcmp(*m, name) == 0)
				return true;
	return false;
}

static bool has_title(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(part_titles); i++)
		if (strcmp(part_titles[i].name, name) == 0)
			return true;
	return false;
}

static void print_section(const struct section *s, const json_t *status)
{
	const json_t *edge = json_object_get(status, "edge");
	bool has_begun = false;

	for (const char *const *m = s->members; *m; m++) {
		const json_t *value = json_object_get(status, *m);
		if (!value)
			value = json_object_get(edge, *m);
		if (!value)
			continue;
		if (!has_begun)
			printf("%s%s%s", "\n", s->title, s->title[0] ? "\n" : "");
		has_begun = true;
		print_line(*m, value);
	}
}

static void print_named_part(const char *title, const json_t *part)
{
	printf("\n%s\n", title);
	print_part(part);
}

static void print_others(const json_t *object)
{
	bool has_begun = false;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)(uintptr_t)object, name, value)
	{
		if (json_is_object(value) || json_is_array(value) || is_in_sections(name) ||
		    strcmp(name, "running") == 0)
			continue;
		if (!has_begun)
			printf("\nOther\n");
		has_begun = true;
		print_line(name, value);
	}
}

static void print_parts(const json_t *status)
{
	const char *name;
	json_t *value;

	for (size_t i = 0; i < ARRAY_LEN(part_titles); i++) {
		value = json_object_get(status, part_titles[i].name);
		if (value)
			print_named_part(part_titles[i].title, value);
	}
	json_object_foreach((json_t *)(uintptr_t)status, name, value)
	{
		if ((json_is_object(value) || json_is_array(value)) && strcmp(name, "edge") != 0 &&
		    !has_title(name)) {
			char *title = label_of(name);
			title[0] = (char)(title[0] >= 'a' && title[0] <= 'z' ? title[0] - 'a' + 'A'
									     : title[0]);
			print_named_part(title, value);
			mem_free(title);
		}
	}
}

int cli_status(struct cli *c)
{
	struct err err = { 0 };
	json_t *status;
	bool is_running;

	if (cli_ask(c, "GET", "/admin/v1/status", NULL, &status, &err) < 0)
		return cli_fail(&err);
	is_running = json_is_true(json_object_get(status, "running"));
	if (c->is_json) {
		cli_print_json(status);
	} else {
		printf("The edge in %s is %s.\n", c->data_dir,
		       is_running ? "running" : "not running");
		for (size_t i = 0; i < ARRAY_LEN(sections); i++)
			print_section(&sections[i], status);
		print_parts(status);
		print_others(json_object_get(status, "edge"));
	}
	json_decref(status);
	/* Health checks of containers go by this. */
	return is_running ? EXIT_DONE : EXIT_FAILED;
}
