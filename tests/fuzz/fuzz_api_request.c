/* The control plane on requests of any shape, over a real store in a temporary directory.
 *
 * Input: "METHOD TARGET WHO\n", header lines, an empty line, the body. WHO is t (the account's token),
 * a (the administrator) or anything else (a stranger); p is a stranger who asks the host of an application that Access
 * guards. In the target @A, @Z and @T stand for the account, zone and tunnel that exist.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "edge/access/document.h"
#include "edge/access/document_yaml.h"
#include "fake/control_fixture.h"

/* A fresh store before it grows so large that lists become slow. */
#define RUNS_PER_STORE 500
#define LINES_MAX 16

static struct control_fixture fixture;
static char tunnel_id[UUID_TEXT_SIZE];
static bool is_open;
static unsigned runs;

static void close_store(void)
{
	control_fixture_close(&fixture);
}

static void guard_application(void)
{
	static const char text[] =
		"organization: {name: Home, auth_domain: adit.example.com}\n"
		"identity_providers: [{name: Codes, type: onetimepin}, {name: Here, type: password}]\n"
		"policies: [{name: All, decision: allow, include: [everyone]}]\n"
		"applications: [{name: Photos, domain: photos.example.com, policies: [All]}]\n";
	struct yaml_doc *doc = yaml_parse(bytes_str(text), "access.yml", NULL);
	json_t *document = doc ? access_document_read(doc, NULL) : NULL, *done = NULL;

	if (document)
		done = access_document_apply(fixture.store, document, &(struct access_apply){ 0 },
					     NULL);
	if (!done)
		abort();
	json_decref(done);
	json_decref(document);
	yaml_free(doc);
}

static void fresh_store(void)
{
	static const uint8_t secret[32] = { 1 };
	struct store_tunnel tunnel;

	if (is_open) {
		close_store();
	} else {
		log_setup(LOG_FATAL, LOG_CONSOLE);
		(void)atexit(close_store);
	}
	is_open = true;
	control_fixture_open(&fixture, NULL);
	if (store_tunnel_create(fixture.store, fixture.account, "home", bytes_of(secret, 32),
				&tunnel, NULL) < 0)
		abort();
	uuid_text(&tunnel.id, tunnel_id);
	guard_application();
	store_tunnel_done(&tunnel);
}

static struct bytes take_line(struct bytes *rest)
{
	struct bytes line = bytes_first(*rest, bytes_index(*rest, '\n'));

	*rest = bytes_from(*rest, line.len + 1);
	return line;
}

/* Owned. */
static char *target_text(struct bytes target)
{
	struct buf b;

	buf_init(&b, 64 * 1024);
	for (size_t i = 0; i < target.len; i++) {
		uint8_t next = target.ptr[i] == '@' && i + 1 < target.len ? target.ptr[i + 1] : 0;
		const char *known = next == 'A'   ? fixture.account
				    : next == 'Z' ? fixture.zone_id
				    : next == 'T' ? tunnel_id
						  : NULL;
		int rc = known ? buf_append_str(&b, known)
			       : buf_append(&b, bytes_of(target.ptr + i, 1));

		i += known != NULL;
		if (rc < 0)
			break;
	}
	return buf_take_str(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *fields[LINES_MAX + 2] = { 0 };
	char *owned[LINES_MAX + 2];
	struct bytes rest = bytes_of(data, size), head = take_line(&rest), line;
	struct bytes method = bytes_first(head, bytes_index(head, ' '));
	struct bytes target, who;
	size_t count = 0;

	head = bytes_from(head, method.len + 1);
	target = bytes_first(head, bytes_index(head, ' '));
	who = bytes_from(head, target.len + 1);
	if (runs++ % RUNS_PER_STORE == 0)
		fresh_store();
	/* An administrator's backup goes wherever it says: not on the machine that fuzzes. */
	if (target.len && memmem(target.ptr, target.len, "backup", 6))
		return 0;
	if (bytes_eq(who, BYTES_LIT("t")))
		owned[count++] = mem_printf("Authorization: Bearer %s", fixture.token);
	while (count < LINES_MAX && (line = take_line(&rest)).len > 0)
		owned[count++] = mem_strndup(line);
	for (size_t i = 0; i < count; i++)
		fields[i] = owned[i];

	fixture.authority = bytes_eq(who, BYTES_LIT("p")) ? "photos.example.com:8443" : NULL;
	char *method_text = mem_strndup(method), *path = target_text(target);
	struct answer *a = control_fixture_send(&fixture, method_text, path, fields, rest,
						bytes_eq(who, BYTES_LIT("a")));
	/* Offline nothing is held: each request is answered, once, with something to send. */
	if (a->answers != 1 || a->request.status < 200 || a->request.status > 599 ||
	    a->request.content_type.len == 0)
		abort();
	answer_done(a);
	mem_free(path);
	mem_free(method_text);
	for (size_t i = 0; i < count; i++)
		mem_free(owned[i]);
	return 0;
}
