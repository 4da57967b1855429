/* People, sessions, the configuration of Access and the audit log. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "store/store_access.h"

#define HOUR (3600 * USEC_PER_SEC)

struct fixture {
	char dir[64];
	struct store *store;
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static int set_up(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	snprintf(f->dir, sizeof(f->dir), "/tmp/adit-test-access-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->store = store_open(f->dir, true, NULL);
	assert_non_null(f->store);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	store_close(f->store);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mem_free(f);
	return 0;
}

/* --- Objects --------------------------------------------------------------------------------- */

static char *all_objects(struct store *s)
{
	struct store_access_object *list;
	size_t count;
	char *text = mem_strdup(""), *longer;

	assert_int_equal(store_access_object_list(s, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		longer = mem_printf("%s%s/%s=%s ", text, list[i].kind, list[i].id,
				    (char *)list[i].body.ptr);
		mem_free(text);
		text = longer;
		store_access_object_done(&list[i]);
	}
	mem_free(list);
	return text;
}

#define ASSERT_OBJECTS(s, wanted)                   \
	do {                                        \
		char *text_ = all_objects(s);       \
		assert_string_equal(text_, wanted); \
		mem_free(text_);                    \
	} while (0)

static void objects_keep_their_order_when_they_change(void **state)
{
	struct fixture *f = *state;
	struct store *s = f->store;
	int64_t before = store_revision(s, NULL);

	assert_int_equal(store_access_object_put(s, "policy", "b", BYTES_LIT("1"), NULL), 0);
	assert_int_equal(store_access_object_put(s, "policy", "a", BYTES_LIT("2"), NULL), 0);
	assert_int_equal(store_access_object_put(s, "app", "z", BYTES_LIT("3"), NULL), 0);
	ASSERT_OBJECTS(s, "app/z=3 policy/b=1 policy/a=2 ");
	assert_int_equal(store_access_object_put(s, "policy", "b", BYTES_LIT("4"), NULL), 0);
	ASSERT_OBJECTS(s, "app/z=3 policy/b=4 policy/a=2 ");
	assert_int_equal(store_access_object_remove(s, "app", "z", NULL), 0);
	assert_int_equal(store_access_object_remove(s, "app", "z", NULL), E_NOT_FOUND);
	ASSERT_OBJECTS(s, "policy/b=4 policy/a=2 ");
	assert_true(store_revision(s, NULL) > before);

	/* Sealed on disk: nobody reads it there, and it stays readable after a restart. */
	f->store = store_close(f->store);
	f->store = store_open(f->dir, false, NULL);
	ASSERT_OBJECTS(f->store, "policy/b=4 policy/a=2 ");
}

static void a_whole_configuration_is_put_in_place_at_once(void **state)
{
	static uint8_t one[] = "1", two[] = "2";
	char kind[] = "app", first[] = "x", second[] = "w";
	struct fixture *f = *state;
	struct store_access_object objects[] = {
		{ kind, first, { one, 1 } },
		{ kind, second, { two, 1 } },
	};

	assert_int_equal(store_access_object_put(f->store, "group", "g", BYTES_LIT("0"), NULL), 0);
	assert_int_equal(store_access_object_replace(f->store, objects, 2, NULL), 0);
	ASSERT_OBJECTS(f->store, "app/x=1 app/w=2 ");
	assert_int_equal(store_access_object_replace(f->store, objects, 0, NULL), 0);
	ASSERT_OBJECTS(f->store, "");
}

/* --- People ---------------------------------------------------------------------------------- */

static void a_person_is_one_however_often_they_come(void **state)
{
	struct fixture *f = *state;
	struct store_person p, q;

	assert_int_equal(store_person_seen(f->store, "Ann@Example.com", "Ann", &p, NULL), 0);
	assert_string_equal(p.email, "ann@example.com");
	assert_int_equal(store_person_seen(f->store, "ann@example.com", "", &q, NULL), 0);
	assert_true(uuid_eq(&p.id, &q.id));
	assert_string_equal(q.name, "Ann");
	assert_true(q.seen_at >= p.seen_at && p.seen_at > 0);
	store_person_done(&p);
	store_person_done(&q);
	assert_int_equal(store_person_add(f->store, "ann@example.com", "", &p, NULL), E_EXISTS);
	assert_int_equal(store_person_add(f->store, "no address", "", &p, NULL), E_INVALID);
	assert_int_equal(store_person_find(f->store, "bob@example.com", &p, NULL), E_NOT_FOUND);
	assert_int_equal(store_person_remove(f->store, "ann@example.com", NULL), 0);
	assert_int_equal(store_person_remove(f->store, "ann@example.com", NULL), E_NOT_FOUND);
}

static void a_password_is_checked_and_taken_away(void **state)
{
	struct fixture *f = *state;
	struct store_person p;

	assert_int_equal(store_person_add(f->store, "bob@example.com", "Bob", &p, NULL), 0);
	assert_false(p.has_password);
	store_person_done(&p);
	assert_int_equal(store_person_check(f->store, "bob@example.com", "", NULL), E_DENIED);
	assert_int_equal(store_person_set_password(f->store, "bob@example.com", "sesame", NULL), 0);
	assert_int_equal(store_person_check(f->store, "bob@example.com", "sesame", NULL), 0);
	assert_int_equal(store_person_check(f->store, "bob@example.com", "Sesame", NULL), E_DENIED);
	assert_int_equal(store_person_check(f->store, "eve@example.com", "sesame", NULL), E_DENIED);
	assert_int_equal(store_person_set_password(f->store, "bob@example.com", NULL, NULL), 0);
	assert_int_equal(store_person_check(f->store, "bob@example.com", "sesame", NULL), E_DENIED);
	assert_int_equal(store_person_set_password(f->store, "eve@example.com", "x", NULL),
			 E_NOT_FOUND);
}

/* --- Sessions --------------------------------------------------------------------------------- */

static void sign_in(struct fixture *f, const char *email, const char *id, usec created, usec expires)
{
	static uint8_t identity[] = "{\"groups\":[\"ops\"]}";
	char provider[] = "pin", address[] = "192.0.2.1", agent[] = "curl";
	struct store_person p;
	struct store_session x = {
		.id = (char *)(uintptr_t)id,
		.provider = provider,
		.identity = { identity, sizeof(identity) - 1 },
		.address = address,
		.agent = agent,
		.created_at = created,
		.expires_at = expires,
	};

	assert_int_equal(store_person_seen(f->store, email, "", &p, NULL), 0);
	x.person = p.id;
	assert_int_equal(store_session_add(f->store, &x, NULL), 0);
	store_person_done(&p);
}

static int is_there(struct fixture *f, const char *id, usec now)
{
	struct store_session x;
	int r = store_session_get(f->store, id, now, &x, NULL);

	if (r == 0)
		store_session_done(&x);
	return r;
}

static void a_session_lasts_until_its_end(void **state)
{
	struct fixture *f = *state;
	struct store_session x;
	usec now = clock_wall_now();
	int64_t count;

	sign_in(f, "ann@example.com", "s1", now, now + HOUR);
	assert_int_equal(store_session_get(f->store, "s1", now, &x, NULL), 0);
	assert_string_equal(x.email, "ann@example.com");
	assert_string_equal((char *)x.identity.ptr, "{\"groups\":[\"ops\"]}");
	assert_string_equal(x.provider, "pin");
	store_session_done(&x);
	assert_int_equal(is_there(f, "s2", now), E_NOT_FOUND);
	assert_int_equal(store_session_count(f->store, now, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_int_equal(store_session_count(f->store, now + HOUR, &count, NULL), 0);
	assert_int_equal(count, 0);
	assert_int_equal(is_there(f, "s1", now + HOUR), E_NOT_FOUND);
	assert_int_equal(store_session_sweep(f->store, now, NULL), 0);
	assert_int_equal(store_session_sweep(f->store, now + HOUR, NULL), 1);
	assert_int_equal(is_there(f, "s1", now), E_NOT_FOUND);
}

/* The clock was ahead by an hour when they signed in, and is right now. */
static void a_clock_that_is_set_back_keeps_nobody_in_or_out(void **state)
{
	struct fixture *f = *state;
	usec now = clock_wall_now();

	sign_in(f, "ann@example.com", "s1", now + HOUR, now + 2 * HOUR);
	assert_int_equal(is_there(f, "s1", now), 0);
	assert_int_equal(store_person_revoke(f->store, "ann@example.com", NULL), 0);
	assert_int_equal(is_there(f, "s1", now), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s1", now + HOUR), E_NOT_FOUND);
	/* And she may sign in again at once. */
	sign_in(f, "ann@example.com", "s2", now, now + HOUR);
	assert_int_equal(is_there(f, "s2", now), 0);
	assert_int_equal(store_person_revoke(f->store, "ann@example.com", NULL), 0);
	assert_int_equal(is_there(f, "s2", now), E_NOT_FOUND);
	/* It goes forward: what is over is over, and was ended by nobody. */
	sign_in(f, "bob@example.com", "s3", now, now + HOUR);
	assert_int_equal(is_there(f, "s3", now + 24 * HOUR), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s3", now), 0);
	assert_int_equal(is_there(f, "s3", 0), 0);
}

static void a_session_is_somebodys(void **state)
{
	static uint8_t identity[] = "{}";
	char text[] = "s1";
	struct fixture *f = *state;
	struct store_session x = {
		.id = text,
		.person = uuid_random(),
		.provider = text,
		.identity = { identity, sizeof(identity) - 1 },
		.address = text,
		.agent = text,
		.created_at = clock_wall_now(),
		.expires_at = INT64_MAX,
	};
	struct err err = { 0 };

	assert_int_equal(store_session_add(f->store, &x, &err), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s1", 0), E_NOT_FOUND);
}

static void a_reason_is_kept_with_its_session(void **state)
{
	struct fixture *f = *state;
	usec now = clock_wall_now();
	struct store_purpose p = { now, now + HOUR }, later = { now + 1, now + 2 * HOUR }, got;
	struct err err = { 0 };

	sign_in(f, "ann@example.com", "s1", now, now + HOUR);
	assert_int_equal(store_purpose_get(f->store, "s1", "wiki", &got, &err), E_NOT_FOUND);
	assert_int_equal(store_purpose_put(f->store, "s1", "wiki", &p, &err), 0);
	assert_int_equal(store_purpose_put(f->store, "s1", "wiki", &later, &err), 0);
	assert_int_equal(store_purpose_get(f->store, "s1", "wiki", &got, &err), 0);
	assert_int_equal(got.given_at, later.given_at);
	assert_int_equal(got.expires_at, later.expires_at);
	assert_int_equal(store_purpose_get(f->store, "s1", "mail", &got, &err), E_NOT_FOUND);
	assert_int_equal(store_purpose_get(f->store, "s2", "wiki", &got, &err), E_NOT_FOUND);
	/* Of no session there is none. */
	assert_true(store_purpose_put(f->store, "s2", "wiki", &p, &err) < 0);
	assert_int_equal(store_session_end(f->store, "s1", NULL), 0);
	assert_int_equal(store_purpose_get(f->store, "s1", "wiki", &got, &err), E_NOT_FOUND);
}

static void who_signs_out_everywhere_is_out_everywhere(void **state)
{
	struct fixture *f = *state;
	struct store_session *list;
	usec now = clock_wall_now();
	size_t count;

	sign_in(f, "ann@example.com", "s1", now - 2, now + HOUR);
	sign_in(f, "ann@example.com", "s2", now - 1, now + HOUR);
	sign_in(f, "bob@example.com", "s3", now, now + HOUR);
	assert_int_equal(store_session_end(f->store, "s1", NULL), 0);
	assert_int_equal(store_session_end(f->store, "s1", NULL), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s1", now), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s2", now), 0);

	assert_int_equal(store_person_revoke(f->store, "ann@example.com", NULL), 0);
	assert_int_equal(is_there(f, "s2", now), E_NOT_FOUND);
	assert_int_equal(is_there(f, "s3", now), 0);
	sign_in(f, "ann@example.com", "s4", clock_wall_now() + 1, now + HOUR);
	assert_int_equal(is_there(f, "s4", now), 0);

	assert_int_equal(store_session_list(f->store, NULL, now, 10, &list, &count, NULL), 0);
	assert_int_equal(count, 2);
	assert_string_equal(list[0].id, "s4");
	for (size_t i = 0; i < count; i++)
		store_session_done(&list[i]);
	mem_free(list);
	assert_int_equal(store_person_remove(f->store, "bob@example.com", NULL), 0);
	assert_int_equal(is_there(f, "s3", now), E_NOT_FOUND);
}

static void revocations_are_remembered(void **state)
{
	struct fixture *f = *state;
	struct store_revocation *list;
	size_t count;

	assert_int_equal(store_revocation_put(f->store, "a1", 5, NULL), 0);
	assert_int_equal(store_revocation_put(f->store, "a1", 7, NULL), 0);
	/* By a clock that was set back: it is another one all the same. */
	assert_int_equal(store_revocation_put(f->store, "a1", 3, NULL), 0);
	assert_int_equal(store_revocation_list(f->store, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	assert_string_equal(list[0].app, "a1");
	assert_int_equal(list[0].before, 8);
	store_revocation_done(&list[0]);
	mem_free(list);
}

/* --- Audit ------------------------------------------------------------------------------------- */

static void note(struct fixture *f, const char *subject)
{
	char action[] = "login", actor[] = "ann@example.com", address[] = "192.0.2.1";
	char outcome[] = "allowed", detail[] = "{}";
	struct store_audit a = { .action = action,
				 .actor = actor,
				 .address = address,
				 .subject = (char *)(uintptr_t)subject,
				 .outcome = outcome,
				 .detail = detail };

	assert_int_equal(store_audit_add(f->store, &a, NULL), 0);
	assert_true(a.id > 0 && a.at > 0);
}

static void assert_subjects(struct fixture *f, usec since, size_t limit, const char *wanted)
{
	struct store_audit *list;
	char text[64] = "";
	size_t count;

	assert_int_equal(store_audit_list(f->store, since, limit, &list, &count, NULL), 0);
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, "%s ", list[i].subject);
		store_audit_done(&list[i]);
	}
	mem_free(list);
	assert_string_equal(text, wanted);
}

static void the_audit_log_is_kept_in_bounds(void **state)
{
	struct fixture *f = *state;
	int64_t revision = store_revision(f->store, NULL);

	note(f, "one");
	note(f, "two");
	note(f, "three");
	assert_int_equal(store_revision(f->store, NULL), revision);
	assert_subjects(f, 0, 10, "one two three ");
	assert_subjects(f, 0, 2, "two three ");
	assert_subjects(f, clock_wall_now() + HOUR, 10, "");
	assert_int_equal(store_audit_sweep(f->store, 0, 2, NULL), 0);
	assert_subjects(f, 0, 10, "two three ");
	assert_int_equal(store_audit_sweep(f->store, clock_wall_now() + HOUR, 100, NULL), 0);
	assert_subjects(f, 0, 10, "");
}

static void passkeys_belong_to_a_person(void **state)
{
	struct fixture *f = *state;
	struct store_passkey key = { .id = "id", .name = "phone", .algorithm = -7, .counter = 1 };
	struct store_person ann, bob;
	struct store_passkey found, *list;
	size_t count;

	assert_int_equal(store_person_add(f->store, "ann@example.com", "", &ann, NULL), 0);
	assert_int_equal(store_person_add(f->store, "bob@example.com", "", &bob, NULL), 0);
	key.person = ann.id;
	secret_set(&key.public_key, BYTES_LIT("public"));
	assert_int_equal(store_passkey_add(f->store, &key, NULL), 0);
	key.person = bob.id;
	assert_int_equal(store_passkey_add(f->store, &key, NULL), E_EXISTS);
	assert_int_equal(store_passkey_count(f->store, "id", 4000000000u, NULL), 0);
	assert_int_equal(store_passkey_count(f->store, "other", 1, NULL), E_NOT_FOUND);
	assert_int_equal(store_passkey_find(f->store, "id", &found, NULL), 0);
	assert_string_equal(found.email, "ann@example.com");
	assert_int_equal(found.counter, 4000000000u);
	assert_int_equal(found.algorithm, -7);
	assert_true(bytes_eq(bytes_of(found.public_key.ptr, found.public_key.len),
			     BYTES_LIT("public")));
	store_passkey_done(&found);
	assert_int_equal(store_passkey_list(f->store, &bob.id, &list, &count, NULL), 0);
	assert_int_equal(count, 0);
	mem_free(list);
	assert_int_equal(store_passkey_remove(f->store, &bob.id, "id", NULL), E_NOT_FOUND);
	assert_int_equal(store_passkey_list(f->store, &ann.id, &list, &count, NULL), 0);
	assert_int_equal(count, 1);
	store_passkey_done(&list[0]);
	mem_free(list);
	/* They go with whose they are. */
	assert_int_equal(store_person_remove(f->store, "ann@example.com", NULL), 0);
	assert_int_equal(store_passkey_find(f->store, "id", &found, NULL), E_NOT_FOUND);
	secret_done(&key.public_key);
	store_person_done(&ann);
	store_person_done(&bob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects_keep_their_order_when_they_change, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_whole_configuration_is_put_in_place_at_once,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_person_is_one_however_often_they_come, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_password_is_checked_and_taken_away, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_session_lasts_until_its_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_keeps_nobody_in_or_out,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_session_is_somebodys, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_reason_is_kept_with_its_session, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(who_signs_out_everywhere_is_out_everywhere, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(revocations_are_remembered, set_up, tear_down),
		cmocka_unit_test_setup_teardown(passkeys_belong_to_a_person, set_up, tear_down),
		cmocka_unit_test_setup_teardown(the_audit_log_is_kept_in_bounds, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
