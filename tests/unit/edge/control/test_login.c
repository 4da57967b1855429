#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "edge/control/login_store.h"
#include "edge/control/page.h"
#include "edge/control/signin.h"
#include "fake/control_fixture.h"
#include "io/loop.h"
#include "wire/token.h"

#define KEY "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
#define CALLBACK "https%3A%2F%2Fadit.example.com%3A8443%2Flogin%2F" KEY

struct world {
	struct loop *loop;
	struct control_fixture f;
	/* what a browser keeps */
	char session[200], form[200];
};

static int setup(void **state)
{
	struct world *w = mem_alloc(sizeof(*w));

	w->loop = loop_new(NULL);
	control_fixture_open(&w->f, w->loop);
	assert_int_equal(store_user_add(w->f.store, "ada@example.com", NULL), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	control_fixture_close(&w->f);
	loop_free(w->loop);
	mem_free(w);
	return 0;
}

/* --- A small browser --------------------------------------------------------------------------- */

static void keep_cookies(struct world *w, struct answer *a)
{
	for (size_t i = 0; i < a->request.fields.count; i++) {
		const struct field *f = &a->request.fields.list[i];
		struct bytes pair = bytes_first(f->value, bytes_index(f->value, ';'));

		if (!bytes_eq(f->name, BYTES_LIT("Set-Cookie")))
			continue;
		assert_non_null(memmem(f->value.ptr, f->value.len,
				       "; Path=/; Secure; HttpOnly; SameSite=Lax", 40));
		snprintf(bytes_starts_with(pair, BYTES_LIT("__Host-adit-session=")) ? w->session
										    : w->form,
			 200, BYTES_FMT, BYTES_ARG(pair));
	}
}

static struct answer *browse(struct world *w, const char *method, const char *target,
			     const char *body)
{
	char cookies[500];
	const char *const fields[] = { cookies, NULL };

	snprintf(cookies, sizeof(cookies), "Cookie: theme=dark; %s; %s", w->session, w->form);
	struct answer *a =
		control_fixture_send(&w->f, method, target, fields, bytes_str(body), false);
	assert_int_equal(a->answers, 1);
	keep_cookies(w, a);
	return a;
}

/* The CSRF value of the first form that is not the sign-out one. */
static void csrf_of(struct answer *a, char *to)
{
	struct bytes html = a->request.answer;
	const char *mark = "name=\"csrf\" value=\"";
	const uint8_t *main = memmem(html.ptr, html.len, "<main>", 6);

	assert_non_null(main);
	const uint8_t *at = memmem(main, (size_t)(html.ptr + html.len - main), mark, strlen(mark));
	assert_non_null(at);
	memcpy(to, at + strlen(mark), 43);
	to[43] = 0;
}

static void see(struct world *w, const char *target, int status, const char *text)
{
	struct answer *a = browse(w, "GET", target, NULL);

	assert_int_equal(a->request.status, status);
	if (!answer_contains(a, text))
		fail_msg("no \"%s\" in %.*s", text, (int)a->request.answer.len,
			 a->request.answer.ptr);
	answer_done(a);
}

static void get_csrf(struct world *w, const char *target, char csrf[44])
{
	struct answer *a = browse(w, "GET", target, NULL);

	csrf_of(a, csrf);
	answer_done(a);
}

static struct answer *post_password(struct world *w, const char *password)
{
	char csrf[44], body[500];

	get_csrf(w, "/sign-in", csrf);
	snprintf(body, sizeof(body),
		 "csrf=%s&email=Ada%%40example.com&password=%s&next=%%2Fargotunnel%%3Fcallback%%3Dx",
		 csrf, password);
	return browse(w, "POST", "/sign-in", body);
}

/* Signs in with a one-time link. */
static void sign_in(struct world *w)
{
	char csrf[44], body[300],
		*token = store_link_create(w->f.store, "ada@example.com", 60, NULL);
	struct answer *a;

	get_csrf(w, "/login/link?token=x", csrf);
	snprintf(body, sizeof(body), "csrf=%s&token=%s", csrf, token);
	mem_free(token);
	a = browse(w, "POST", "/login/link", body);
	assert_int_equal(a->request.status, 303);
	assert_string_equal(answer_header(a, "Location"), "/");
	answer_done(a);
}

/* --- Pages --------------------------------------------------------------------------------------- */

static void pages_carry_security_fields(void **state)
{
	struct world *w = *state;
	struct answer *a = browse(w, "GET", "/", NULL);

	assert_int_equal(a->request.status, 200);
	assert_string_equal(answer_header(a, "Cache-Control"), "no-store");
	assert_string_equal(answer_header(a, "X-Content-Type-Options"), "nosniff");
	assert_string_equal(answer_header(a, "X-Frame-Options"), "DENY");
	assert_string_equal(answer_header(a, "Referrer-Policy"), "no-referrer");
	assert_non_null(strstr(answer_header(a, "Content-Security-Policy"), "default-src 'none'"));
	assert_non_null(
		strstr(answer_header(a, "Content-Security-Policy"), "frame-ancestors 'none'"));
	assert_true(bytes_eq(a->request.content_type, BYTES_LIT("text/html; charset=utf-8")));
	/* No zone for strangers beyond what the host's own name says. */
	assert_true(answer_contains(a, "app.example.com"));
	assert_false(answer_contains(a, "Zones of this edge"));
	assert_false(answer_contains(a, "{{"));
	answer_done(a);
}

static void assets_and_unknown_pages(void **state)
{
	struct world *w = *state;
	struct answer *a = browse(w, "GET", "/assets/style.css", NULL);

	assert_int_equal(a->request.status, 200);
	assert_true(bytes_eq(a->request.content_type, BYTES_LIT("text/css; charset=utf-8")));
	assert_string_equal(answer_header(a, "Cache-Control"), "public, max-age=600");
	answer_done(a);
	see(w, "/assets/icon.svg", 200, "<svg");
	see(w, "/assets/layout.html", 404, "no such file");
	see(w, "/assets/..%2fsecret", 404, "no such file");
	see(w, "/nosuch", 404, "There is no such page");
	a = browse(w, "DELETE", "/", NULL);
	assert_int_equal(a->request.status, 405);
	answer_done(a);
}

static void templates_escape_what_visitors_say(void **state)
{
	struct world *w = *state;

	see(w, "/login/link?token=%22%3E%3Cscript%3E%26%27", 200,
	    "value=\"&quot;&gt;&lt;script&gt;&amp;&#39;\"");
	sign_in(w);
	see(w, "/argotunnel?callback=%3Cb%3E", 200, "value=\"&lt;b&gt;\"");
}

static void escape_takes_every_byte(void **state)
{
	struct arena a;
	uint8_t all[256];
	struct bytes out;

	for (int i = 0; i < 256; i++)
		all[i] = (uint8_t)i;
	arena_init(&a);
	out = page_escape(&a, bytes_of(all, sizeof(all)));
	assert_int_equal(out.len, 256 - 5 + 5 + 4 + 4 + 6 + 5);
	arena_done(&a);
}

/* --- Sign-in --------------------------------------------------------------------------------------- */

static void password_signs_in_and_returns(void **state)
{
	struct world *w = *state;
	struct answer *a;

	assert_int_equal(
		store_user_set_password(w->f.store, "ada@example.com", "correct-horse", NULL), 0);
	a = post_password(w, "wrong");
	assert_int_equal(a->request.status, 403);
	assert_true(answer_contains(a, "The e-mail address or the password is wrong."));
	assert_true(answer_contains(a, "value=\"Ada@example.com\""));
	answer_done(a);
	a = post_password(w, "correct-horse");
	assert_int_equal(a->request.status, 303);
	assert_string_equal(answer_header(a, "Location"), "/argotunnel?callback=x");
	answer_done(a);
	see(w, "/", 200, "Zones of this edge: <strong>example.com</strong>");
	see(w, "/", 200, "ada@example.com");
}

static void sign_in_goes_only_to_our_own_pages(void **state)
{
	static const char *const bad[] = { "https%3A%2F%2Fevil.example", "%2F%2Fevil.example",
					   "%2Fargotunnelx", "%2Fargotunnel%3Fa%0D%0AX%3A1" };
	struct world *w = *state;
	char csrf[44], body[400];

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *token = store_link_create(w->f.store, "ada@example.com", 60, NULL);
		w->session[0] = 0;
		get_csrf(w, "/sign-in", csrf);
		snprintf(body, sizeof(body), "csrf=%s&token=%s&next=%s", csrf, token, bad[i]);
		mem_free(token);
		struct answer *a = browse(w, "POST", "/login/link", body);
		assert_int_equal(a->request.status, 303);
		assert_string_equal(answer_header(a, "Location"), "/");
		answer_done(a);
	}
}

static void forms_need_their_token(void **state)
{
	struct world *w = *state;
	struct answer *a = browse(w, "POST", "/sign-in", "csrf=x&email=a%40b.c&password=p");
	char csrf[44], body[200];

	assert_int_equal(a->request.status, 403);
	assert_true(answer_contains(a, "The form was too old"));
	answer_done(a);
	/* The value without the cookie is worth nothing. */
	get_csrf(w, "/sign-in", csrf);
	w->form[0] = 0;
	snprintf(body, sizeof(body), "csrf=%s&email=a%%40b.c&password=p", csrf);
	a = browse(w, "POST", "/sign-in", body);
	assert_int_equal(a->request.status, 403);
	answer_done(a);
	sign_in(w);
	a = browse(w, "POST", "/argotunnel", "csrf=x&zone=y");
	assert_int_equal(a->request.status, 403);
	assert_true(answer_contains(a, "This form is too old"));
	answer_done(a);
	a = browse(w, "POST", "/sign-out", "");
	assert_int_equal(a->request.status, 403);
	answer_done(a);
	a = browse(w, "POST", "/sign-in", "%zz");
	assert_int_equal(a->request.status, 400);
	answer_done(a);
}

static void one_time_link_works_once_and_only_by_its_button(void **state)
{
	struct world *w = *state;
	char csrf[44], body[400], target[200], *token;
	struct answer *a;

	token = store_link_create(w->f.store, "ada@example.com", 60, NULL);
	snprintf(target, sizeof(target), "/login/link?token=%s", token);
	see(w, target, 200, "This link works once");
	see(w, target, 200, "This link works once");
	get_csrf(w, target, csrf);
	/* As people paste it: the whole link. */
	snprintf(body, sizeof(body),
		 "csrf=%s&token=https%%3A%%2F%%2Fadit.example.com%%2Flogin%%2Flink%%3Ftoken%%3D%s%%20",
		 csrf, token);
	mem_free(token);
	a = browse(w, "POST", "/login/link", body);
	assert_int_equal(a->request.status, 303);
	answer_done(a);
	w->session[0] = 0;
	a = browse(w, "POST", "/login/link", body);
	assert_int_equal(a->request.status, 403);
	assert_true(answer_contains(a, "This link was used already"));
	answer_done(a);
}

static void sign_out_ends_the_session(void **state)
{
	struct world *w = *state;
	char csrf[44], body[100], old[200];
	struct answer *a;

	sign_in(w);
	snprintf(old, sizeof(old), "%s", w->session);
	get_csrf(w, "/argotunnel", csrf);
	snprintf(body, sizeof(body), "csrf=%s", csrf);
	a = browse(w, "POST", "/sign-out", body);
	assert_int_equal(a->request.status, 303);
	answer_done(a);
	snprintf(w->session, sizeof(w->session), "%s", old);
	see(w, "/argotunnel", 200, "<h1>Sign in</h1>");
}

static void guessing_is_slowed_down(void **state)
{
	struct world *w = *state;
	int refused = 0;

	/* Argon2id makes each try slow under sanitizers: link codes count the same. */
	for (int i = 0; i < 11; i++) {
		char csrf[44], body[200];
		get_csrf(w, "/sign-in", csrf);
		snprintf(body, sizeof(body), "csrf=%s&token=guess%d", csrf, i);
		struct answer *a = browse(w, "POST", "/login/link", body);
		if (a->request.status == 429) {
			refused++;
			assert_non_null(answer_header(a, "Retry-After"));
			assert_true(answer_contains(a, "Too many attempts"));
		} else {
			assert_int_equal(a->request.status, 403);
		}
		answer_done(a);
	}
	assert_int_equal(refused, 1);
}

static void tries_are_counted_by_network_and_forgotten(void **state)
{
	struct signin *s = signin_new();
	usec now = 1000 * USEC_PER_SEC;
	char ip[40];
	int wait;

	for (int i = 0; i < 10; i++) {
		snprintf(ip, sizeof(ip), "2001:db8:1:2::%d", i + 1);
		assert_true(signin_try(s, bytes_str(ip), now, &wait));
	}
	assert_false(signin_try(s, BYTES_LIT("2001:db8:1:2:ffff::1"), now, &wait));
	assert_int_equal(wait, 300);
	assert_true(signin_try(s, BYTES_LIT("2001:db8:1:3::1"), now, &wait));
	signin_try_worked(s, BYTES_LIT("2001:db8:1:2::77"));
	assert_true(signin_try(s, BYTES_LIT("2001:db8:1:2::1"), now, &wait));
	assert_true(signin_try(s, BYTES_LIT("192.0.2.1"), now + 300 * USEC_PER_SEC, &wait));
	/* Many addresses together use up the bucket, and the table stays bounded. */
	int allowed = 0;
	for (int i = 0; i < 10000; i++) {
		snprintf(ip, sizeof(ip), "10.0.%d.%d", i / 256, i % 256);
		allowed += signin_try(s, bytes_str(ip), now + 300 * USEC_PER_SEC, &wait);
	}
	assert_int_equal(allowed, 19);
	assert_true(signin_try(s, BYTES_LIT("10.9.9.9"), now + 301 * USEC_PER_SEC, &wait));
	signin_free(s);
}

static void sessions_end_and_are_bounded(void **state)
{
	struct signin *s = signin_new();
	char first[SIGNIN_TOKEN_SIZE], last[SIGNIN_TOKEN_SIZE];
	usec now = 1;

	memcpy(first, signin_open(s, "a@b.c", now)->token, sizeof(first));
	assert_non_null(signin_find(s, bytes_str(first), now));
	assert_null(signin_find(s, BYTES_NONE, now));
	for (int i = 0; i < 1024; i++)
		memcpy(last, signin_open(s, "a@b.c", now)->token, sizeof(last));
	assert_null(signin_find(s, bytes_str(first), now));
	assert_non_null(signin_find(s, bytes_str(last), now));
	assert_null(signin_find(s, bytes_str(last), now + SIGNIN_SECONDS * USEC_PER_SEC));
	signin_free(s);
}

/* --- Approval and delivery ---------------------------------------------------------------------------- */

static struct answer *approve(struct world *w, const char *callback, const char *action)
{
	char csrf[44], body[600];

	snprintf(body, sizeof(body), "/argotunnel?aud=&callback=%s", callback);
	get_csrf(w, body, csrf);
	snprintf(body, sizeof(body), "csrf=%s&callback=%s&zone=%s&action=%s", csrf, callback,
		 w->f.zone_id, action);
	return browse(w, "POST", "/argotunnel", body);
}

static void assert_is_cert(struct world *w, struct answer *a)
{
	struct login login;

	assert_int_equal(a->request.status, 200);
	assert_int_equal(login_decode(a->request.answer, &login, NULL), 0);
	assert_string_equal(login.zone, w->f.zone_id);
	login_done(&login);
}

static void stranger_must_sign_in_before_approving(void **state)
{
	struct world *w = *state;
	struct answer *a = browse(w, "GET", "/argotunnel?aud=&callback=" CALLBACK, NULL);

	assert_int_equal(a->request.status, 200);
	assert_true(answer_contains(a, "<h1>Sign in</h1>"));
	assert_true(
		answer_contains(a, "name=\"next\" value=\"/argotunnel?aud=&amp;callback=https%3A"));
	answer_done(a);
	a = browse(w, "POST", "/argotunnel", "csrf=x&zone=y");
	assert_int_equal(a->request.status, 403);
	answer_done(a);
}

static void approval_answers_the_waiting_poll(void **state)
{
	struct world *w = *state;
	struct answer *poll = control_fixture_send(&w->f, "GET", "/login/" KEY, NULL, BYTES_NONE,
						   false),
		      *a;

	assert_int_equal(poll->answers, 0);
	sign_in(w);
	see(w, "/argotunnel?aud=&callback=" CALLBACK, 200, "AAAAAAAA=</code>");
	a = approve(w, CALLBACK, "approve");
	assert_int_equal(a->request.status, 200);
	assert_true(answer_contains(a, "You may close this window"));
	answer_done(a);
	assert_int_equal(poll->answers, 1);
	assert_is_cert(w, poll);
	answer_done(poll);
}

static void approval_before_the_poll_is_kept_and_given_once(void **state)
{
	struct world *w = *state;
	struct answer *a, *poll;

	sign_in(w);
	answer_done(approve(w, CALLBACK, "approve"));
	a = browse(w, "HEAD", "/login/" KEY, NULL);
	assert_int_equal(a->request.status, 404);
	answer_done(a);
	/* Some clients escape the padding. */
	a = browse(w, "GET", "/login/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D", NULL);
	assert_is_cert(w, a);
	answer_done(a);
	poll = control_fixture_send(&w->f, "GET", "/login/" KEY, NULL, BYTES_NONE, false);
	assert_int_equal(poll->answers, 0);
	/* A newer poll takes the old one's place. */
	struct answer *newer =
		control_fixture_send(&w->f, "GET", "/login/" KEY, NULL, BYTES_NONE, false);
	assert_int_equal(poll->answers, 1);
	assert_int_equal(poll->request.status, 404);
	assert_int_equal(newer->answers, 0);
	answer_done(poll);
	control_plane_free(w->f.control);
	w->f.control = NULL;
	assert_int_equal(newer->answers, 1);
	assert_int_equal(newer->request.status, 503);
	answer_done(newer);
}

static void foreign_callbacks_get_a_download_only(void **state)
{
	static const char *const foreign[] = {
		"https%3A%2F%2Fevil.example%2Flogin%2F" KEY,
		"https%3A%2F%2Flogin.cloudflareaccess.org%2F" KEY,
		"http%3A%2F%2Fadit.example.com%3A8443%2Flogin%2F" KEY,
		"https%3A%2F%2Fadit.example.com%3A8443%2Flogin%2Fshort",
		"https%3A%2F%2Fadit.example.com%3A8443%40evil.example%2Flogin%2F" KEY,
		"",
	};
	struct world *w = *state;

	sign_in(w);
	for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
		struct answer *a = approve(w, foreign[i], "approve");
		assert_int_equal(a->request.status, 400);
		assert_true(answer_contains(a, "Download cert.pem"));
		answer_done(a);
		a = approve(w, foreign[i], "download");
		assert_is_cert(w, a);
		assert_string_equal(answer_header(a, "Content-Disposition"),
				    "attachment; filename=\"cert.pem\"");
		answer_done(a);
	}
}

static void approval_needs_a_zone_that_exists(void **state)
{
	struct world *w = *state;
	char csrf[44], body[200];
	struct answer *a;

	sign_in(w);
	get_csrf(w, "/argotunnel", csrf);
	snprintf(body, sizeof(body), "csrf=%s&action=download", csrf);
	a = browse(w, "POST", "/argotunnel", body);
	assert_int_equal(a->request.status, 400);
	assert_true(answer_contains(a, "Choose a zone."));
	answer_done(a);
	snprintf(body, sizeof(body),
		 "csrf=%s&action=download&zone=00000000000000000000000000000000", csrf);
	a = browse(w, "POST", "/argotunnel", body);
	assert_true(answer_contains(a, "This zone is gone"));
	answer_done(a);
}

static void polls_are_checked_and_bounded(void **state)
{
	struct world *w = *state;
	struct answer *held[16], *a;
	char target[100];

	see(w, "/login/short", 404, "no login");
	for (size_t i = 0; i < ARRAY_LEN(held); i++) {
		snprintf(target, sizeof(target),
			 "/login/%cAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", (char)('A' + i));
		held[i] = control_fixture_send(&w->f, "GET", target, NULL, BYTES_NONE, false);
		assert_int_equal(held[i]->answers, 0);
	}
	a = browse(w, "GET", "/login/ZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", NULL);
	assert_int_equal(a->request.status, 429);
	answer_done(a);
	control_plane_free(w->f.control);
	w->f.control = NULL;
	for (size_t i = 0; i < ARRAY_LEN(held); i++)
		answer_done(held[i]);
}

static void draining_holds_no_polls(void **state)
{
	struct world *w = *state;
	struct answer *poll = control_fixture_send(&w->f, "GET", "/login/" KEY, NULL, BYTES_NONE,
						   false),
		      *a;

	assert_int_equal(poll->answers, 0);
	control_plane_drain(w->f.control);
	assert_int_equal(poll->answers, 1);
	assert_int_equal(poll->request.status, 404);
	answer_done(poll);
	a = browse(w, "GET", "/login/" KEY, NULL);
	assert_int_equal(a->request.status, 404);
	answer_done(a);
}

static void on_store_answer(struct control_request *r)
{
}

static void waiting_certificates_expire_and_are_bounded(void **state)
{
	struct login_store *s = login_store_new(NULL);
	struct control_request r = { .answered = on_store_answer };
	usec now = 1;
	char key[64];

	arena_init(&r.arena);
	login_store_put(s, BYTES_LIT(KEY), "cert", now);
	assert_true(login_store_poll(s, &r, BYTES_LIT(KEY),
				     now + LOGIN_PENDING_SECONDS * USEC_PER_SEC));
	assert_int_equal(r.status, 404);
	login_store_put(s, BYTES_LIT(KEY), "first", now);
	for (int i = 0; i < 64; i++) {
		snprintf(key, sizeof(key), "%02dAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", i);
		login_store_put(s, bytes_str(key), "cert", now);
	}
	assert_true(login_store_poll(s, &r, BYTES_LIT(KEY), now));
	assert_int_equal(r.status, 404);
	assert_true(login_store_poll(s, &r, bytes_str(key), now));
	assert_int_equal(r.status, 200);
	login_store_free(s);
	arena_done(&r.arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(pages_carry_security_fields),
		TEST(assets_and_unknown_pages),
		TEST(templates_escape_what_visitors_say),
		cmocka_unit_test(escape_takes_every_byte),
		TEST(password_signs_in_and_returns),
		TEST(sign_in_goes_only_to_our_own_pages),
		TEST(forms_need_their_token),
		TEST(one_time_link_works_once_and_only_by_its_button),
		TEST(sign_out_ends_the_session),
		TEST(guessing_is_slowed_down),
		cmocka_unit_test(tries_are_counted_by_network_and_forgotten),
		cmocka_unit_test(sessions_end_and_are_bounded),
		TEST(stranger_must_sign_in_before_approving),
		TEST(approval_answers_the_waiting_poll),
		TEST(approval_before_the_poll_is_kept_and_given_once),
		TEST(foreign_callbacks_get_a_download_only),
		TEST(approval_needs_a_zone_that_exists),
		TEST(polls_are_checked_and_bounded),
		TEST(draining_holds_no_polls),
		cmocka_unit_test(waiting_certificates_expire_and_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
