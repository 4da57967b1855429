/* What every kind of http_server has in front. */
#pragma once

#include "http/server.h"

struct http_server_ops {
	const char *protocol;
	void (*drain)(struct http_server *s);
	void (*leave)(struct http_server *s);
	void (*close)(struct http_server *s);
};

struct http_server {
	const struct http_server_ops *ops;
	struct http_server_options options; /* none of its times is 0 */
};

void http_server_init(struct http_server *s, const struct http_server_ops *ops,
		      const struct http_server_options *options);
