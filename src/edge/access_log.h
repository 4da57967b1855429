/* The edge's logs: where they go, and one line for each exchange with a visitor. */
#pragma once

#include "http/exchange.h"

struct edge_config;
struct exchange_outcome;

/* Sets base/log.h up as the settings say. A file that cannot be written is said once; the edge goes on.
 * Before other threads exist. */
void edge_logs_setup(const struct edge_config *cfg);

/* For on_exchange(): at level debug the request's head is logged, and its response's in the end. */
void access_log_begin(const struct exchange *x);
/* For on_end(): the line. Any worker. */
void access_log_end(const struct exchange *x);
/* The same with an outcome that somebody knows better. Method, host and asked_path are what the line shows. */
void access_log_write(const struct exchange *x, const struct exchange_outcome *o);
