/* What an edge shuts itself in with (sandbox/sandbox.h): which files it will ever need, made of its settings. */
#pragma once

#include "base/err.h"
#include "edge/edge_config.h"

/* Becomes `user`, where that is set. Before files are made that this user has to write; before threads. */
int edge_become_user(const struct edge_config *cfg, struct err *err);
/* The rest of it. Before threads. */
int edge_enter_sandbox(const struct edge_config *cfg, struct err *err);
