/* New rules without a restart: SIGHUP, or the configuration file changed. One loop.
 *
 * The file is read off the loop. Good rules take over for new exchanges, running ones finish on theirs;
 * a bad file is named with line and column and changes nothing.
 */
#pragma once

struct connector_config;
struct ingress;
struct loop;
struct reloader;
struct server;

/* Both are borrowed for life. Without a configuration file only SIGHUP is caught, and said to be idle. */
struct reloader *reloader_new(struct loop *loop, const struct connector_config *cfg,
			      struct server *server);
/* Before the loop is freed; a read under way ends by itself. */
struct reloader *reloader_free(struct reloader *r);
/* Says which rules count from now on, in a line that programs read, too: config="{\"ingress\":[…]}" version=N. */
void reload_log_rules(const char *message, const struct ingress *ingress, int version,
		      const char *path);
