/* Private keys in a process of their own (tls/key_box.h). */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/writer.h"
#include "tls/key_box_internal.h"
#include "tls/tls_internal.h"

#define PLACE "certificate domain example.com"

/* --- A box that seals with a byte, so that a test can damage what it likes ----------------------- */

static int begin(void *ctx, struct err *err)
{
	const char *why = ctx;

	return why ? err_set(err, E_DENIED, "%s", why) : 0;
}

static uint8_t *seal(void *ctx, struct bytes plain, const char *place, size_t *ret_len)
{
	size_t place_len = strlen(place);
	uint8_t *sealed = mem_alloc(1 + place_len + plain.len);

	(void)ctx;
	sealed[0] = (uint8_t)place_len;
	memcpy(sealed + 1, place, place_len);
	for (size_t i = 0; i < plain.len; i++)
		sealed[1 + place_len + i] = plain.ptr[i] ^ 0x55;
	*ret_len = 1 + place_len + plain.len;
	return sealed;
}

static int open_sealed(void *ctx, struct bytes sealed, const char *place, struct secret *ret,
		       struct err *err)
{
	size_t place_len = strlen(place);

	(void)ctx;
	if (sealed.len < 1 + place_len || sealed.ptr[0] != place_len ||
	    memcmp(sealed.ptr + 1, place, place_len) != 0)
		return err_set(err, E_DENIED, "another place");
	secret_set(ret, bytes_from(sealed, 1 + place_len));
	for (size_t i = 0; i < ret->len; i++)
		ret->ptr[i] ^= 0x55;
	return 0;
}

static const struct key_box_options options = {
	.conversations = 2,
	.begin = begin,
	.seal = seal,
	.open = open_sealed,
};

static int start(void **state)
{
	(void)state;
	return key_box_start(&options, NULL);
}

static int stop(void **state)
{
	(void)state;
	key_box_stop();
	return 0;
}

/* --- Certificates ------------------------------------------------------------------------------- */

static char *text_of(gnutls_datum_t *d)
{
	char *text = mem_strndup(bytes_of(d->data, d->size));

	gnutls_free(d->data);
	return text;
}

/* Self-signed, for example.com. */
static void make(gnutls_pk_algorithm_t algorithm, unsigned bits, char **cert_pem, char **key_pem)
{
	gnutls_x509_privkey_t key;
	gnutls_x509_crt_t crt;
	gnutls_datum_t a, b;

	tls_global_init();
	assert_int_equal(gnutls_x509_privkey_init(&key), 0);
	assert_int_equal(gnutls_x509_privkey_generate(key, algorithm, bits, 0), 0);
	assert_int_equal(gnutls_x509_crt_init(&crt), 0);
	assert_int_equal(gnutls_x509_crt_set_key(crt, key), 0);
	assert_int_equal(gnutls_x509_crt_set_version(crt, 3), 0);
	assert_int_equal(gnutls_x509_crt_set_serial(crt, "\x01", 1), 0);
	assert_int_equal(gnutls_x509_crt_set_activation_time(crt, time(NULL) - 60), 0);
	assert_int_equal(gnutls_x509_crt_set_expiration_time(crt, time(NULL) + 3600), 0);
	assert_int_equal(gnutls_x509_crt_sign2(crt, crt, key,
					       algorithm == GNUTLS_PK_EDDSA_ED25519
						       ? GNUTLS_DIG_SHA512
						       : GNUTLS_DIG_SHA256,
					       0),
			 0);
	assert_int_equal(gnutls_x509_crt_export2(crt, GNUTLS_X509_FMT_PEM, &a), 0);
	assert_int_equal(gnutls_x509_privkey_export2_pkcs8(key, GNUTLS_X509_FMT_PEM, NULL,
							   GNUTLS_PKCS_PLAIN, &b),
			 0);
	*cert_pem = text_of(&a);
	*key_pem = text_of(&b);
	gnutls_x509_crt_deinit(crt);
	gnutls_x509_privkey_deinit(key);
}

/* Two sessions that talk through two pipes in memory. */
struct end {
	gnutls_session_t session;
	struct end *peer;
	uint8_t in[65536];
	size_t len;
	struct tls_hello hello;
};

static ssize_t on_push(gnutls_transport_ptr_t p, const void *data, size_t len)
{
	struct end *to = ((struct end *)p)->peer;

	assert_true(to->len + len <= sizeof(to->in));
	memcpy(to->in + to->len, data, len);
	to->len += len;
	return (ssize_t)len;
}

static ssize_t on_pull(gnutls_transport_ptr_t p, void *data, size_t len)
{
	struct end *e = p;

	if (e->len == 0) {
		gnutls_transport_set_errno(e->session, EAGAIN);
		return -1;
	}
	len = len < e->len ? len : e->len;
	memcpy(data, e->in, len);
	memmove(e->in, e->in + len, e->len - len);
	e->len -= len;
	return (ssize_t)len;
}

static void init_end(struct end *e, struct end *peer, unsigned flags, const char *priority,
		     gnutls_certificate_credentials_t credentials)
{
	memset(e, 0, sizeof(*e));
	e->peer = peer;
	assert_int_equal(gnutls_init(&e->session, flags | GNUTLS_NONBLOCK), 0);
	assert_int_equal(gnutls_priority_set_direct(e->session, priority, NULL), 0);
	assert_int_equal(gnutls_credentials_set(e->session, GNUTLS_CRD_CERTIFICATE, credentials), 0);
	gnutls_transport_set_ptr(e->session, e);
	gnutls_transport_set_push_function(e->session, on_push);
	gnutls_transport_set_pull_function(e->session, on_pull);
	gnutls_db_set_ptr(e->session, &e->hello);
}

/* 0 or what the first of the two said. The client verifies the signature in any case. */
static int shake_hands(struct tls_certificate *certificate, const char *priority)
{
	static struct end client, server;
	gnutls_certificate_credentials_t lender, any;
	int a = GNUTLS_E_AGAIN, b = GNUTLS_E_AGAIN;

	assert_int_equal(gnutls_certificate_allocate_credentials(&lender), 0);
	assert_int_equal(gnutls_certificate_allocate_credentials(&any), 0);
	tls_lend_certificates(lender);
	init_end(&server, &client, GNUTLS_SERVER | GNUTLS_NO_TICKETS, "NORMAL", lender);
	init_end(&client, &server, GNUTLS_CLIENT, priority, any);
	server.hello.certificate = certificate;
	for (int i = 0; i < 100 && (a == GNUTLS_E_AGAIN || b == GNUTLS_E_AGAIN); i++) {
		if (a == GNUTLS_E_AGAIN)
			a = gnutls_handshake(client.session);
		if (b == GNUTLS_E_AGAIN)
			b = gnutls_handshake(server.session);
		if ((a < 0 && a != GNUTLS_E_AGAIN) || (b < 0 && b != GNUTLS_E_AGAIN))
			break;
	}
	gnutls_deinit(client.session);
	gnutls_deinit(server.session);
	gnutls_certificate_free_credentials(lender);
	gnutls_certificate_free_credentials(any);
	return b < 0 ? b : a;
}

static struct tls_certificate *load(const char *cert, const char *key, struct err *err)
{
	struct secret sealed = { 0 };

	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, err), 0);
	assert_null(strstr(key, "PRIVATE") ? memmem(sealed.ptr, sealed.len, "PRIVATE", 7) : "");
	struct tls_certificate *tls = tls_certificate_load_boxed(
		bytes_str(cert), bytes_of(sealed.ptr, sealed.len), PLACE, err);
	secret_done(&sealed);
	return tls;
}

static void check_kind(gnutls_pk_algorithm_t algorithm, unsigned bits,
		       const char *const *priorities, size_t count)
{
	char *cert, *key;
	struct err err = { 0 };

	make(algorithm, bits, &cert, &key);
	struct tls_certificate *tls = load(cert, key, &err);
	assert_non_null(tls);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(shake_hands(tls, priorities[i]), 0);
	tls_certificate_unref(tls);
	mem_free(cert);
	mem_free(key);
}

static void test_ecdsa_keys_sign_for_both_versions(void **state)
{
	static const char *const priorities[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.3",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2",
	};
	(void)state;
	check_kind(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), priorities, 2);
	check_kind(GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP384R1), priorities, 2);
}

static void test_rsa_keys_sign_in_both_ways(void **state)
{
	static const char *const priorities[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.3",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-SHA256",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2:-SIGN-ALL:+SIGN-RSA-PSS-RSAE-SHA512",
	};
	(void)state;
	check_kind(GNUTLS_PK_RSA, 2048, priorities, 4);
}

static void test_ed25519_keys_sign(void **state)
{
	static const char *const priorities[] = {
		"NORMAL:-VERS-ALL:+VERS-TLS1.3",
		"NORMAL:-VERS-ALL:+VERS-TLS1.2",
	};
	(void)state;
	check_kind(GNUTLS_PK_EDDSA_ED25519, 0, priorities, 2);
}

static void test_a_key_of_another_certificate_is_refused(void **state)
{
	char *cert, *key, *other_cert, *other_key;
	struct err err = { 0 };

	(void)state;
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	make(GNUTLS_PK_ECDSA, 256, &other_cert, &other_key);
	assert_null(load(cert, other_key, &err));
	assert_int_equal(err.code, E_TLS);
	mem_free(cert);
	mem_free(key);
	mem_free(other_cert);
	mem_free(other_key);
}

static void test_what_is_sealed_opens_in_its_place_only(void **state)
{
	char *cert, *key;
	struct secret sealed = { 0 };
	struct err err = { 0 };

	(void)state;
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, &err), 0);
	assert_null(tls_certificate_load_boxed(bytes_str(cert), bytes_of(sealed.ptr, sealed.len),
					       "certificate other", &err));
	assert_int_equal(err.code, E_DENIED);
	sealed.ptr[0] ^= 1;
	assert_null(tls_certificate_load_boxed(bytes_str(cert), bytes_of(sealed.ptr, sealed.len),
					       PLACE, &err));
	secret_done(&sealed);
	assert_int_equal(key_box_seal(BYTES_LIT("no key at all"), PLACE, &sealed, &err), E_INVALID);
	mem_free(cert);
	mem_free(key);
}

/* --- What a hostile worker may try --------------------------------------------------------------- */

static void test_no_message_brings_a_key_back(void **state)
{
	uint8_t answer[KEY_MESSAGE_BYTES], message[256];
	struct secret sealed = { 0 };
	struct err err = { 0 };
	char *cert, *key;
	size_t len = 0;

	(void)state;
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, &err), 0);
	struct key_question q = { .verb = KEY_OPEN,
				  .place = PLACE,
				  .data = bytes_of(sealed.ptr, sealed.len) };
	assert_int_equal(key_box_ask(&q, answer, &len, &err), 0);
	assert_true(len < 200); /* a handle and a public key */
	/* Every verb there could be, with its handle, and others. */
	for (unsigned verb = 0; verb < 256; verb++) {
		for (uint64_t handle = 0; handle < 4; handle++) {
			struct writer w = writer_of(message, sizeof(message));
			writer_u8(&w, (uint8_t)verb);
			writer_u32le(&w, GNUTLS_SIGN_ECDSA_SHA256);
			writer_u64le(&w, verb == KEY_CLOSE ? 0 : handle);
			writer_u16le(&w, 4);
			writer_put(&w, BYTES_LIT("herexxxx"));
			int r = key_box_ask_raw(writer_bytes(&w), answer, &len, &err);
			if (verb == 0 || verb >= KEY_VERBS)
				assert_int_equal(r, E_PROTOCOL);
			else if (r == 0)
				assert_true(len < 100);
		}
	}
	secret_done(&sealed);
	mem_free(cert);
	mem_free(key);
}

static void test_damaged_questions_are_refused_and_the_next_one_is_answered(void **state)
{
	static uint8_t big[KEY_MESSAGE_BYTES], answer[KEY_MESSAGE_BYTES];
	struct secret sealed = { 0 };
	struct err err = { 0 };
	char *cert, *key;
	size_t len = 0;

	(void)state;
	for (size_t i = 1; i < KEY_HEAD_BYTES; i++)
		assert_int_equal(key_box_ask_raw(bytes_of(big, i), answer, &len, &err), E_PROTOCOL);
	/* A place that is longer than the message, or than places are. */
	memset(big, 0xff, sizeof(big));
	big[0] = KEY_OPEN;
	assert_int_equal(key_box_ask_raw(bytes_of(big, KEY_HEAD_BYTES), answer, &len, &err),
			 E_PROTOCOL);
	assert_int_equal(key_box_ask_raw(bytes_of(big, sizeof(big)), answer, &len, &err),
			 E_PROTOCOL);
	/* Algorithms and handles that there are not. */
	big[0] = KEY_SIGN_DATA;
	big[13] = big[14] = 0;
	assert_int_equal(key_box_ask_raw(bytes_of(big, 40), answer, &len, &err), E_NOT_FOUND);
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, &err), 0);
	secret_done(&sealed);
	mem_free(cert);
	mem_free(key);
}

static void test_a_question_that_is_too_large_is_not_asked(void **state)
{
	static uint8_t big[KEY_MESSAGE_BYTES + 1];
	struct secret sealed = { 0 };

	(void)state;
	assert_int_equal(key_box_seal(bytes_of(big, sizeof(big)), PLACE, &sealed, NULL), E_LIMIT);
}

static int status_of(pid_t pid, const char *field)
{
	char path[64], line[256];
	int value = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	FILE *f = fopen(path, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (strncmp(line, field, strlen(field)) == 0)
			value = (int)strtol(line + strlen(field) + 1, NULL, 10);
	(void)fclose(f);
	return value;
}

/* Tries as nobody, as root may look into everything. */
static void test_who_runs_the_edge_cannot_look_into_it(void **state)
{
	pid_t pid = key_box_pid(), child;
	char path[64];
	int status = 0;

	(void)state;
	assert_int_equal(status_of(pid, "NoNewPrivs:"), 1);
	if (getuid() == 0) {
		/* Then the kernel's rule is looked at: its files belong to root because it is not dumpable, which here
		 * says nothing. A user of no rights stands for the worker. */
		child = fork();
		if (child == 0) {
			if (setgid(65534) < 0 || setuid(65534) < 0)
				_exit(9);
		}
	} else {
		child = fork();
	}
	if (child == 0) {
		(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid);
		if (open(path, O_RDONLY | O_CLOEXEC) >= 0)
			_exit(1);
		if (ptrace(PTRACE_ATTACH, pid, NULL, NULL) == 0)
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* --- Its life -------------------------------------------------------------------------------------- */

static void test_its_end_is_told_and_nothing_hangs(void **state)
{
	struct secret sealed = { 0 };
	char *cert, *key;
	struct err err = { 0 };

	(void)state;
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	struct tls_certificate *tls = load(cert, key, &err);
	assert_non_null(tls);
	struct pollfd life = { .fd = key_box_life(), .events = POLLIN };
	assert_int_equal(poll(&life, 1, 0), 0);
	assert_int_equal(kill(key_box_pid(), SIGKILL), 0);
	assert_int_equal(poll(&life, 1, 30000), 1);
	assert_int_equal(shake_hands(tls, "NORMAL"), GNUTLS_E_PK_SIGN_FAILED);
	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, &err), E_CLOSED);
	tls_certificate_unref(tls);
	key_box_stop();
	assert_false(key_box_is_running());
	mem_free(cert);
	mem_free(key);
}

static void test_a_beginning_that_fails_is_told(void **state)
{
	struct key_box_options bad = options;
	struct err err = { 0 };

	(void)state;
	bad.ctx = (void *)(uintptr_t) "no file to read";
	assert_int_equal(key_box_start(&bad, &err), E_DENIED);
	assert_non_null(strstr(err.text, "no file to read"));
	assert_false(key_box_is_running());
	assert_int_equal(key_box_life(), -1);
}

static void test_signals_of_a_service_manager_are_ignored(void **state)
{
	struct secret sealed = { 0 };
	char *cert, *key;

	(void)state;
	assert_int_equal(kill(key_box_pid(), SIGTERM), 0);
	assert_int_equal(kill(key_box_pid(), SIGINT), 0);
	assert_int_equal(kill(key_box_pid(), SIGHUP), 0);
	make(GNUTLS_PK_ECDSA, 256, &cert, &key);
	assert_int_equal(key_box_seal(bytes_str(key), PLACE, &sealed, NULL), 0);
	secret_done(&sealed);
	mem_free(cert);
	mem_free(key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ecdsa_keys_sign_for_both_versions, start, stop),
		cmocka_unit_test_setup_teardown(test_rsa_keys_sign_in_both_ways, start, stop),
		cmocka_unit_test_setup_teardown(test_ed25519_keys_sign, start, stop),
		cmocka_unit_test_setup_teardown(test_a_key_of_another_certificate_is_refused, start,
						stop),
		cmocka_unit_test_setup_teardown(test_what_is_sealed_opens_in_its_place_only, start,
						stop),
		cmocka_unit_test_setup_teardown(test_no_message_brings_a_key_back, start, stop),
		cmocka_unit_test_setup_teardown(
			test_damaged_questions_are_refused_and_the_next_one_is_answered, start,
			stop),
		cmocka_unit_test_setup_teardown(test_a_question_that_is_too_large_is_not_asked,
						start, stop),
		cmocka_unit_test_setup_teardown(test_who_runs_the_edge_cannot_look_into_it, start,
						stop),
		cmocka_unit_test_setup(test_its_end_is_told_and_nothing_hangs, start),
		cmocka_unit_test(test_a_beginning_that_fails_is_told),
		cmocka_unit_test_setup_teardown(test_signals_of_a_service_manager_are_ignored,
						start, stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
