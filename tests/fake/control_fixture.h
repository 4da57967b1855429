/* A control plane over a real SQLite store in a temporary directory, asked without a network. */
#pragma once

#include <jansson.h>

#include "base/buf.h"
#include "edge/control/control.h"
#include "store/store.h"

struct loop;

struct control_fixture {
	char dir[64];
	struct store *store;
	struct control *control;
	char account[33];
	struct store_zone zone; /* example.com */
	char zone_id[33];
	char *token;       /* of that zone */
	char *connections; /* JSON the hook hands out; NULL: none */
	size_t connection_count;
	const char *authority; /* what requests go to; NULL: the control host */
	/* what the hooks saw */
	int changed, disconnected;
	bool disconnected_one;
	struct uuid disconnected_connector;
};

/* `loop` may be NULL. */
void control_fixture_open(struct control_fixture *f, struct loop *loop);
void control_fixture_close(struct control_fixture *f);

struct answer {
	struct control_request request;
	int answers;  /* how often answered() was called */
	json_t *json; /* owned; NULL when the answer is no JSON */
};

/* One request; free it with answer_done() once it is answered. `fields` is a list of "Name: value",
 * ended by NULL; NULL: none. */
struct answer *control_fixture_send(struct control_fixture *f, const char *method,
				    const char *target, const char *const *fields,
				    struct bytes body, bool is_admin);
/* With the fixture's token. `body` may be NULL. */
struct answer *control_fixture_api(struct control_fixture *f, const char *method,
				   const char *target, const char *body);
void answer_done(struct answer *a);
/* First field of that name, NUL-terminated in the answer's arena; NULL: none. */
const char *answer_header(struct answer *a, const char *name);
bool answer_contains(const struct answer *a, const char *text);
/* errors[0].code; 0 when there is none. */
int answer_code(const struct answer *a);
