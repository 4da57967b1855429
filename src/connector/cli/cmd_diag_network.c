/* The way to the edge: traceroute, where it is installed. */
#include <stdlib.h>

#include "base/mem.h"
#include "host/child.h"
#include "connector/cli/diag.h"
#include "io/address.h"

#define RAW_TASK "raw network information"
#define TASK "network information"
#define RAW_BYTES (64 * 1024)
/* Each takes seconds, and people have few edges. */
#define MAX_TRACES 4
#define TRACE_TIMEOUT (8 * USEC_PER_SEC)
#define MAX_HOPS 64
/* So many traces of so many hops, each with a name of 512 bytes and times that 1 KiB of line holds. */
#define NETWORK_BYTES (4 * 1024 * 1024)

/* ------------------------------------------------------------------------------------------ */

static bool parse_msec(struct bytes word, json_int_t *ret_usec)
{
	char text[32], *end;

	if (word.len == 0 || word.len >= sizeof(text))
		return false;
	memcpy(text, word.ptr, word.len);
	text[word.len] = 0;
	if (strspn(text, "0123456789.") != word.len)
		return false;
	double msec = strtod(text, &end);
	if (*end != 0 || msec > 1e9)
		return false;
	*ret_usec = (json_int_t)(msec * 1000);
	return true;
}

static void add_word(struct buf *domain, struct bytes word)
{
	if (word.len &&
	    buf_printf(domain, "%s" BYTES_FMT, domain->len ? " " : "", BYTES_ARG(word)) < 0)
		buf_clear(domain); /* no hop has so many names */
}

/* "1  gateway (192.0.2.1)  12.874 ms  15.517 ms": a number is a time when "ms" follows. */
static json_t *parse_hop(struct bytes line)
{
	struct bytes word, pending = BYTES_NONE;
	uint64_t number = 0;
	json_int_t usec_taken;
	struct buf domain;
	json_t *rtts = json_array(), *hop = NULL;
	bool is_first = true;

	buf_init(&domain, 512);
	while (bytes_split(&line, ' ', &word)) {
		if (word.len == 0)
			continue;
		if (is_first) {
			if (!bytes_to_u64(word, &number) || number == 0 || number > MAX_HOPS)
				break;
			is_first = false;
			continue;
		}
		if (bytes_eq(word, BYTES_LIT("*")))
			continue;
		if (bytes_eq(word, BYTES_LIT("ms")) && parse_msec(pending, &usec_taken)) {
			json_array_append_new(rtts, json_integer(usec_taken));
			pending = BYTES_NONE;
			continue;
		}
		add_word(&domain, pending);
		pending = word;
	}
	add_word(&domain, pending);
	if (!is_first) {
		json_t *name = domain.len ? json_stringn((const char *)domain.ptr, domain.len)
					  : json_string("*");
		hop = json_object();
		json_object_set_new(hop, "hop", json_integer((json_int_t)number));
		json_object_set_new(hop, "domain", name ? name : json_string("?"));
		if (json_array_size(rtts))
			json_object_set(hop, "rtts", rtts);
	}
	json_decref(rtts);
	buf_done(&domain);
	return hop;
}

json_t *diag_parse_hops(struct bytes text)
{
	json_t *hops = json_array();
	struct bytes line;

	while (bytes_split(&text, '\n', &line) && json_array_size(hops) < MAX_HOPS) {
		json_t *hop = parse_hop(line);
		if (hop)
			json_array_append_new(hops, hop);
	}
	return hops;
}

/* ------------------------------------------------------------------------------------------ */

/* The address that was reached, else the name as configured. Owned by the caller. */
static char *target_of(const json_t *edge)
{
	const char *peer = json_text_at(edge, "peer");
	struct bytes host;
	uint16_t port;
	struct err err;

	if (address_split(bytes_str(*peer ? peer : json_text_at(edge, "address")), &host, &port,
			  &err) < 0)
		return NULL;
	return mem_strndup(host);
}

static int trace(struct diag *d, const char *target, struct buf *raw, json_t *all, struct err *err)
{
	const char *const argv[] = { "traceroute", "-n", "-w", "2",    "-q", "3",
				     "-m",         "20", "--", target, NULL };
	char *key = mem_printf("%s-%s", target, strchr(target, ':') ? "v6" : "v4");
	int r = buf_printf(raw, "%s\n", key);
	size_t before = raw->len;

	if (r == 0)
		r = child_run(argv, diag_time(d, TRACE_TIMEOUT), raw, err);
	if (r > 0)
		r = err_set(err, E_IO, "traceroute ended with %d", r);
	/* What came before it was given up is of use too. */
	json_object_set_new(all, key, diag_parse_hops(bytes_from(buf_bytes(raw), before)));
	mem_free(key);
	return r;
}

static void write_json(struct diag *d, json_t *all)
{
	char *text = json_dumps(all, JSON_INDENT(2));

	struct buf *file = diag_file(d, "network.json", NETWORK_BYTES);
	BUG_IF(buf_append(file, bytes_str(text)) < 0);
	free(text); /* allowed: jansson's own allocation */
}

void diag_collect_network(struct diag *d)
{
	const json_t *edges = json_object_get(d->probe, "edges");
	struct buf *raw = diag_file(d, "raw-network.txt", RAW_BYTES);
	json_t *all = json_object();
	struct err err = { 0 };
	int r = 0;

	for (size_t i = 0; i < json_array_size(edges) && json_object_size(all) < MAX_TRACES; i++) {
		char *target = target_of(json_array_get(edges, i));
		char *key = target ? mem_printf("%s-%s", target, strchr(target, ':') ? "v6" : "v4")
				   : NULL;
		if (target && *target != '-' && !json_object_get(all, key))
			r = trace(d, target, raw, all, &err);
		mem_free(key);
		mem_free(target);
		if (r == E_NOT_FOUND)
			break;
	}
	if (r == E_NOT_FOUND) {
		diag_task_skipped(d, RAW_TASK, err.text);
		diag_task_skipped(d, TASK, err.text);
	} else {
		diag_task(d, RAW_TASK, r < 0 ? &err : NULL);
		diag_task(d, TASK, r < 0 ? &err : NULL);
	}
	write_json(d, all);
	json_decref(all);
}
