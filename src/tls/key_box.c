/* This side of the conversation with the key process. */
#include "tls/key_box.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "base/reader.h"
#include "base/writer.h"
#include "tls/key_box_internal.h"
#include "tls/tls_internal.h"

#define CALLS_HELP "What the key process was asked for, by kind"

#define CALLS(kind_)                                                                         \
	{                                                                                    \
		.name = "adit_edge_key_process_calls_total", .labels = "kind=\"" kind_ "\"", \
		.help = CALLS_HELP,                                                          \
	}

static struct metric metric_calls[KEY_VERBS] = {
	[KEY_SEAL] = CALLS("seal"),      [KEY_OPEN] = CALLS("open"),
	[KEY_SIGN_DATA] = CALLS("sign"), [KEY_SIGN_HASH] = CALLS("sign_hash"),
	[KEY_CLOSE] = CALLS("close"),    [KEY_MAKE] = CALLS("make"),
};
static struct metric metric_failures = {
	.name = "adit_edge_key_process_failures_total",
	.help = "Questions that the key process refused, or did not answer",
};

/* In the key process its ends have these numbers and the ones after. */
#define FIRST_END 100

struct conversation {
	pthread_mutex_t lock;
	int fd;
};

static struct {
	pid_t pid; /* 0: there is none */
	int life;
	struct conversation *list; /* owned */
	size_t count;
	atomic_uint next;
} box = { .life = -1 };

static _Thread_local unsigned own_number; /* plus one; 0: none yet */

/* --- Asking ------------------------------------------------------------------------------------- */

static struct conversation *own_conversation(void)
{
	if (own_number == 0)
		own_number = 1 + atomic_fetch_add_explicit(&box.next, 1, memory_order_relaxed);
	return &box.list[(own_number - 1) % box.count];
}

static int exchange(struct conversation *c, struct bytes question, uint8_t *ret, size_t *ret_len)
{
	ssize_t n = send(c->fd, question.ptr, question.len, MSG_NOSIGNAL); /* allowed: local */

	if (n < 0)
		return errno == EMSGSIZE ? E_LIMIT : E_CLOSED;
	do
		n = recv(c->fd, ret, KEY_MESSAGE_BYTES, 0); /* allowed: local, answered at once */
	while (n < 0 && errno == EINTR);
	if (n > 0) {
		*ret_len = (size_t)n;
		return 0;
	}
	/* An answer that comes after all would be taken for that to another question. */
	if (n < 0)
		(void)shutdown(c->fd, SHUT_RDWR);
	return E_CLOSED;
}

int key_box_ask_raw(struct bytes question, uint8_t *answer, size_t *ret_len, struct err *err)
{
	size_t len = 0;

	if (!key_box_is_running())
		return err_set(err, E_CLOSED, "there is no key process");
	struct conversation *c = own_conversation();
	pthread_mutex_lock(&c->lock);
	int r = exchange(c, question, answer, &len);
	pthread_mutex_unlock(&c->lock);
	if (r < 0)
		err_set(err, r, "the key process does not answer");
	else if (answer[0])
		r = err_set(err, -(int)answer[0], BYTES_FMT,
			    BYTES_ARG(bytes_of(answer + 1, len - 1)));
	if (r < 0) {
		metric_add(&metric_failures, 1);
		return r;
	}
	memmove(answer, answer + 1, len - 1);
	*ret_len = len - 1;
	return 0;
}

int key_box_ask(const struct key_question *q, uint8_t *answer, size_t *ret_len, struct err *err)
{
	size_t place_len = q->place ? strlen(q->place) : 0;
	size_t size = KEY_HEAD_BYTES + place_len + q->data.len;

	if (place_len > KEY_PLACE_BYTES || size > KEY_MESSAGE_BYTES)
		return err_set(err, E_LIMIT, "more than the key process takes at once");
	uint8_t *message = mem_alloc(size);
	struct writer w = writer_of(message, size);
	writer_u8(&w, (uint8_t)q->verb);
	writer_u32le(&w, q->algorithm);
	writer_u64le(&w, q->handle);
	writer_u16le(&w, (uint16_t)place_len);
	writer_put(&w, bytes_of((const uint8_t *)q->place, place_len));
	writer_put(&w, q->data);
	metric_add(&metric_calls[q->verb], 1);
	int r = key_box_ask_raw(writer_bytes(&w), answer, ret_len, err);
	secret_wipe(message, size);
	mem_free(message);
	return r;
}

int key_box_seal(struct bytes pem, const char *place, struct secret *ret, struct err *err)
{
	const struct key_question q = { .verb = KEY_SEAL, .place = place, .data = pem };
	uint8_t *answer = mem_alloc(KEY_MESSAGE_BYTES);
	size_t len = 0;
	int r = key_box_ask(&q, answer, &len, err);

	if (r == 0)
		secret_set(ret, bytes_of(answer, len));
	mem_free(answer);
	return r;
}

/* --- A key of GnuTLS that is elsewhere ---------------------------------------------------------- */

struct boxed_key {
	uint64_t handle;
	int algorithm, bits; /* gnutls_pk_algorithm_t */
};

static int sign(enum key_verb verb, gnutls_sign_algorithm_t algorithm, const struct boxed_key *k,
		const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	const struct key_question q = {
		.verb = verb,
		.algorithm = (uint32_t)algorithm,
		.handle = k->handle,
		.data = bytes_of(data->data, data->size),
	};
	uint8_t answer[KEY_MESSAGE_BYTES] UNINITIALIZED;
	size_t len = 0;

	if (key_box_ask(&q, answer, &len, NULL) < 0 || len == 0)
		return GNUTLS_E_PK_SIGN_FAILED;
	signature->data = gnutls_malloc(len);
	if (!signature->data)
		return GNUTLS_E_MEMORY_ERROR;
	memcpy(signature->data, answer, len);
	signature->size = (unsigned)len;
	return 0;
}

static int on_sign_data(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *k,
			unsigned flags, const gnutls_datum_t *data, gnutls_datum_t *signature)
{
	(void)key;
	(void)flags;
	return sign(KEY_SIGN_DATA, algorithm, k, data, signature);
}

static int on_sign_hash(gnutls_privkey_t key, gnutls_sign_algorithm_t algorithm, void *k,
			unsigned flags, const gnutls_datum_t *hash, gnutls_datum_t *signature)
{
	(void)key;
	(void)flags;
	return sign(KEY_SIGN_HASH, algorithm, k, hash, signature);
}

static void on_deinit(gnutls_privkey_t key, void *arg)
{
	struct boxed_key *k = arg;
	const struct key_question q = { .verb = KEY_CLOSE, .handle = k->handle };
	uint8_t answer[KEY_MESSAGE_BYTES] UNINITIALIZED;
	size_t len = 0;

	(void)key;
	/* When the key process has gone, so have its keys. */
	(void)key_box_ask(&q, answer, &len, NULL);
	mem_free(k);
}

static int on_info(gnutls_privkey_t key, unsigned flags, void *arg)
{
	const struct boxed_key *k = arg;

	(void)key;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO)
		return k->algorithm;
	if (flags & GNUTLS_PRIVKEY_INFO_PK_ALGO_BITS)
		return k->bits;
	if (flags & GNUTLS_PRIVKEY_INFO_HAVE_SIGN_ALGO)
		return gnutls_sign_supports_pk_algorithm(GNUTLS_FLAGS_TO_SIGN_ALGO(flags),
							 (gnutls_pk_algorithm_t)k->algorithm) != 0;
	return -1;
}

/* `public` is a SubjectPublicKeyInfo. */
static int wrap(uint64_t handle, struct bytes public, gnutls_pubkey_t *ret_public,
		gnutls_privkey_t *ret_key)
{
	struct boxed_key *k = mem_alloc(sizeof(*k));
	unsigned bits = 0;
	k->handle = handle;
	gnutls_datum_t der = { (void *)(uintptr_t) public.ptr, (unsigned)public.len };
	int code = gnutls_pubkey_init(ret_public);

	if (code == 0)
		code = gnutls_pubkey_import(*ret_public, &der, GNUTLS_X509_FMT_DER);
	if (code == 0)
		k->algorithm = code = gnutls_pubkey_get_pk_algorithm(*ret_public, &bits);
	k->bits = (int)bits;
	if (code >= 0)
		code = gnutls_privkey_init(ret_key);
	if (code >= 0)
		code = gnutls_privkey_import_ext4(*ret_key, k, on_sign_data, on_sign_hash, NULL,
						  on_deinit, on_info, 0);
	if (code < 0)
		on_deinit(NULL, k);
	return code;
}

/* Asks for a key, and takes what came. `ret_sealed`: NULL when the answer has none. */
static int get_key(const struct key_question *q, struct secret *ret_sealed,
		   gnutls_pubkey_t *ret_public, gnutls_privkey_t *ret_key, struct err *err)
{
	uint8_t *answer = mem_alloc(KEY_MESSAGE_BYTES);
	size_t len = 0;
	int r = key_box_ask(q, answer, &len, err);

	*ret_public = NULL;
	*ret_key = NULL;
	if (r == 0) {
		struct reader from = reader_of(bytes_of(answer, len));
		uint64_t handle = reader_u64le(&from);
		struct bytes public =
			ret_sealed ? reader_take(&from, reader_u16le(&from)) : from.left;
		if (ret_sealed)
			secret_set(ret_sealed, from.left);
		int code = wrap(handle, public, ret_public, ret_key);
		if (code < 0)
			r = tls_error(err, NULL, code);
	}
	mem_free(answer);
	if (r < 0) {
		if (*ret_public)
			gnutls_pubkey_deinit(*ret_public);
		if (*ret_key)
			gnutls_privkey_deinit(*ret_key);
		*ret_public = NULL;
		*ret_key = NULL;
	}
	return r;
}

int key_box_open(struct bytes sealed, const char *place, gnutls_pubkey_t *ret_public,
		 gnutls_privkey_t *ret_key, struct err *err)
{
	const struct key_question q = { .verb = KEY_OPEN, .place = place, .data = sealed };

	return get_key(&q, NULL, ret_public, ret_key, err);
}

int key_box_make(enum private_key_kind kind, const char *place, struct secret *ret_sealed,
		 gnutls_pubkey_t *ret_public, gnutls_privkey_t *ret_key, struct err *err)
{
	const struct key_question q = { .verb = KEY_MAKE, .algorithm = kind, .place = place };

	return get_key(&q, ret_sealed, ret_public, ret_key, err);
}

/* --- Life --------------------------------------------------------------------------------------- */

bool key_box_is_running(void)
{
	return box.pid != 0;
}

pid_t key_box_pid(void)
{
	return box.pid;
}

int key_box_life(void)
{
	return box.life;
}

void key_box_register_metrics(void)
{
	for (size_t i = 1; i < KEY_VERBS; i++)
		metric_register(&metric_calls[i]);
	metric_register(&metric_failures);
}

static void close_all(const int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0)
			close(fds[i]); /* allowed: not of a loop */
}

/* In the new process: everything that it has been given by being a copy is closed. */
static noreturn void become_key_process(const struct key_box_options *o, pid_t parent, int *ends,
					size_t count)
{
	/* What this program still writes to a descriptor of before shall reach nothing. */
	unsigned first = FIRST_END;

	/* First up and out of the way, then down to the places that they keep. */
	for (size_t i = 0; i < count; i++)
		ends[i] = fcntl(ends[i], F_DUPFD, (int)(first + count));
	for (size_t i = 0; i < count; i++)
		ends[i] = dup2(ends[i], (int)(first + i));
	(void)syscall(SYS_close_range, STDERR_FILENO + 1, first - 1, 0);
	(void)syscall(SYS_close_range, first + count, ~0U, 0);
	close(STDIN_FILENO);  /* allowed: not of a loop */
	close(STDOUT_FILENO); /* allowed: not of a loop */
	key_process_run(o, parent, ends[0], ends + 1, count - 1);
}

/* Its first word. */
static int await_ready(int life, struct err *err)
{
	struct err said = { 0 };
	ssize_t n;

	do
		n = recv(life, &said, sizeof(said), 0); /* allowed: local, before there is a loop */
	while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(said))
		return err_set(err, E_IO, "the key process has ended while it began");
	said.text[sizeof(said.text) - 1] = '\0';
	return said.code < 0 ? err_set(err, said.code, "%s", said.text) : 0;
}

static int make_pairs(int *ours, int *theirs, size_t count, struct err *err)
{
	const struct timeval patience = { .tv_sec = LIMIT_KEY_PROCESS_SECONDS };
	int pair[2];

	for (size_t i = 0; i < count; i++)
		ours[i] = theirs[i] = -1;
	for (size_t i = 0; i < count; i++) {
		if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
			return err_set_errno(err, E_IO, errno, "socketpair");
		ours[i] = pair[0];
		theirs[i] = pair[1];
		if (setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0)
			return err_set_errno(err, E_IO, errno, "SO_RCVTIMEO");
	}
	return 0;
}

int key_box_start(const struct key_box_options *options, struct err *err)
{
	size_t count = options->conversations + 1;
	int *ours = mem_alloc_array(count, sizeof(*ours));
	int *theirs = mem_alloc_array(count, sizeof(*theirs));
	pid_t pid = -1, parent = getpid();

	BUG_IF(box.pid || options->conversations == 0);
	tls_global_init();
	int r = make_pairs(ours, theirs, count, err);
	if (r == 0 && (pid = fork()) < 0)
		r = err_set_errno(err, E_IO, errno, "fork");
	if (pid == 0)
		become_key_process(options, parent, theirs, count);
	close_all(theirs, count);
	if (r == 0)
		r = await_ready(ours[0], err);
	if (r < 0) {
		close_all(ours, count);
		if (pid > 0)
			(void)waitpid(pid, NULL, 0);
		err_wrap(err, "the key process");
	} else {
		box.pid = pid;
		box.life = ours[0];
		box.count = options->conversations;
		box.list = mem_alloc_array(box.count, sizeof(*box.list));
		for (size_t i = 0; i < box.count; i++) {
			pthread_mutex_init(&box.list[i].lock, NULL);
			box.list[i].fd = ours[i + 1];
		}
	}
	mem_free(ours);
	mem_free(theirs);
	return r;
}

void key_box_stop(void)
{
	if (!box.pid)
		return;
	for (size_t i = 0; i < box.count; i++) {
		close(box.list[i].fd); /* allowed: not of a loop */
		pthread_mutex_destroy(&box.list[i].lock);
	}
	close(box.life); /* allowed: not of a loop */
	(void)waitpid(box.pid, NULL, 0);
	mem_free(box.list);
	box.list = NULL;
	box.pid = 0;
	box.life = -1;
}
