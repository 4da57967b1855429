#include "edge/edge_keys.h"

#include <unistd.h>

#include "base/log.h"
#include "io/loop.h"
#include "sandbox/sandbox.h"
#include "store/seal.h"
#include "tls/key_box.h"

#define COMPONENT "edge/keys"
/* Beside the workers: the control thread, and those of the pool that order certificates. */
#define OTHER_THREADS 3

/* Of the key process alone: in the edge it stays empty. */
static struct seal_key key;
static enum sandbox_mode mode;

static int on_begin(void *ctx, struct err *err)
{
	return seal_key_load_for_keys(ctx, &key, err);
}

/* It reaches no file, and makes none of the calls that only an intruder makes; sockets and files it cannot open for another
 * reason (tls/key_box.h). */
static int on_confine(void *ctx, struct err *err)
{
	struct sandbox_paths *none = sandbox_paths_new();
	int r = sandbox_enter(mode, 0, none, err);

	(void)ctx;
	sandbox_paths_free(none);
	return r;
}

static uint8_t *on_seal(void *ctx, struct bytes plain, const char *place, size_t *ret_len)
{
	(void)ctx;
	return seal_value(&key, plain, place, ret_len);
}

static int on_open(void *ctx, struct bytes sealed, const char *place, struct secret *ret,
		   struct err *err)
{
	(void)ctx;
	return seal_open(&key, sealed, place, ret, err);
}

int edge_keys_start(const struct edge_config *cfg, struct err *err)
{
	const struct key_box_options options = {
		.conversations = (size_t)cfg->workers + OTHER_THREADS,
		.ctx = cfg->data_dir,
		.begin = on_begin,
		.confine = on_confine,
		.seal = on_seal,
		.open = on_open,
	};

	mode = cfg->sandbox;
	int r = key_box_start(&options, err);

	if (r == 0)
		log_info(COMPONENT, "private keys are in a process of their own",
			 LOG_INT("pid", key_box_pid()));
	return r;
}

void edge_keys_stop(void)
{
	key_box_stop();
}

static void on_life(void *arg, int events)
{
	(void)arg;
	(void)events;
	log_error(COMPONENT, "the key process has ended, and so does this edge",
		  LOG_INT("pid", key_box_pid()));
	log_flush_dying();
	_exit(1);
}

struct loop_watch *edge_keys_watch(struct loop *loop)
{
	if (!key_box_is_running())
		return NULL;
	struct loop_watch *w = loop_watch_new(loop, key_box_life(), on_life, NULL);
	loop_watch_set(w, LOOP_READABLE);
	return w;
}
