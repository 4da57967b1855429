/* The key process of an edge (tls/key_box.h): what seals private keys comes from the data directory, and only that
 * process derives it. */
#pragma once

#include "base/err.h"
#include "edge/edge_config.h"

struct loop;

/* While there is one thread, and a store in the data directory. */
int edge_keys_start(const struct edge_config *cfg, struct err *err);
void edge_keys_stop(void);

/* An edge whose key process has gone ends at once, with status 1, for whoever supervises it to start both: it could
 * shake no hands, and a second key process would need what this one must not have. */
struct loop_watch *edge_keys_watch(struct loop *loop);
