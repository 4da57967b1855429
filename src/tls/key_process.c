/* The process that has the private keys (tls/key_box.h). After its start it makes no system call but to
 * receive, send, wait for its threads, and for memory. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/reader.h"
#include "base/writer.h"
#include "tls/key_box_internal.h"
#include "tls/tls_internal.h"

/* What signing takes, with room: RSA in GMP has its numbers on the stack. */
#define STACK_BYTES (256 * 1024)

struct held_key {
	unsigned refs; /* under the lock */
	uint64_t handle;
	gnutls_privkey_t key;
};

static struct {
	struct key_box_options options;
	pthread_mutex_t lock;
	struct map *keys; /* handle -> struct held_key */
	uint64_t last_handle;
} self = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct question {
	enum key_verb verb;
	uint32_t algorithm;
	uint64_t handle;
	char place[KEY_PLACE_BYTES + 1];
	struct bytes data;
};

static int failed(int gnutls_code, struct err *err)
{
	return tls_error(err, NULL, gnutls_code);
}

static gnutls_datum_t datum_of(struct bytes b)
{
	return (gnutls_datum_t){ (void *)(uintptr_t)b.ptr, (unsigned)b.len };
}

/* --- Keys -------------------------------------------------------------------------------------- */

static struct bytes handle_key(const uint64_t *handle)
{
	return bytes_of((const void *)handle, sizeof(*handle));
}

static void drop(struct held_key *k)
{
	pthread_mutex_lock(&self.lock);
	bool is_last = --k->refs == 0;
	pthread_mutex_unlock(&self.lock);
	if (!is_last)
		return;
	gnutls_privkey_deinit(k->key); /* wipes it */
	mem_free(k);
}

static struct held_key *find(uint64_t handle)
{
	pthread_mutex_lock(&self.lock);
	struct held_key *k = map_find(self.keys, handle_key(&handle));
	if (k)
		k->refs++;
	pthread_mutex_unlock(&self.lock);
	return k;
}

/* Takes the key over. */
static int hold(gnutls_privkey_t key, uint64_t *ret, struct err *err)
{
	struct held_key *k = mem_alloc(sizeof(*k));
	bool has_room;

	k->refs = 1;
	k->key = key;
	pthread_mutex_lock(&self.lock);
	has_room = map_count(self.keys) < LIMIT_KEY_PROCESS_KEYS;
	if (has_room) {
		*ret = k->handle = ++self.last_handle;
		map_put(self.keys, handle_key(&k->handle), k);
	}
	pthread_mutex_unlock(&self.lock);
	if (has_room)
		return 0;
	drop(k);
	return err_set(err, E_LIMIT, "the key process has %d keys already", LIMIT_KEY_PROCESS_KEYS);
}

static int read_key(struct bytes pem, gnutls_privkey_t *ret, struct err *err)
{
	gnutls_datum_t data = datum_of(pem);
	int code = gnutls_privkey_init(ret);

	if (code == 0)
		code = gnutls_privkey_import_x509_raw(*ret, &data, GNUTLS_X509_FMT_PEM, NULL, 0);
	if (code == 0)
		return 0;
	if (*ret)
		gnutls_privkey_deinit(*ret);
	return code == GNUTLS_E_DECRYPTION_FAILED
		       ? err_set(err, E_INVALID, "the private key is encrypted")
		       : err_set(err, E_INVALID, "there is no private key in the PEM text");
}

/* --- What is asked ----------------------------------------------------------------------------- */

static int on_seal(const struct question *q, struct writer *w, struct err *err)
{
	gnutls_privkey_t key = NULL;
	size_t len = 0;
	int r = read_key(q->data, &key, err);

	if (r < 0)
		return r;
	gnutls_privkey_deinit(key);
	uint8_t *sealed = self.options.seal(self.options.ctx, q->data, q->place, &len);
	writer_put(w, bytes_of(sealed, len));
	mem_free(sealed);
	return 0;
}

static int put_public(gnutls_privkey_t key, struct writer *w)
{
	gnutls_pubkey_t public = NULL;
	gnutls_datum_t der = { NULL, 0 };
	int code = gnutls_pubkey_init(&public);

	if (code == 0)
		code = gnutls_pubkey_import_privkey(public, key, 0, 0);
	if (code == 0)
		code = gnutls_pubkey_export2(public, GNUTLS_X509_FMT_DER, &der);
	if (code == 0)
		writer_put(w, bytes_of(der.data, der.size));
	gnutls_free(der.data);
	if (public)
		gnutls_pubkey_deinit(public);
	return code;
}

static int on_open(const struct question *q, struct writer *w, struct err *err)
{
	struct secret plain = { 0 };
	gnutls_privkey_t key = NULL;
	uint64_t handle = 0;
	uint8_t public[KEY_MESSAGE_BYTES / 2];
	struct writer spki = writer_of(public, sizeof(public));
	int r = self.options.open(self.options.ctx, q->data, q->place, &plain, err);

	if (r == 0)
		r = read_key(bytes_of(plain.ptr, plain.len), &key, err);
	secret_done(&plain);
	if (r < 0)
		return r;
	int code = put_public(key, &spki);
	if (code < 0) {
		gnutls_privkey_deinit(key);
		return failed(code, err);
	}
	r = hold(key, &handle, err);
	writer_u64le(w, handle);
	writer_put(w, writer_bytes(&spki));
	return r;
}

static int make_key(enum private_key_kind kind, gnutls_x509_privkey_t key)
{
	switch (kind) {
	case PRIVATE_KEY_P256:
		return gnutls_x509_privkey_generate(
			key, GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
	case PRIVATE_KEY_RSA:
		return gnutls_x509_privkey_generate(key, GNUTLS_PK_RSA, PRIVATE_KEY_RSA_BITS, 0);
	}
	return GNUTLS_E_UNKNOWN_PK_ALGORITHM;
}

static int seal_made(const struct question *q, gnutls_x509_privkey_t key, struct writer *w)
{
	gnutls_datum_t pem = { NULL, 0 };
	size_t len = 0;
	int code = gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
						     GNUTLS_PKCS_PLAIN, &pem);

	if (code < 0)
		return code;
	uint8_t *sealed =
		self.options.seal(self.options.ctx, bytes_of(pem.data, pem.size), q->place, &len);
	writer_put(w, bytes_of(sealed, len));
	mem_free(sealed);
	secret_wipe(pem.data, pem.size);
	gnutls_free(pem.data);
	return 0;
}

static int on_make(const struct question *q, struct writer *w, struct err *err)
{
	uint8_t bytes[KEY_MESSAGE_BYTES / 2];
	struct writer parts = writer_of(bytes, sizeof(bytes));
	gnutls_x509_privkey_t made = NULL;
	gnutls_privkey_t key = NULL;
	uint64_t handle = 0;
	size_t public_len = 0;
	int code = gnutls_x509_privkey_init(&made);

	if (code == 0)
		code = make_key((enum private_key_kind)q->algorithm, made);
	if (code == 0)
		code = gnutls_privkey_init(&key);
	if (code == 0)
		code = gnutls_privkey_import_x509(key, made, GNUTLS_PRIVKEY_IMPORT_COPY);
	if (code == 0)
		code = put_public(key, &parts);
	public_len = parts.len;
	if (code == 0)
		code = seal_made(q, made, &parts);
	if (made)
		gnutls_x509_privkey_deinit(made); /* wipes it */
	if (code < 0) {
		if (key)
			gnutls_privkey_deinit(key);
		return failed(code, err);
	}
	int r = hold(key, &handle, err);
	writer_u64le(w, handle);
	writer_u16le(w, (uint16_t)public_len);
	writer_put(w, writer_bytes(&parts));
	return r;
}

static int on_sign(const struct question *q, struct writer *w, struct err *err)
{
	gnutls_sign_algorithm_t algorithm = (gnutls_sign_algorithm_t)q->algorithm;
	gnutls_datum_t data = datum_of(q->data), signature = { NULL, 0 };
	struct held_key *k = find(q->handle);

	if (!k)
		return err_set(err, E_NOT_FOUND, "no such key");
	int code = q->verb == KEY_SIGN_DATA
			   ? gnutls_privkey_sign_data2(k->key, algorithm, 0, &data, &signature)
			   : gnutls_privkey_sign_hash2(k->key, algorithm, 0, &data, &signature);
	drop(k);
	if (code < 0)
		return failed(code, err);
	writer_put(w, bytes_of(signature.data, signature.size));
	gnutls_free(signature.data);
	return 0;
}

static int on_close(const struct question *q)
{
	pthread_mutex_lock(&self.lock);
	struct held_key *k = map_take(self.keys, handle_key(&q->handle));
	pthread_mutex_unlock(&self.lock);
	if (k)
		drop(k);
	return 0;
}

static int read_question(struct bytes message, struct question *ret, struct err *err)
{
	struct reader r = reader_of(message);

	ret->verb = (enum key_verb)reader_u8(&r);
	ret->algorithm = reader_u32le(&r);
	ret->handle = reader_u64le(&r);
	struct bytes place = reader_take(&r, reader_u16le(&r));
	if (!reader_ok(&r) || place.len > KEY_PLACE_BYTES ||
	    (place.len && memchr(place.ptr, 0, place.len)))
		return err_set(err, E_PROTOCOL, "a question that makes no sense");
	if (place.len)
		memcpy(ret->place, place.ptr, place.len);
	ret->place[place.len] = '\0';
	ret->data = r.left;
	return 0;
}

static int answer(struct bytes message, struct writer *w, struct err *err)
{
	struct question q;
	int r = read_question(message, &q, err);

	if (r < 0)
		return r;
	switch (q.verb) {
	case KEY_SEAL:
		return on_seal(&q, w, err);
	case KEY_OPEN:
		return on_open(&q, w, err);
	case KEY_SIGN_DATA:
	case KEY_SIGN_HASH:
		return on_sign(&q, w, err);
	case KEY_CLOSE:
		return on_close(&q);
	case KEY_MAKE:
		return on_make(&q, w, err);
	case KEY_VERBS:
		break;
	}
	return err_set(err, E_PROTOCOL, "a question that makes no sense");
}

void key_process_prepare(const struct key_box_options *options)
{
	tls_global_init();
	self.options = *options;
	self.keys = map_new();
}

size_t key_process_answer(struct bytes message, uint8_t *out)
{
	struct writer w = writer_of(out, KEY_MESSAGE_BYTES);
	struct err err = { 0 };

	writer_u8(&w, 0);
	int r = answer(message, &w, &err);
	if (r == 0 && !writer_ok(&w))
		r = err_set(&err, E_LIMIT, "too much for one answer");
	if (r < 0) {
		w = writer_of(out, KEY_MESSAGE_BYTES);
		writer_u8(&w, (uint8_t)-r);
		writer_put(&w, bytes_str(err.text));
	}
	return w.len;
}

/* --- The conversations -------------------------------------------------------------------------- */

/* Until this end is closed: then the other process has gone, and so do all threads here. */
static void *converse(void *arg)
{
	int fd = (int)(intptr_t)arg;
	uint8_t *in = mem_alloc(KEY_MESSAGE_BYTES), *out = mem_alloc(KEY_MESSAGE_BYTES);

	for (;;) {
		ssize_t n = recv(fd, in, KEY_MESSAGE_BYTES, MSG_TRUNC); /* allowed: has no loop */
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || n > KEY_MESSAGE_BYTES)
			_exit(n == 0 ? 0 : 1);
		size_t len = key_process_answer(bytes_of(in, (size_t)n), out);
		secret_wipe(in, (size_t)n);
		if (send(fd, out, len, MSG_NOSIGNAL) < 0) /* allowed: has no loop */
			_exit(0);
	}
	return NULL;
}

/* Ends the process with the other one, even when all conversations are at something that does not end. */
static void *wait_for_end(void *arg)
{
	uint8_t byte;
	ssize_t n;

	do
		n = recv((int)(intptr_t)arg, &byte, 1, 0); /* allowed: has no loop */
	while (n > 0 || (n < 0 && errno == EINTR));
	_exit(0);
}

static int begin(const struct key_box_options *o, pid_t parent, struct err *err)
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE };
	static const struct rlimit nothing = { 0, 0 };

	/* A service manager signals all processes of a service: this one goes when the other has gone. */
	for (size_t i = 0; i < ARRAY_LEN(ignored); i++)
		signal(ignored[i], SIG_IGN);
	(void)prctl(PR_SET_NAME, "edge-keys");
	/* Until there are threads that would see it, whatever it is at then, also in a library. Later the kernel would ask
	 * whether the parent may signal anybody, and a sandbox with landlock says no. The parent may have gone before. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_set_errno(err, E_IO, errno, "PR_SET_PDEATHSIG");
	if (getppid() != parent)
		_exit(0);
	(void)setrlimit(RLIMIT_CORE, &nothing);
	key_process_prepare(o);
	int r = o->begin(o->ctx, err);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_set_errno(err, E_IO, errno, "PR_SET_NO_NEW_PRIVS");
	/* From then on ptrace(2) and /proc/PID/mem are for root alone. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0) < 0)
		r = err_set_errno(err, E_IO, errno, "PR_SET_DUMPABLE");
	if (r == 0 && o->confine)
		r = o->confine(o->ctx, err);
	/* Opens nothing from here on, file or socket, and writes no file. */
	(void)setrlimit(RLIMIT_NOFILE, &nothing);
	(void)setrlimit(RLIMIT_FSIZE, &nothing);
	return r;
}

static int start_threads(int life, const int *ends, size_t end_count, struct err *err)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int code = pthread_attr_init(&attributes);

	if (code == 0)
		code = pthread_attr_setstacksize(&attributes, STACK_BYTES);
	if (code == 0)
		code = pthread_create(&thread, &attributes, wait_for_end, (void *)(intptr_t)life);
	for (size_t i = 1; i < end_count && code == 0; i++)
		code = pthread_create(&thread, &attributes, converse, (void *)(intptr_t)ends[i]);
	return code ? err_set_errno(err, E_IO, code, "starting a thread") : 0;
}

void key_process_run(const struct key_box_options *options, pid_t parent, int life, const int *ends,
		     size_t end_count)
{
	struct err err = { 0 };
	int r = begin(options, parent, &err);

	if (r == 0)
		r = start_threads(life, ends, end_count, &err);
	err.code = r;
	(void)!send(life, &err, sizeof(err), MSG_NOSIGNAL); /* allowed: has no loop */
	if (r < 0)
		_exit(1);
	(void)converse((void *)(intptr_t)ends[0]);
	_exit(0);
}
