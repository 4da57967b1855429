#include "fake/control_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/encode.h"
#include "base/mem.h"
#include "edge/ports/ports.h"

static int on_changed(void *ctx, struct err *err)
{
	struct control_fixture *f = ctx;

	f->changed++;
	return 0;
}

static char *on_connections(void *ctx, const struct uuid *tunnel)
{
	struct control_fixture *f = ctx;

	return mem_strdup(f->connections);
}

static size_t on_connection_count(void *ctx, const struct uuid *tunnel)
{
	struct control_fixture *f = ctx;

	return f->connection_count;
}

static void on_disconnect(void *ctx, const struct uuid *tunnel, const struct uuid *connector)
{
	struct control_fixture *f = ctx;

	f->disconnected++;
	f->disconnected_one = connector != NULL;
	if (connector)
		f->disconnected_connector = *connector;
}

static char *on_status(void *ctx)
{
	return mem_strdup("{\"workers\":2}");
}

/* Port 2001 is open and has a visitor; others could not be opened. */
static void on_port_state(void *ctx, enum port_protocol protocol, uint16_t port,
			  struct ports_state *ret)
{
	*ret = (struct ports_state){ .is_known = true, .is_open = port == 2001, .in_use = 1 };
	if (!ret->is_open)
		snprintf(ret->error, sizeof(ret->error), "cannot listen: nothing here is real");
}

void control_fixture_open(struct control_fixture *f, struct loop *loop)
{
	static const char *const edges[] = { "adit.example.com:7844", "adit.example.com:7844" };
	static const char *const ports[] = { "2000-2999/tcp", "2053/udp" };
	const struct control_options options = { "https://adit.example.com:8443",
						 edges,
						 2,
						 { ports, 2 } };
	struct control_hooks hooks = {
		.ctx = f,
		.changed = on_changed,
		.connections = on_connections,
		.connection_count = on_connection_count,
		.disconnect = on_disconnect,
		.status = on_status,
		.port_state = on_port_state,
	};
	struct err err = { 0 };

	memset(f, 0, sizeof(*f));
	memcpy(f->dir, "/tmp/adit-control-XXXXXX", 25);
	BUG_IF(!mkdtemp(f->dir));
	f->store = store_open(f->dir, true, &err);
	BUG_IF(!f->store);
	BUG_IF(store_account_first(f->store, f->account, &err) < 0);
	BUG_IF(store_zone_add(f->store, f->account, "example.com", &f->zone, &err) < 0);
	BUG_IF(store_setting_put(f->store, "control.host", "adit.example.com", false, &err) < 0);
	BUG_IF(store_setting_put(f->store, "ca.cert",
				 "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
				 false, &err) < 0);
	hex_encode(uuid_bytes(&f->zone.id), f->zone_id);
	f->token = store_token_create(f->store, f->account, &f->zone.id, "test", &err);
	BUG_IF(!f->token);
	f->control = control_plane_new(f->store, loop, &hooks, &options);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void control_fixture_close(struct control_fixture *f)
{
	control_plane_free(f->control);
	store_zone_done(&f->zone);
	mem_free(f->token);
	mem_free(f->connections);
	store_close(f->store);
	(void)nftw(f->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void on_answered(struct control_request *r)
{
	struct answer *a = r->asker;

	a->answers++;
	if (bytes_eq(r->content_type, BYTES_LIT("application/json")))
		a->json = json_loadb((const char *)r->answer.ptr, r->answer.len, 0, NULL);
}

struct answer *control_fixture_send(struct control_fixture *f, const char *method,
				    const char *target, const char *const *fields,
				    struct bytes body, bool is_admin)
{
	struct answer *a = mem_alloc(sizeof(*a));
	struct control_request *r = &a->request;

	arena_init(&r->arena);
	r->head.method = arena_copy(&r->arena, bytes_str(method));
	r->head.scheme = BYTES_LIT("https");
	r->head.authority = bytes_str(f->authority ? f->authority : "adit.example.com:8443");
	r->head.path = arena_copy(&r->arena, bytes_str(target));
	r->body = arena_copy(&r->arena, body);
	r->client_ip = BYTES_LIT("192.0.2.7");
	r->is_admin = is_admin;
	r->answered = on_answered;
	r->asker = a;
	for (; fields && *fields; fields++) {
		struct bytes line = arena_copy(&r->arena, bytes_str(*fields));
		size_t colon = bytes_index(line, ':');

		BUG_IF(fields_add(&r->head.fields, &r->arena, bytes_first(line, colon),
				  bytes_trim(bytes_from(line, colon + 1))) < 0);
	}
	control_ask(f->control, r);
	return a;
}

struct answer *control_fixture_api(struct control_fixture *f, const char *method,
				   const char *target, const char *body)
{
	char *line = mem_printf("Authorization: Bearer %s", f->token);
	const char *const fields[] = { line, NULL };
	struct answer *a = control_fixture_send(f, method, target, fields, bytes_str(body), false);

	mem_free(line);
	return a;
}

void answer_done(struct answer *a)
{
	json_decref(a->json);
	arena_done(&a->request.arena);
	mem_free(a);
}

const char *answer_header(struct answer *a, const char *name)
{
	const struct field *f = fields_find_text(&a->request.fields, bytes_str(name));

	return f ? arena_strdup(&a->request.arena, f->value) : NULL;
}

bool answer_contains(const struct answer *a, const char *text)
{
	struct bytes b = a->request.answer;

	return b.len && memmem(b.ptr, b.len, text, strlen(text)) != NULL;
}

int answer_code(const struct answer *a)
{
	json_t *first = json_array_get(json_object_get(a->json, "errors"), 0);

	return (int)json_integer_value(json_object_get(first, "code"));
}
