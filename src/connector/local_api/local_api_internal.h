/* Shared inside connector/local_api/ only. */
#pragma once

#include <jansson.h>

#include "connector/local_api/local_api.h"
#include "http/exchange.h"
#include "io/address.h"

struct probe_run;

/* Something that takes a while and is made once for all who ask meanwhile. */
struct job {
	struct list waiters;
	bool is_running;
	json_t *result; /* between two threads: written by the work, taken by its end */
};

struct local_api {
	struct h1_listener *listener;
	struct handler_chain chain;
	struct loop *loop;
	const struct connector_config *config;
	struct dialer *dialer;
	struct server *server;
	struct uuid connector;
	struct address address;
	struct job system, probe;
	struct probe_run *run; /* owned; while `probe` runs */
};

/* Ends the exchange with this object, and the object. */
void local_api_answer_json(struct exchange *x, json_t *value);

/* pages.c: each answers, at once or later. */
void page_metrics(struct exchange *x, struct local_api *api);
void page_ready(struct exchange *x, struct local_api *api);
void page_healthcheck(struct exchange *x, struct local_api *api);
void page_config(struct exchange *x, struct local_api *api);
void page_quicktunnel(struct exchange *x, struct local_api *api);
/* diag.c */
void page_diag_tunnel(struct exchange *x, struct local_api *api);
void page_diag_configuration(struct exchange *x, struct local_api *api);
void page_diag_system(struct exchange *x, struct local_api *api);
void page_diag_probe(struct exchange *x, struct local_api *api);
